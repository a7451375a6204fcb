"""
A FullStory Server API on your own machine, for tests, demos and offline development.

It follows the published contract (developer.fullstory.com/server) and imports nothing of the rest of this
package, so that a misreading of the contract on one side fails a test.

Start it with the command ``fullstory-emulator``, with ``EmulatorServer`` from the module ``embedded``, or
with the pytest fixture ``fullstory_emulator``.
"""

from __future__ import annotations
