"""Bodies are the same bytes whether they lie in memory or on disk."""

from __future__ import annotations

import hashlib
import resource
import subprocess
import sys

import pytest

from airflow_provider_fullstory.batch_import.batching.body import Body


@pytest.mark.parametrize("size", [0, 1, 2**18, 2**20, 2**20 + 1, 3 * 2**20])
def test_a_body_gives_its_bytes_each_time(size: int) -> None:
    content = bytes(number % 251 for number in range(size))
    body = Body([content[:7], content[7:]])
    assert len(body) == size
    assert body.digest == hashlib.sha256(content).hexdigest()
    assert bytes(body) == b"".join(body) == body.open().read() == content
    # A reader that stopped midway leaves nothing behind.
    next(iter(body), None)
    assert bytes(body) == content


def test_bodies_are_equal_by_their_bytes() -> None:
    assert Body([b"ab", b"c"]) == Body([b"abc"])
    assert Body([b"abc"]) != Body([b"abd"])
    assert len({Body([b"abc"]), Body([b"a", b"bc"])}) == 1


FULL_DISK = f"""
import resource, signal
from airflow_provider_fullstory.batch_import.batching.body import Body
from airflow_provider_fullstory.exceptions import FullStoryDiskError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({2**21}, {resource.RLIM_INFINITY}))
try:
    Body(bytes(2**19) for _ in range(8))
except FullStoryDiskError as error:
    print(error)
"""


def test_a_full_disk_is_explained() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK], capture_output=True, text=True, check=True, timeout=60
    )
    assert "File too large" in done.stdout
    assert "let TMPDIR name a larger disk" in done.stdout
