from __future__ import annotations

import subprocess
import sys


def test_the_pytest_plugin_is_light():
    code = "import sys, airflow_provider_fullstory.emulator.pytest_plugin; print('aiohttp' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "False"
