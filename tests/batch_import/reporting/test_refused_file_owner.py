"""A file of refused records belongs to one import."""

from __future__ import annotations

import errno
import gzip
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.exceptions import (
    FullStoryInputError,
    FullStorySourceError,
    FullStoryStorageError,
)
from airflow_provider_fullstory.task.completion import Completion
from tests.refused_file import (
    WAYS,
    check_file,
    content_of,
    files_below,
    in_the_task,
    lines_of,
    seen_posts,
    source,
    write,
)
from tests.tries import QUERY, Crash, make_warehouse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from tests.tries import Task

pytestmark = pytest.mark.usefixtures("short_waits")


FOREIGN = {
    "text": b"hello\n",
    "one line without an end": b'{"a": 1}',
    "a blank line": b"\n",
    "events": b'{"name": "A", "user": {"uid": "u"}}\n',
    "refused records of nobody": b'{"event": {}, "refusal": {"outcome": "invalid"}}\n',
    "a list": b"[1, 2]\n",
    "bytes": bytes(range(256)),
    "too large a number": b'{"x": 1e99999999999999999999}\n',
    "nested too deep": b"[" * 5000 + b"]" * 5000,
}


@pytest.mark.parametrize("name", ["file.ndjson", "file.ndjson.gz"])
@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_file_of_something_else_is_never_written_over(
    emulator: EmulatorClient, context: Any, tmp_path: Path, foreign: str, name: str
) -> None:
    uri = f"file://{tmp_path}/{name}"
    write(uri, FOREIGN[foreign])
    with pytest.raises(AirflowFailException, match=r"rejected_uri is .* it would be lost. Nothing was sent"):
        in_the_task(context, events=source(3, {1}, {2}), rejected_uri=uri)
    assert content_of(uri) == FOREIGN[foreign]
    assert seen_posts(emulator) == 0


def test_what_is_no_gzip_file_is_never_written_over(
    emulator: EmulatorClient, context: Any, tmp_path: Path
) -> None:
    path = tmp_path / "file.ndjson.gz"
    damaged = bytearray(gzip.compress(b'{"a": 1}\n' * 1000))
    damaged[20:30] = b"0123456789"
    for content in (b"hello\n", bytes(damaged)):
        path.write_bytes(content)
        with pytest.raises(Exception, match=r"rejected_uri|could not be read"):
            in_the_task(context, events=source(3, {1}, {2}), rejected_uri=f"file://{path}")
        assert path.read_bytes() == content
    assert seen_posts(emulator) == 0


@WAYS
@pytest.mark.parametrize("other", [{"run_id": "run-2"}, {"map_index": 3}])
def test_the_file_of_another_import_is_never_written_over(
    emulator: EmulatorClient,
    make_context: Callable[..., Any],
    uri: str,
    import_in: Any,
    other: dict[str, Any],
) -> None:
    import_in(make_context(), events=source(3, {1}, {2}), rejected_uri=uri)
    before, sent = content_of(uri), seen_posts(emulator)
    for events in (source(3, {2}, {3}), source(3)):
        with pytest.raises(AirflowFailException, match="holds the refused records of dag/run-1/import/-1"):
            import_in(make_context(**other), events=events, rejected_uri=uri)
    assert content_of(uri) == before
    assert seen_posts(emulator) == sent


@WAYS
def test_importing_a_file_into_itself_is_refused(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str, import_in: Any
) -> None:
    import_in(make_context(), events=source(3, {1}, {2}), rejected_uri=uri)
    before, sent = content_of(uri), seen_posts(emulator)
    with pytest.raises(AirflowFailException, match="it would be lost"):
        import_in(make_context(run_id="2"), events=uri, rejected_uri=uri)
    assert content_of(uri) == before
    assert seen_posts(emulator) == sent


@pytest.mark.parametrize("value", ["", "carrier-pigeon://loft/file", 5])
def test_what_is_no_place_for_a_file_is_refused_before_anything_is_sent(
    emulator: EmulatorClient, context: Any, value: Any
) -> None:
    with pytest.raises(AirflowFailException, match="rejected_uri"):
        in_the_task(context, events=source(3, {1}), rejected_uri=value)
    assert seen_posts(emulator) == 0


def test_a_folder_in_the_place_of_the_file_is_told_before_anything_is_sent(
    emulator: EmulatorClient, context: Any, tmp_path: Path
) -> None:
    with pytest.raises(Exception, match="rejected_uri"):
        in_the_task(context, events=source(3, {1}), rejected_uri=f"file://{tmp_path}")
    assert seen_posts(emulator) == 0


def test_in_a_folder_all_have_their_own(
    emulator: EmulatorClient, make_context: Callable[..., Any], tmp_path: Path
) -> None:
    identities = [{}, {"run_id": "run-2"}, {"map_index": 0}, {"map_index": 1}, {"run_id": "run/2"}]
    uris = []
    for index, identity in enumerate(identities, 1):
        report = in_the_task(
            make_context(**identity),
            events=source(index + 1, {1}, {2}),
            rejected_uri=f"file://{tmp_path}/all/",
        )
        uris.append(report["rejected_uri"])
    assert len(set(uris)) == len(identities)
    assert all(len(lines_of(uri)) == 2 for uri in uris)
    assert len(files_below(f"file://{tmp_path}/all")) == len(identities)


@WAYS
def test_the_same_run_writes_over_its_own(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str, tmp_path: Path, import_in: Any
) -> None:
    import_in(make_context(), events=source(5, {1}, {2}), rejected_uri=uri)
    emulator.reset()
    emulator.order_rejection("properties.only_fullstory_refuses", code="user_not_found")
    report = import_in(make_context(), events=source(25, {3, 4}, {5, 25}), batch_size=10, rejected_uri=uri)
    check_file(report, emulator, 25, {3, 4}, {5, 25})
    # What is fine now leaves no file.
    for invalid, rejected in (((), {5}), ({6}, ()), ((), ())):
        emulator.reset()
        emulator.order_rejection("properties.only_fullstory_refuses", code="user_not_found")
        report = import_in(make_context(), events=source(7, invalid, rejected), rejected_uri=uri)
        check_file(report, emulator, 7, invalid, rejected)
    assert files_below(f"file://{tmp_path}/refused") == []


@pytest.mark.parametrize("other", [{"run_id": "run-2"}, {"map_index": 3}])
@pytest.mark.parametrize("invalid", [set(), {3}])
@pytest.mark.parametrize("others", [({1}, {2}), (set(), {2}), (set(), set())])
def test_an_import_that_overlaps_another_is_turned_away_before_anything_is_sent(
    *,
    emulator: EmulatorClient,
    make_context: Callable[..., Any],
    uri: str,
    other: dict[str, Any],
    invalid: set[int],
    others: tuple[set[int], set[int]],
) -> None:
    """Its file would be written over, or removed where nothing was refused, by whoever comes last."""

    def slow() -> Iterator[dict[str, Any]]:
        yield from source(3, invalid, {2})[:2]
        with pytest.raises(
            AirflowFailException, match=r"claimed for the refused records of dag/run-1/import/-1"
        ):
            in_the_task(make_context(**other), events=source(4, *others), rejected_uri=uri)
        yield from source(3, invalid, {2})[2:]

    report = in_the_task(make_context(), events=slow(), rejected_uri=uri)
    check_file(report, emulator, 3, invalid, {2})


def test_what_turns_an_import_away_says_what_to_do(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str, tmp_path: Path
) -> None:
    """An import that ended midway, and is not tried again, keeps its claim: it has sent something."""

    def broken() -> Iterator[dict[str, Any]]:
        yield from source(25)
        raise Crash

    with pytest.raises(Crash):
        in_the_task(make_context(), events=broken(), rejected_uri=uri, batch_size=5)
    sent = seen_posts(emulator)
    with pytest.raises(AirflowFailException) as caught:
        in_the_task(make_context(run_id="run-2"), events=source(3, {1}), rejected_uri=uri)
    claim = tmp_path / "refused" / "file.ndjson.claim"
    text = str(caught.value)
    assert "Nothing was sent. Give each run its own: put {{ run_id }} into rejected_uri" in text
    assert "{{ ti.map_index }}" in text
    assert "end it with / for a folder" in text
    assert text.endswith(f"If that import never continues, remove file://{claim}.")
    assert seen_posts(emulator) == sent
    claim.unlink()
    report = in_the_task(make_context(run_id="run-2"), events=source(3, {1}), rejected_uri=uri)
    assert (report["invalid"], report["rejected_uri"]) == (1, uri)


@pytest.mark.parametrize("error", [ValueError, FullStorySourceError])
def test_an_import_that_fails_before_anything_is_sent_keeps_no_file_from_others(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str, error: type[Exception]
) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        raise error("gone")
        yield

    with pytest.raises(error):
        in_the_task(make_context(), events=broken(), rejected_uri=uri)
    report = in_the_task(make_context(run_id="run-2"), events=source(3, {1}, {2}), rejected_uri=uri)
    assert len(lines_of(report["rejected_uri"])) == 2


def test_an_import_whose_file_was_given_away_by_hand_says_so_and_can_be_repeated(
    emulator: EmulatorClient,
    make_task: Callable[..., Task],
    make_context: Callable[..., Any],
    uri: str,
    tmp_path: Path,
) -> None:
    """Somebody takes it for dead and removes its claim, while it waits."""
    task = make_task("store", events=source(5, (), {2}), rejected_uri=uri, max_rejected=5)

    publish, given_away = Completion.publish, []

    def give_away(*arguments: Any) -> None:
        publish(*arguments)
        if not given_away:
            given_away.append(uri)
            (tmp_path / "refused" / "file.ndjson.claim").unlink()
            in_the_task(make_context(run_id="run-2"), events=source(3, {1}), rejected_uri=uri)

    with (
        patch.object(Completion, "publish", give_away),
        pytest.raises(
            AirflowFailException, match=r"holds the refused records of dag/run-2/import/-1; it would be lost"
        ),
    ):
        task.attempt()
    [line] = lines_of(uri)
    assert line["refusal"]["import"] == "dag/run-2/import/-1"
    sent = seen_posts(emulator)
    (tmp_path / "refused" / "file.ndjson").rename(tmp_path / "dealt-with.ndjson")
    report = task.attempt()
    assert [line["refusal"]["position"] for line in lines_of(report["rejected_uri"])] == [2]
    assert seen_posts(emulator) == sent


def test_a_clear_and_a_retry_are_the_same_owner(
    emulator: EmulatorClient, make_task: Callable[..., Task], uri: str
) -> None:
    task = make_task("store", events=source(5, {1}, {2}), rejected_uri=uri)
    for _ in range(2):
        with pytest.raises(AirflowFailException, match="2 of 5 records are not in FullStory"):
            task.attempt()
    task.clear()
    report = task.attempt(max_rejected=2)
    assert sorted(line["refusal"]["position"] for line in lines_of(report["rejected_uri"])) == [1, 2]


@pytest.mark.parametrize("value", ["None", "refused/file.ndjson", "{{ run_id }}.ndjson", "file://refused/x"])
def test_what_would_end_in_the_current_folder_of_the_worker_is_refused(
    emulator: EmulatorClient, context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AirflowFailException, match=r"^rejected_uri is ") as caught:
        in_the_task(context, events=source(3, {1}), rejected_uri=value)
    assert isinstance(caught.value, FullStoryInputError)
    assert seen_posts(emulator) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_storage_that_is_full_when_all_is_sent_fails_the_try_with_what_is_in_fullstory(
    emulator: EmulatorClient, make_task: Callable[..., Task], uri: str, *, deferrable: bool
) -> None:
    task = make_task(
        "store", events=source(5, {1}, {2}), rejected_uri=uri, max_rejected=2, deferrable=deferrable
    )
    write, written = Folder.write, []

    def fill_up(folder: Folder, name: str, content: Any) -> None:
        if name == "file.ndjson" and written.append(name) is None and len(written) > 1:
            with patch("shutil.copyfileobj", side_effect=OSError(errno.ENOSPC, "No space left on device")):
                write(folder, name, content)
        write(folder, name, content)

    with patch.object(Folder, "write", fill_up), pytest.raises(FullStoryStorageError) as caught:
        task.attempt()
    text = str(caught.value)
    assert text.startswith(
        f"Could not write file.ndjson to {uri.removesuffix('/file.ndjson')}: OSError: [Errno 28]"
    )
    assert "It is full: free some space." in text
    assert text.endswith(
        "The import itself is finished: 3 records are in FullStory, 1 were rejected by it.\n"
        "A retry sends nothing, and writes the file."
    )
    sent = seen_posts(emulator)
    report = task.attempt()
    check_file(report, emulator, 5, {1}, {2})
    assert seen_posts(emulator) == sent


def test_a_storage_that_is_full_when_records_are_refused_here_fails_the_try(
    emulator: EmulatorClient, make_task: Callable[..., Task], uri: str
) -> None:
    task = make_task("store", events=source(5, {1}, {2}), rejected_uri=uri, max_rejected=2)
    write = Folder.write

    def fill_up(folder: Folder, name: str, content: Any) -> None:
        if name == "file.ndjson":
            raise FullStoryStorageError("full.")
        write(folder, name, content)

    with (
        patch.object(Folder, "write", fill_up),
        pytest.raises(
            FullStoryStorageError, match=r"^full\.\nA retry writes the file again, and sends nothing again"
        ),
    ):
        task.attempt()
    sent = seen_posts(emulator)
    check_file(task.attempt(), emulator, 5, {1}, {2})
    assert seen_posts(emulator) == sent


def test_a_retry_with_another_file_goes_on_with_the_one_that_was_begun(
    emulator: EmulatorClient, make_task: Callable[..., Task], database: Path, uri: str, tmp_path: Path
) -> None:
    """The other one is not kept from other imports."""
    make_warehouse(database, 3)
    emulator.order_rejection("properties.number", [2])
    task = make_task("store", rejected_uri=uri, max_rejected=1, **QUERY)
    with patch.object(Completion, "publish", side_effect=Crash), pytest.raises(Crash):
        task.attempt()
    report = task.attempt(rejected_uri=f"file://{tmp_path}/other.ndjson")
    assert report["rejected_uri"] == uri
    assert [line["refusal"]["position"] for line in lines_of(uri)] == [3]
    assert files_below(f"file://{tmp_path}/refused") == ["file.ndjson"]
    assert not list(tmp_path.glob("other*"))
