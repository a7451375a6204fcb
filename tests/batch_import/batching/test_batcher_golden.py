"""Bodies, digests and idempotency keys are those that were decided, on any machine and in any release."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from airflow_provider_fullstory.task.arguments import fingerprint
from tests.batch_import.batching.golden_sources import ARGUMENTS, GOLDEN, SOURCES, all_described, as_text

SEEDS = ("0", "4242")


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_bytes())


@pytest.mark.parametrize("name", SOURCES)
def test_batches_are_those_that_were_decided(name: str) -> None:
    batches = list(SOURCES[name]())

    assert [bytes(batch.body) for batch in batches] == [entry["body"].encode() for entry in golden(name)]
    assert [(batch.name, batch.records, batch.digest, batch.idempotency_key) for batch in batches] == [
        (entry["batch"], entry["records"], entry["digest"], entry["idempotency_key"])
        for entry in golden(name)
    ]


def test_the_fingerprint_of_arguments_is_the_one_that_was_decided() -> None:
    assert fingerprint(ARGUMENTS) == golden("arguments")
    assert fingerprint(dict(reversed(ARGUMENTS.items()))) == golden("arguments")


@pytest.mark.parametrize("name", SOURCES)
def test_what_was_decided_fits_together(name: str) -> None:
    keys = [entry["idempotency_key"] for entry in golden(name)]
    assert len(set(keys)) == len(keys)
    for entry in golden(name):
        assert hashlib.sha256(entry["body"].encode()).hexdigest() == entry["digest"]
        assert len(json.loads(entry["body"])["requests"]) == entry["records"]


def test_nothing_that_was_decided_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {*SOURCES, "arguments"}


def said_by_interpreters(*arguments: str) -> set[str]:
    """Return what interpreters say whose sets and dicts of text have other orders."""
    path = os.pathsep.join(place for place in sys.path if place)
    processes = [
        subprocess.Popen(
            [sys.executable, *arguments],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in SEEDS
    ]
    said = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    return said


def test_interpreters_with_other_hashes_give_the_same_bytes_and_keys() -> None:
    [said] = said_by_interpreters("-m", "tests.batch_import.batching.golden_sources", "--print")

    assert said == "".join(f"{name}: {as_text(value)}" for name, value in all_described().items())


def test_interpreters_with_other_hashes_give_a_set_of_parameters_the_same_fingerprint() -> None:
    # Else a retry in another process would not know what an earlier try has staged.
    program = (
        "from airflow_provider_fullstory.task.arguments import fingerprint\n"
        "print(fingerprint({'parameters': {'countries': {'DE', 'FR', 'IT', 'ES', 'PL'}}}))"
    )

    assert len(said_by_interpreters("-c", program)) == 1
