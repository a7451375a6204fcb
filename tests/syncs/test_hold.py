"""One process at a time holds a sync, whatever happens to the processes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.exceptions import (
    FullStoryHoldLostError,
    FullStoryKilledError,
    FullStoryStorageError,
    FullStoryTimeoutError,
)
from airflow_provider_fullstory.syncs import holders
from airflow_provider_fullstory.syncs.hold import Hold, Times, _Taker, take
from airflow_provider_fullstory.syncs.holders import Holder, holder_of
from tests.syncs.processes import Holding

if TYPE_CHECKING:
    from pathlib import Path

    from tests.logs import Log

#: A process must not be taken for dead while a busy machine runs another one.
QUICK = Times(renewal=0.2, valid=2.0, over=4.0, poll=0.1)
AT_ONCE = Times(over=0.05, poll=0.01)
FAR = b'{"number": 1, "who": "", "token": "t", "taken_at": 1e99, "renewed_at": 1e99}'


@pytest.fixture(params=["disk", "storage"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, memory: str) -> Folder:
    """Give the folder of a sync in each kind of storage."""
    return Folder(
        ObjectStoragePath(f"file://{tmp_path}/sync" if request.param == "disk" else f"{memory}/sync")
    )


def taken(folder: Folder, who: str = "a run", times: Times = Times()) -> Hold:  # noqa: B008
    return take(folder, who, deadline=time.time(), times=times)


def held_by_another(folder: Folder, number: int = 1, **values: float) -> Holder:
    now = time.time()
    holder = msgspec.structs.replace(Holder(number, "another run", "token", now, now), **values)
    holders.write(folder, holder)
    return holder


def test_a_free_sync_is_held_at_once_and_then_by_the_next(folder: Folder) -> None:
    with taken(folder, "the first run") as hold:
        hold.check()
        holder = holder_of(folder)
        assert holder is not None
        assert (holder.number, holder.who) == (hold.number, "the first run") == (1, "the first run")
    assert holder_of(folder) is None
    with taken(folder) as hold:
        assert hold.number == 2


def test_only_the_latest_files_are_kept(folder: Folder) -> None:
    for _ in range(6):
        taken(folder).release()
    assert folder.names("holds") == [f"0000000{number}.json" for number in (3, 4, 5, 6)]


def test_a_sync_that_is_held_is_named_with_its_holder_at_the_deadline(folder: Folder) -> None:
    with (
        taken(folder, "run 'a' of DAG 'b'"),
        pytest.raises(
            FullStoryTimeoutError, match=r"is held by run 'a' of DAG 'b', since 20.*Nothing was sent"
        ),
    ):
        taken(folder)


def test_whoever_waits_says_so_and_is_next(folder: Folder, log: Log) -> None:
    first = taken(folder, "the first run")

    def released() -> bool:
        first.release()
        return False

    second = take(folder, "", deadline=time.time() + 60, is_stopped=released, times=AT_ONCE)
    second.release()
    assert second.number == 2
    [line] = [line for line in log.lines if line.startswith("Waiting")]
    assert "which is held by the first run, since 20" in line


def test_a_task_that_must_end_waits_no_longer(folder: Folder) -> None:
    with taken(folder), pytest.raises(FullStoryKilledError, match="stopped while it waited"):
        take(folder, "", deadline=time.time() + 60, is_stopped=lambda: True)


def test_a_hold_that_was_not_renewed_is_over(folder: Folder) -> None:
    held_by_another(folder, renewed_at=time.time() - 100)
    with pytest.raises(FullStoryTimeoutError, match="another run"):
        taken(folder)
    held_by_another(folder, renewed_at=time.time() - 121)
    with taken(folder) as hold:
        assert hold.number == 2


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"number": 1}', FAR])
def test_a_damaged_file_is_a_hold_until_it_has_not_changed_for_long(folder: Folder, content: bytes) -> None:
    folder.write("holds/00000001.json", content)
    holder = holder_of(folder)
    assert holder is not None
    with pytest.raises(FullStoryTimeoutError, match=r"not known, since .*holds/00000001.json is damaged"):
        taken(folder)
    with take(folder, "", deadline=time.time() + 60, times=AT_ONCE) as hold:
        assert hold.number == 2


def test_a_holder_whose_clock_was_wrong_does_not_hold_forever(folder: Folder) -> None:
    held_by_another(folder, renewed_at=time.time() + 10**6)
    with take(folder, "", deadline=time.time() + 60, times=AT_ONCE) as hold:
        assert hold.number == 2


def test_other_files_are_no_holds(folder: Folder) -> None:
    folder.write("holds/00000009.json.0123.partial", b"")
    folder.write("holds/notes.json", b"")
    with taken(folder) as hold:
        assert hold.number == 1


def test_a_hold_that_another_has_taken_over_is_lost(folder: Folder) -> None:
    hold = taken(folder)
    hold._renew()
    hold.check()
    other = held_by_another(folder, 2)
    hold._renew()
    with pytest.raises(FullStoryHoldLostError, match=r"another run has taken it over\. .* a retry continues"):
        hold.check()
    hold.release()
    assert holder_of(folder) == other


def test_a_hold_whose_file_another_process_overwrote_is_lost_and_left_to_it(folder: Folder) -> None:
    hold = taken(folder)
    other = held_by_another(folder, 1)
    hold._renew()
    with pytest.raises(FullStoryHoldLostError, match="removed or overwritten"):
        hold.check()
    hold.release()
    assert holder_of(folder) == other


@pytest.mark.parametrize(("wall", "monotonic"), [(61.0, 0.0), (0.0, 61.0), (-1000.0, 61.0)])
def test_a_hold_that_was_not_renewed_by_either_clock_is_lost_for_good(
    folder: Folder, wall: float, monotonic: float
) -> None:
    with taken(folder) as hold:
        hold._proven_at = (time.time() - wall, time.monotonic() - monotonic)
        with pytest.raises(FullStoryHoldLostError, match="could not be renewed for 61 s"):
            hold.check()
        hold._renew()
        with pytest.raises(FullStoryHoldLostError):
            hold.check()


def test_a_storage_that_fails_for_a_moment_costs_no_hold(
    folder: Folder, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = taken(folder, times=Times(renewal=0.01))

    def fail(*_: object) -> None:
        raise FullStoryStorageError("The storage is away.")

    with monkeypatch.context() as patch:
        patch.setattr(holders, "write", fail)
        while not log.lines:
            time.sleep(0.01)
        hold.check()
    before = hold._proven_at
    while hold._proven_at == before:
        time.sleep(0.01)
    monkeypatch.setattr(holders, "write", fail)
    hold.release()
    assert log.lines[0].endswith("that is tried again. The storage is away.")
    assert log.lines[-1].startswith("The storage is away. Other runs of the sync wait")
    assert holder_of(folder) is not None


def test_a_hold_that_grew_old_while_it_was_taken_is_none(folder: Folder) -> None:
    with pytest.raises(FullStoryTimeoutError):
        taken(folder, times=Times(valid=0.0))
    assert holder_of(folder) is None


def test_a_number_that_was_used_and_removed_is_not_used_again(folder: Folder) -> None:
    other = held_by_another(folder, 9)
    taker = _Taker(folder, "a run that looked long ago", Times())
    assert taker._create(3) is None
    assert taker.holder == other
    assert folder.names("holds") == ["00000009.json"]


def test_of_two_processes_that_take_at_once_one_wins(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/sync"
    with Holding(uri) as one, Holding(uri) as other:
        for _ in range(20):
            for process in (one, other):
                process.tell("take")
            answers = [one.answer(), other.answer()]
            assert sorted(answers) == ["FullStoryTimeoutError", "done"]
            winner = (one, other)[answers.index("done")]
            assert winner.ask("check") == "done"
            assert winner.ask("release") == "done"
    assert folder_numbers(uri) == [17, 18, 19, 20]


def test_the_hold_of_a_process_that_was_killed_ends(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/sync"
    with Holding(uri, QUICK) as process:
        assert process.ask("take") == "done"
        process.kill()
    with take(Folder(ObjectStoragePath(uri)), "", deadline=time.time() + 60, times=QUICK) as hold:
        assert hold.number == 2


def test_a_process_that_was_suspended_for_too_long_knows_that_it_lost_its_hold(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/sync"
    folder = Folder(ObjectStoragePath(uri))
    with Holding(uri, QUICK) as process:
        assert process.ask("take") == "done"
        process.suspend()
        with take(folder, "this test", deadline=time.time() + 60, times=QUICK) as hold:
            process.resume()
            assert process.ask("check") == "FullStoryHoldLostError"
            assert process.ask("release") == "done"
            assert hold.number == 2
            assert holders.decoded(holders.highest(folder)[1]).who == "this test"  # type: ignore[union-attr]


def folder_numbers(uri: str) -> list[int]:
    return holders._numbers(Folder(ObjectStoragePath(uri)))
