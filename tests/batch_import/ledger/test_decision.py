"""The table of what a try does with a batch, given what earlier tries noted of it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from airflow_provider_fullstory.api.protocol import IDEMPOTENCY_SECONDS
from airflow_provider_fullstory.batch_import.batching.batch import Batch
from airflow_provider_fullstory.batch_import.batching.body import Body
from airflow_provider_fullstory.batch_import.ledger.decision import Decision, Policy, decide
from airflow_provider_fullstory.batch_import.ledger.entries import Entry

NOW = 1_800_000_000.0
HOUR = 3600.0
BODY = Body([b'{"requests":[{"name":"Order"}]}'])
BATCH = Batch((1,), BODY, BODY.digest, 1, "6e1b1f0c-53a5-4d0e-9a53-6a3f0a3e7f0d")
#: As it stands in the ledger before FullStory has answered.
ENTERED = Entry("1", BODY.digest, BATCH.idempotency_key, 1, NOW - HOUR)
FAIL = Policy()
RESEND_UNKNOWN = Policy(resends_unknown=True)
RESEND_CHANGED = Policy(resends_changed=True)


def entry(**changes: Any) -> Entry:
    return dataclasses.replace(ENTERED, **changes)


OLD = entry(at=NOW - IDEMPOTENCY_SECONDS)
YOUNG = entry(at=NOW - IDEMPOTENCY_SECONDS + 1)
ACCEPTED = entry(job_id="job")
OTHER = entry(digest="other")

TABLE = {
    "nothing": (None, FAIL, Decision.SEND),
    "entered, no job, within 24 hours": (YOUNG, FAIL, Decision.REPLAY),
    "entered, no job, within 24 hours, resend": (YOUNG, RESEND_UNKNOWN, Decision.REPLAY),
    "entered, no job, older": (OLD, FAIL, Decision.UNKNOWN),
    "entered, no job, older, resend": (OLD, RESEND_UNKNOWN, Decision.RESEND),
    "entered, no job, older, resend what changed": (OLD, RESEND_CHANGED, Decision.UNKNOWN),
    "answered with a server error": (entry(has_failed=True), FAIL, Decision.REPLAY),
    "answered with a server error, resend": (entry(has_failed=True), RESEND_UNKNOWN, Decision.RESEND),
    "answered with a server error, older": (
        dataclasses.replace(OLD, has_failed=True),
        FAIL,
        Decision.UNKNOWN,
    ),
    "accepted": (ACCEPTED, FAIL, Decision.AWAIT),
    "accepted years ago": (entry(job_id="job", at=NOW - 10**8), RESEND_UNKNOWN, Decision.AWAIT),
    "accepted after a server error": (
        entry(job_id="job", has_failed=True),
        RESEND_UNKNOWN,
        Decision.AWAIT,
    ),
    "found too large": (entry(is_split=True), FAIL, Decision.SEND_HALVES),
    "found too large long ago": (
        dataclasses.replace(OLD, is_split=True),
        RESEND_UNKNOWN,
        Decision.SEND_HALVES,
    ),
    "another digest": (OTHER, FAIL, Decision.CHANGED),
    "another digest, accepted": (entry(digest="other", job_id="job"), FAIL, Decision.CHANGED),
    "another digest, resend unknown": (OTHER, RESEND_UNKNOWN, Decision.CHANGED),
    "another digest, resend": (OTHER, RESEND_CHANGED, Decision.SEND),
    "refused": (entry(is_refused=True), FAIL, Decision.RESEND),
    "refused, another digest": (entry(digest="other", is_refused=True), FAIL, Decision.CHANGED),
    "refused, another digest, nothing was taken": (
        entry(digest="other", is_refused=True),
        Policy(is_empty=True),
        Decision.SEND,
    ),
    "FullStory took nothing of the import": (ACCEPTED, Policy(empty_rounds=1), Decision.RESEND),
    "FullStory took nothing of the import, another digest": (
        entry(digest="other", job_id="job"),
        Policy(empty_rounds=1),
        Decision.SEND,
    ),
    "sent after an import of which FullStory took nothing": (
        entry(job_id="job", round=1),
        Policy(empty_rounds=1),
        Decision.AWAIT,
    ),
    "the ledger is gone, within 24 hours": (
        None,
        Policy(sent_since=NOW - IDEMPOTENCY_SECONDS + 1),
        Decision.REPLAY,
    ),
    "the ledger is gone, longer": (None, Policy(sent_since=NOW - IDEMPOTENCY_SECONDS), Decision.UNKNOWN),
    "the ledger is gone, longer, resend": (
        None,
        Policy(sent_since=NOW - IDEMPOTENCY_SECONDS, resends_unknown=True),
        Decision.SEND,
    ),
}


@pytest.mark.parametrize(("known", "policy", "expected"), TABLE.values(), ids=TABLE)
def test_what_a_try_does_with_a_batch(known: Entry | None, policy: Policy, expected: Decision) -> None:
    assert decide(known, BATCH, NOW, policy) is expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [(FAIL, Decision.UNKNOWN), (RESEND_UNKNOWN, Decision.RESEND)],
    ids=["fail", "resend"],
)
def test_a_job_that_vanished_or_ended_without_counts_is_an_unknown_outcome(
    policy: Policy, expected: Decision
) -> None:
    assert decide(ACCEPTED, BATCH, NOW, policy, is_lost=True) is expected
