"""What the log shows of a record."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_fullstory.batch_import.reporting.refusal_log import RefusalLog
from airflow_provider_fullstory.records.kinds import EVENTS
from airflow_provider_fullstory.records.redaction import redacted
from tests.records.refusing import (
    GOOD,
    RaisingText,
    refused,
)


@pytest.mark.parametrize("shows_values", [True, False])
@pytest.mark.parametrize(
    "key", [None, True, "a\ud800", "a\ud800.b", RaisingText(), b"abc"], ids=lambda key: type(key).__name__
)
def test_the_log_shows_refused_records_whatever_their_keys(key: Any, shows_values: bool, caplog: Any) -> None:
    refusal_log = RefusalLog(
        EVENTS, {"user.uid": ("user", "uid")}, shows_records=True, shows_values=shows_values
    )

    refusal_log.invalid([refused(GOOD | {key: "secret"})])

    caplog.text.encode()
    assert ("secret" in caplog.text) == shows_values


def test_a_redacted_record_keeps_its_types_and_no_value() -> None:
    record = {
        "name": "secret",
        "properties": {"total": Decimal("1.5"), "tags": ["secret"], "none": None},
        "schema": {"properties": {"total": "real", "odd": "secret"}},
    }
    assert redacted(EVENTS, record) == {
        "name": "<str>",
        "properties": {"total": "<real>", "tags": ["<str>"], "none": "<null>"},
        "schema": {"properties": {"total": "real", "odd": "<str>"}},
    }
