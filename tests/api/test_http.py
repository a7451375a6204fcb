"""The wait that an answer asks for."""

from __future__ import annotations

import email.utils
import time

import pytest

from tests.api.answers import failure


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("5", 5.0), ("0", 0.0), (" 7 ", 7.0), ("1.5", 1.5), ("-3", 0.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_retry_after_is_read(value: str, seconds: float) -> None:
    assert failure(429, retry_after=value).retry_after == seconds


@pytest.mark.parametrize("status", [202, 429, 503])
def test_retry_after_may_be_a_date(status: int) -> None:
    date = email.utils.formatdate(time.time() + 100, usegmt=True)

    seconds = failure(status, retry_after=date).retry_after

    assert seconds is not None
    assert 0 < seconds <= 101


@pytest.mark.parametrize(
    "value",
    [
        "", "soon", "nan", "inf", "1e400", "Wed, 21 Oct 99999 07:28:00 GMT", "Wed, 21 Oct 2015 99:28:00",
        "Wed, 21 Oct 2015 07:28:00 +999999999999999999", "0 0 0 0 0 0",
    ],
)  # fmt: skip
def test_retry_after_that_means_nothing_is_ignored(value: str) -> None:
    assert failure(429, retry_after=value).retry_after is None
