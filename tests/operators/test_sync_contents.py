"""A sync of whole users sends those whose content is not what it imported last, and no other."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import shutil
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.exceptions import FullStoryAmbiguousError, FullStoryInputError
from airflow_provider_fullstory.operators.fullstory import FullStoryImportUsersOperator
from airflow_provider_fullstory.syncs import command
from airflow_provider_fullstory.syncs.hold import Times, take
from airflow_provider_fullstory.syncs.insert_ids import imported_ids
from tests.operators.syncs import Changes, SyncRun, record_of
from tests.tries import DAY, Breaking, Clock, Crash, crash, failure_of, noting_job

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from tests.operators.syncs import Warehouse

pytestmark = pytest.mark.usefixtures("emulator")
SQL = "SELECT customer AS uid, status AS plan, updated_at / 2.0 AS score FROM orders ORDER BY order_id"


@pytest.fixture(autouse=True)
def dead_runs_hold_a_sync_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process lives beside another one here, so a hold that was not given up is over at once."""
    times = Times(renewal=60.0, over=0.0, poll=0.01)
    monkeypatch.setattr("airflow_provider_fullstory.syncs.sync.take", partial(take, times=times))


class UsersRun(SyncRun):
    """A run of a sync that reads all users each time."""

    def __init__(self, tmp_path: Path, run_id: str, **arguments: Any) -> None:
        given = {"sql": SQL, "parameters": None, "insert_id": "*", "max_parallel_uploads": 1} | arguments
        super().__init__(tmp_path, run_id, **given)
        del self.arguments["event_name"]

    def operator(self, **arguments: Any) -> Any:
        given = {"task_id": "import", "state_uri": self.state_uri} | self.arguments | arguments
        return FullStoryImportUsersOperator(**given)

    def counts(self, **arguments: Any) -> tuple[int, int]:
        """Return how many users a try imports and skips."""
        report = self.attempt(**arguments)
        return report["imported"], report["skipped"]


def change(warehouse: Warehouse, plan: str, *numbers: int) -> None:
    for number in numbers:
        warehouse.execute("UPDATE orders SET status = ? WHERE order_id = ?", plan, number)


def plans(emulator: EmulatorClient) -> dict[str, str]:
    """Return the plan of each user that FullStory has."""
    return {user["user"]["uid"]: user["user"]["properties"]["plan"] for user in emulator.users()}


def given(warehouse: Warehouse) -> dict[str, str]:
    """Return the plan of each user in the warehouse."""
    return dict(warehouse.execute("SELECT customer, status FROM orders"))  # type: ignore[arg-type]


@pytest.fixture
def three_users(warehouse: Warehouse) -> Warehouse:
    warehouse.add((1, 1), (2, 2), (3, 3), status="free")
    return warehouse


@pytest.mark.parametrize("staged", [False, True], ids=["streamed", "staged and deferred"])
def test_content_that_comes_back_is_sent_each_time(
    tmp_path: Path, three_users: Warehouse, emulator: EmulatorClient, staged: bool
) -> None:
    way = {"stage_batches": True, "deferrable": True} if staged else {}
    assert UsersRun(tmp_path, "run-1", **way).counts() == (3, 0)
    for number, plan in enumerate(["pro", "free", "pro"], start=2):
        change(three_users, plan, 2)
        assert UsersRun(tmp_path, f"run-{number}", **way).counts() == (1, 2)
        assert plans(emulator) == {"u1": "free", "u2": plan, "u3": "free"}
    assert UsersRun(tmp_path, "run-5", **way).counts() == (0, 3)


def test_content_that_comes_back_is_sent_by_tries_of_one_run(
    tmp_path: Path, three_users: Warehouse, emulator: EmulatorClient
) -> None:
    task = UsersRun(tmp_path, "run-1")
    for plan in ("free", "pro", "free"):
        change(three_users, plan, 1, 2, 3)
        assert task.counts() == (3, 0)
        task.clear()
        assert set(plans(emulator).values()) == {plan}


def test_columns_name_a_user_forever(tmp_path: Path, three_users: Warehouse) -> None:
    by_columns = {"insert_id": ["uid", "plan"]}
    UsersRun(tmp_path, "run-1", **by_columns).attempt()
    change(three_users, "pro", 2)
    assert UsersRun(tmp_path, "run-2", **by_columns).counts() == (1, 2)
    change(three_users, "free", 2)
    assert UsersRun(tmp_path, "run-3", **by_columns).counts() == (0, 3)
    assert record_of(tmp_path)["insert_ids"]["id_bytes"] == 8


def test_users_without_a_key_are_known_by_their_content(
    tmp_path: Path, three_users: Warehouse, emulator: EmulatorClient
) -> None:
    anonymous = {
        "sql": "SELECT status AS plan FROM orders",
        "allow_anonymous": True,
        "on_source_change": "fail",
    }
    change(three_users, "pro", 1)
    assert UsersRun(tmp_path, "run-1", **anonymous).counts() == (2, 1)
    change(three_users, "team", 3)
    assert UsersRun(tmp_path, "run-2", **anonymous).counts() == (1, 2)
    change(three_users, "free", 3)
    assert UsersRun(tmp_path, "run-3", **anonymous).counts() == (0, 3)
    assert len(emulator.users()) == 3


def test_tasks_of_one_sync_know_what_the_other_one_imported_last(
    tmp_path: Path, three_users: Warehouse, emulator: EmulatorClient
) -> None:
    one, other = ({"sync_name": "users", "task_id": name} for name in ("one", "other"))
    UsersRun(tmp_path, "run-1", **one).attempt()
    change(three_users, "pro", 2)
    assert UsersRun(tmp_path, "run-1", **other).counts() == (1, 2)
    change(three_users, "free", 2)
    assert UsersRun(tmp_path, "run-2", **one).counts() == (1, 2)
    assert UsersRun(tmp_path, "run-2", **other).counts() == (0, 3)
    assert plans(emulator) == given(three_users)


def test_insert_ids_of_another_form_are_not_misread(
    tmp_path: Path, three_users: Warehouse, emulator: EmulatorClient
) -> None:
    UsersRun(tmp_path, "run-1").attempt()
    record = record_of(tmp_path)
    assert record["insert_ids"]["id_bytes"] == 16
    # As it was before there was another form.
    del record["insert_ids"]["id_bytes"]
    [file] = tmp_path.glob("state/syncs/*/sync.json")
    file.write_text(json.dumps(record))
    change(three_users, "pro", 1)

    message = failure_of(UsersRun(tmp_path, "run-2"), FullStoryInputError)

    assert "Sync 'dag.import' has insert ids of 8 bytes" in message
    assert set(plans(emulator).values()) == {"free"}
    with pytest.raises(SystemExit, match="0"):
        command.main(["--state-uri", f"file://{tmp_path}/state", "forget", "dag.import", "--yes"])
    assert UsersRun(tmp_path, "run-3").counts() == (3, 0)
    assert UsersRun(tmp_path, "run-4").counts() == (0, 3)


@pytest.mark.parametrize("back", [False, True], ids=["the change is sent again", "older content is known"])
def test_a_change_that_fullstory_rejects_leaves_the_older_content(
    tmp_path: Path, three_users: Warehouse, emulator: EmulatorClient, back: bool
) -> None:
    UsersRun(tmp_path, "run-1").attempt()
    change(three_users, "pro", 2, 3)
    emulator.order_rejection("uid", ["u2"])
    assert UsersRun(tmp_path, "run-2", max_rejected=1).counts() == (1, 1)
    emulator.forget_rejections()
    if back:
        change(three_users, "free", 2)

    assert UsersRun(tmp_path, "run-3").counts() == ((0, 3) if back else (1, 2))
    assert plans(emulator) == given(three_users)


def test_a_rejected_user_is_told_by_its_key_where_numbers_are_spelled_in_another_way(
    tmp_path: Path, three_users: Warehouse, emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.order_rejection("uid", ["u2"])
    monkeypatch.setattr("airflow_provider_fullstory.syncs.settlement.as_sent", lambda *_: b"not as sent")

    assert UsersRun(tmp_path, "run-1", max_rejected=1).counts() == (2, 0)
    emulator.forget_rejections()

    assert UsersRun(tmp_path, "run-2").counts() == (1, 2)
    assert plans(emulator) == given(three_users)


@pytest.mark.parametrize("dies", [False, True], ids=["in one try", "in two tries"])
def test_what_fullstory_may_have_is_no_content_that_is_known(
    tmp_path: Path,
    three_users: Warehouse,
    emulator: EmulatorClient,
    monkeypatch: pytest.MonkeyPatch,
    dies: bool,
) -> None:
    UsersRun(tmp_path, "run-1").attempt()
    change(three_users, "pro", 2)
    crash(UsersRun(tmp_path, "run-2"), noting_job(1))
    assert plans(emulator)["u2"] == "pro"
    Clock(monkeypatch).now += DAY + 1
    emulator.advance_clock(DAY + 1)
    # FullStory has the change, and nobody knows; content that was imported before it is not the latest.
    change(three_users, "free", 2)
    task = UsersRun(tmp_path, "run-3")
    assert "The outcome of batch 1 (1 record)" in failure_of(task, FullStoryAmbiguousError)
    if dies:
        with pytest.raises(Crash):
            task.attempt(
                breaking=Breaking(matches=lambda name, _: name == "sync.json"), on_ambiguous="resend"
            )

    assert task.counts(on_ambiguous="resend") == (1, 2)
    assert plans(emulator) == given(three_users)
    assert UsersRun(tmp_path, "run-4").counts() == (0, 3)


def test_a_job_whose_rejected_users_cannot_be_told_leaves_no_content_that_is_known(
    tmp_path: Path, three_users: Warehouse, emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    UsersRun(tmp_path, "run-1").attempt()
    change(three_users, "pro", 2, 3)
    emulator.order_rejection("uid", ["u2"])
    with monkeypatch.context() as patch:
        patch.setattr("airflow_provider_fullstory.syncs.settlement.key_of_values", lambda *_: None)
        patch.setattr("airflow_provider_fullstory.syncs.settlement.as_sent", lambda *_: b"not as sent")
        UsersRun(tmp_path, "run-2", max_rejected=1, on_ambiguous="resend").attempt()
    emulator.forget_rejections()
    change(three_users, "free", 3)

    assert UsersRun(tmp_path, "run-3").counts() == (2, 1)
    assert plans(emulator) == given(three_users)


def test_the_next_run_settles_an_import_of_users_in_halves_that_a_dead_one_left(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add(*((number, number) for number in range(1, 36)), status="free")
    emulator.configure(max_body_bytes=400)
    halves = {"batch_size": 9}
    UsersRun(tmp_path, "run-1", **halves).attempt()
    change(warehouse, "pro", *range(1, 31))
    crash(UsersRun(tmp_path, "run-2", **halves), noting_job("2.1"))
    assert list(plans(emulator).values()).count("pro") == 13
    # The dead run has sent the first of these, and not the last.
    change(warehouse, "free", 1, 30)

    # Of the 28 users who are to change, 12 have.
    assert UsersRun(tmp_path, "run-3", **halves).counts() == (28 - 12 + 1, 12 + 6)
    assert plans(emulator) == given(warehouse)
    assert UsersRun(tmp_path, "run-4").counts() == (0, 35)


@pytest.mark.parametrize("seed", range(3))
def test_fullstory_has_what_the_source_gives_whatever_happens_to_runs(
    tmp_path: Path,
    warehouse: Warehouse,
    emulator: EmulatorClient,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    monkeypatch.setattr(imported_ids, "_FEW_IDS", 10)
    monkeypatch.setattr(imported_ids, "_FEW_FILES", 2)
    chance = random.Random(seed)
    numbers = range(1, 13)
    warehouse.add(*((number, number) for number in numbers), status="free")
    options = {"batch_size": 3, "max_rejected": len(numbers)}

    def change_some() -> None:
        for number in chance.sample(numbers, chance.randrange(6)):
            change(warehouse, chance.choice(["free", "pro", "team"]), number)

    for number in range(12):
        change_some()
        rejected = {f"u{number}" for number in chance.sample(numbers, chance.randrange(1, 4))}
        emulator.order_rejection("uid", sorted(rejected))
        is_alone = chance.random() < 0.5
        if not is_alone:
            breaking = Breaking(at=chance.randrange(1, 25), is_done=chance.random() < 0.5)
            with contextlib.suppress(Crash):
                UsersRun(tmp_path, f"dead-{number}", **options).attempt(breaking=breaking)
            change_some()
        before, wanted = plans(emulator), given(warehouse)
        report = UsersRun(tmp_path, f"run-{number}", **options).attempt()
        emulator.forget_rejections()

        after = plans(emulator)
        assert all(after.get(uid) == wanted[uid] for uid in wanted.keys() - rejected)
        if is_alone:
            # Each run that died has been settled by the one after it, so nothing is in doubt.
            different = {uid for uid in wanted if before.get(uid) != wanted[uid]}
            assert report["rejected"] == len(different & rejected)
            assert report["imported"] == len(different - rejected)
            assert report["skipped"] == len(numbers) - len(different)


def test_no_change_of_the_storage_is_one_at_which_a_process_must_not_die(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imported_ids, "_FEW_IDS", 3)
    numbers = range(1, 8)
    options = {"batch_size": 2, "max_rejected": 1}

    def again(root: Path) -> None:
        """Return to what it was after two runs, with other changes."""
        emulator.reset()
        for run, plan in enumerate(["free", "pro"]):
            change(warehouse, plan, *numbers[: 5 + run])
            UsersRun(root, f"run-{run}", **options).attempt()
        change(warehouse, "free", *numbers[2:])
        emulator.order_rejection("uid", ["u4"])

    warehouse.add(*((number, number) for number in numbers), status="free")
    again(tmp_path / "alive")
    with Changes() as changes:
        UsersRun(tmp_path / "alive", "run-2", **options).attempt()
    assert any("ids/sorted" in name for name in changes.names)
    assert len(changes.of_each_kind) >= 12

    cases = itertools.cycle(itertools.product((True, False), (False, True)))
    for number, (at, (by_retry, is_done)) in enumerate(zip(changes.of_each_kind, cases, strict=False)):
        root = tmp_path / str(number)
        again(root)
        dead = UsersRun(root, "run-2", **options)
        with contextlib.suppress(Crash), Changes(at, is_done=is_done):
            dead.attempt()
        change(warehouse, "pro", 3)
        (dead if by_retry else UsersRun(root, "run-3", **options)).attempt()
        emulator.forget_rejections()
        last = UsersRun(root, "run-4", **options).counts()

        where = f"died at {changes.names[at - 1]} ({'done' if is_done else 'not done'})"
        assert plans(emulator) == given(warehouse), where
        assert last == (1, len(numbers) - 1), where
        assert UsersRun(root, "run-5", **options).counts() == (0, len(numbers)), where
        assert not list(root.rglob("in_flight")), where
        shutil.rmtree(root)
