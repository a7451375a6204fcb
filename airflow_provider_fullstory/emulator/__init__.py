"""
A FullStory Server API on your own machine, for tests, demos and offline development.

It follows the published contract (developer.fullstory.com/server) and shares no code with the rest of this
package, so that a misreading on one side shows up as a difference instead of agreeing with itself.

Start it with the command ``fullstory-emulator``, with ``EmulatorServer`` from the module ``embedded``, or
with the pytest fixture ``fullstory_emulator``.
"""

from __future__ import annotations
