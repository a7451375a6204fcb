"""A file of refused records belongs to one import."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

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

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient

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
        with pytest.raises(AirflowFailException, match="holds the refused records of dag/run-1/task/-1"):
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
    emulator.order_refusal("properties.only_fullstory_refuses", code="user_not_found")
    report = import_in(make_context(), events=source(25, {3, 4}, {5, 25}), batch_size=10, rejected_uri=uri)
    check_file(report, emulator, 25, {3, 4}, {5, 25})
    # What is fine now leaves no file.
    for invalid, rejected in (((), {5}), ({6}, ()), ((), ())):
        emulator.reset()
        emulator.order_refusal("properties.only_fullstory_refuses", code="user_not_found")
        report = import_in(make_context(), events=source(7, invalid, rejected), rejected_uri=uri)
        check_file(report, emulator, 7, invalid, rejected)
    assert files_below(f"file://{tmp_path}/refused") == []
