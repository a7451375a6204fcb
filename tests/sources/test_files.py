"""Files are one source however they are named; files without data are left out, and other kinds fail."""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import json
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, Self

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_fullstory.exceptions import FullStoryInputError, FullStorySourceError
from airflow_provider_fullstory.sources.iterables import records_of
from airflow_provider_fullstory.sources.lines import Unreadable
from airflow_provider_fullstory.sources.locations import is_location
from tests.records.sending import read_refused, send_records

#: Without the time, which would be part of the names of tests.
zipped = partial(gzip.compress, mtime=0)


def record(name: str) -> bytes:
    return json.dumps({"file": name}).encode() + b"\n"


def write(folder: Path, *names: str) -> None:
    """Write files that each hold a record with the file's name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = record(name)
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


def read(events: Any) -> list[str]:
    return [one["file"] for one in records_of(events, "events")]


# Several files --------------------------------------------------------------------------------------------


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    names = ["a.jsonl", "b.ndjson.gz", "day=1/part-0001", "day=1/part-0002", "day=2/part-0000", "z.json"]
    write(tmp_path, *reversed(names))

    assert read(f"file://{tmp_path}/") == names
    assert read(f"{tmp_path}/") == names


def test_a_pattern_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    write(tmp_path, "b.jsonl", "a.jsonl", "c.csv", "d/e.jsonl", "d/f/g.jsonl")

    assert read(f"file://{tmp_path}/*.jsonl") == ["a.jsonl", "b.jsonl"]
    assert read(f"{tmp_path}/[b-z].jsonl") == ["b.jsonl"]
    assert read(f"{tmp_path}/?/*.jsonl") == ["d/e.jsonl"]
    assert read(f"{tmp_path}/d/**/*.jsonl") == ["d/e.jsonl", "d/f/g.jsonl"]


@pytest.mark.parametrize(
    "form",
    [
        lambda uris: uris,
        lambda uris: tuple(reversed(uris)),
        lambda uris: (uri for uri in uris),
        lambda uris: [uris[:1], uris[1:]],
        lambda uris: [*uris, *uris],
        lambda uris: [*uris, uris[0].removeprefix("file://")],
        lambda uris: [uris[2], Path(uris[0].removeprefix("file://")), uris[1]],
    ],
    ids=["list", "tuple", "generator", "lists of mapped tasks", "twice", "twice, otherwise", "paths"],
)
def test_files_by_name_are_one_source(tmp_path: Path, form: Any) -> None:
    write(tmp_path, "a", "b", "c.gz")
    uris = [f"file://{tmp_path}/{name}" for name in ("a", "b", "c.gz")]

    assert sorted(read(form(uris))) == ["a", "b", "c.gz"]


def test_the_order_of_a_list_does_not_matter(tmp_path: Path) -> None:
    write(tmp_path, "a", "b/1", "b/2", "c")

    assert read([f"{tmp_path}/c", f"{tmp_path}/b/", f"{tmp_path}/a"]) == ["a", "b/1", "b/2", "c"]


@pytest.mark.parametrize("name", ["a*b", "a?b", "[ab]", "a b#c%20é"])
def test_a_file_may_be_called_like_a_pattern(tmp_path: Path, name: str) -> None:
    write(tmp_path, name, "ab", "aab", "a")

    assert read(f"file://{tmp_path}/{name}") == [name]
    assert read([f"{tmp_path}/{name}"]) == [name]


def test_what_is_no_data_is_passed_over(tmp_path: Path) -> None:
    marks = ["_SUCCESS", ".hidden", ".part-0.crc", "part-0.crc", "_temporary/0/part-9", ".git/x", "a.partial"]
    write(tmp_path, "part-0", *marks, "dag/run/task.ndjson.sent/00001")
    (tmp_path / "empty").write_bytes(b"")

    assert read(f"{tmp_path}/") == read(f"{tmp_path}/**") == ["part-0"]


def test_a_folder_of_refused_records_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "dag" / "run" / "task.ndjson"
    write(tmp_path, "dag/run/task.ndjson.sent/00001.json")
    line = {"event": {"user": {"uid": "u"}, "file": "fixed"}, "refusal": {"code": "c", "message": "m"}}
    path.write_text(json.dumps(line) + "\n")

    sent = send_records(read_refused(f"{tmp_path}/"))
    assert [event["properties"] for event in sent.events] == [{"file": "fixed"}]


def test_the_folder_itself_may_be_hidden(tmp_path: Path) -> None:
    write(tmp_path / ".cache" / "_x.sent", "a.jsonl")

    assert read(f"{tmp_path}/.cache/_x.sent/") == read(f"{tmp_path}/.cache/_x.sent/*") == ["a.jsonl"]


@pytest.mark.parametrize("name", ["c.csv", "c.parquet", "C.CSV", "c.csv.gz", "c.snappy.parquet"])
def test_files_of_other_kinds_are_refused_by_name(tmp_path: Path, name: str) -> None:
    write(tmp_path, "a.jsonl", name)

    with pytest.raises(FullStoryInputError, match=rf"/{name} is not newline-delimited JSON, which events="):
        read(f"file://{tmp_path}/")


@pytest.mark.parametrize("location", ["{}/", "file://{}/", "{}/absent/", "{}/*.jsonl"])
@pytest.mark.parametrize(
    "form", [lambda location: location, lambda location: [location]], ids=["one", "list"]
)
def test_where_no_file_is_nothing_is_sent(tmp_path: Path, location: str, form: Any) -> None:
    write(tmp_path, "_SUCCESS")
    named = location.format(tmp_path)

    with pytest.raises(FullStoryInputError) as caught:
        read(form(named))

    assert str(caught.value) == f"{named} leads to no file; empty and hidden ones do not count."


def test_a_folder_in_a_list_has_its_slash(tmp_path: Path) -> None:
    write(tmp_path, "a", "b/1")

    with pytest.raises(
        FullStoryInputError, match=r"/b is not a file\. A folder is named with a slash at its end"
    ):
        next(records_of([f"{tmp_path}/a", f"{tmp_path}/b"]))


def test_positions_count_through_and_reasons_name_the_file_and_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(record("a") * 3)
    (tmp_path / "b.jsonl").write_bytes(record("b") + b"\n{broken\n" + record("b"))

    sent = send_records(records_of(f"{tmp_path}/"))

    assert len(sent.events) == 5
    [refused] = sent.refused
    assert refused.position == 5
    assert refused.refusal.reason.startswith("line 3 of b.jsonl is not JSON: ")


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["file:///a", {"a": 1}], r"^events names files, but item 2 of type dict is not a URI\.$"),
        (["file:///a", "b"], r"^events names files, but item 2 of type str is not a URI\.$"),
    ],
)
def test_a_list_that_is_no_list_of_files_is_refused(items: list[Any], message: str) -> None:
    with pytest.raises(FullStoryInputError, match=message):
        list(records_of(items, "events"))


class Frame:
    """As a DataFrame is: it gives the names of its columns, which are its attributes as well."""

    def __init__(self, **columns: list[Any]) -> None:
        self._columns = columns
        self.__dict__.update(columns)

    def __iter__(self) -> Any:
        return iter(self._columns)


@pytest.mark.parametrize(
    "value", ["file:///a", "s3://conn@bucket/a", "simplecache::s3://b/a", "/a", Path("a"), Path("/a")]
)
def test_what_says_where_files_are(value: Any) -> None:
    assert is_location(value)


@pytest.mark.parametrize(
    "value",
    ["a.jsonl", '{"url": "https://a"}', '[{"url": "s3://a"}]', "", " /a", b"/a", 5, None, {"open": 1}],
)
def test_what_says_nothing_of_files(value: Any) -> None:
    assert not is_location(value)


# What a file holds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["part-0000", "A.NDJSON.GZ", "a.jsonl", "a.gz"])
@pytest.mark.parametrize("compress", [lambda content: content, gzip.compress], ids=["plain", "gzip"])
def test_the_content_says_whether_it_is_compressed(tmp_path: Path, name: str, compress: Any) -> None:
    (tmp_path / name).write_bytes(compress(record("a") * 2))

    assert read(f"{tmp_path}/{name}") == ["a", "a"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (record("a").decode().encode("utf-16"), "text in UTF-16"),
        (record("a").decode().encode("utf-16-le"), "text in UTF-16"),
        (record("a").decode().encode("utf-16-be"), "text in UTF-16"),
        (record("a").decode().encode("utf-32"), "text in UTF-16"),
        (zipped(record("a").decode().encode("utf-16")), "text in UTF-16"),
        (zipped(zipped(record("a"))), "compressed twice"),
        (b"PAR1\x15\x04\n\x15\n", "a Parquet file"),
        (b"Obj\x01\x04", "an Avro file"),
        (b"PK\x03\x04...", "a zip archive"),
        (b"\x28\xb5\x2f\xfd...", "compressed with Zstandard"),
    ],
)
def test_a_file_of_another_kind_is_one_error(tmp_path: Path, content: bytes, kind: str) -> None:
    (tmp_path / "a").write_bytes(content)

    with pytest.raises(FullStoryInputError, match=rf"/a is {kind}; events= takes newline-delimited JSON in"):
        read(f"{tmp_path}/a")


CSV = b"uid,name\n" + b"u,A\n" * 20
PRETTY = json.dumps({"user": {"uid": "u"}, "n": 1, "tags": ["a"]}, indent=2).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(CSV, "None of the first 10 lines of", id="CSV"),
        pytest.param(CSV[:13], "No line of", id="short CSV"),
        pytest.param(CSV[:9], "No line of", id="header of a CSV"),
        pytest.param(PRETTY, "No line of", id="one object on many lines"),
        pytest.param(b"<html>not found</html>", "No line of", id="page"),
        pytest.param(b"null\n5\n", "No line of", id="JSON without an object"),
        pytest.param(b"\x00\x01\x02\n" * 20, "None of the first 10 lines of", id="binary"),
    ],
)
def test_a_file_without_objects_is_one_error(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(content)

    with pytest.raises(
        FullStoryInputError, match=rf"^{message} .*/a is an object; events= takes newline-del"
    ):
        list(records_of(f"{tmp_path}/a", "events"))


@pytest.mark.parametrize("broken", [1, 2, 9])
@pytest.mark.parametrize("line", [b"{broken\n", b"null\n", b"uid,name\n", b'"text"\n'])
def test_broken_lines_before_a_record_are_refused_alone(tmp_path: Path, broken: int, line: bytes) -> None:
    (tmp_path / "a").write_bytes(line * broken + record("a") + line * 20 + record("a"))

    sent = send_records(records_of(f"{tmp_path}/a"))

    assert [event["properties"]["file"] for event in sent.events] == ["a", "a"]
    positions = [invalid.position for invalid in sent.refused]
    assert positions == [*range(1, broken + 1), *range(broken + 2, broken + 22)]


def test_refused_lines_that_were_no_records_are_refused_again(tmp_path: Path) -> None:
    line = {"event": "{broken", "refusal": {"code": "c", "message": "m"}}
    (tmp_path / "a").write_text((json.dumps(line) + "\n") * 3)

    assert len(send_records(read_refused(f"{tmp_path}/a")).refused) == 3


def test_a_line_that_is_too_long_is_named(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.gz", "wb", compresslevel=1) as file:
        file.write(record("a"))
        for _ in range(40):
            file.write(b" " * 2**20)

    with pytest.raises(FullStoryInputError, match=r"^Line 2 of .*/a\.gz is longer than 32 MiB\."):
        read(f"{tmp_path}/a.gz")


def test_a_line_that_is_not_utf8_is_quoted_in_no_reason(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(record("a") + b'{"a": "\xff"}\n')

    _, refused = records_of(f"{tmp_path}/a")

    assert isinstance(refused, Unreadable)
    assert (refused.line, refused.problem) == ("line 2", "it is not UTF-8")


# Storages -------------------------------------------------------------------------------------------------


class CloudError(Exception):
    """As botocore's, azure's and google's errors are: no OSError."""


class BrokenFile:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def read(self, _: int) -> NoReturn:
        raise CloudError("The specified key is locked.")


class CloudFileSystem(MemoryFileSystem):
    """A storage whose library has errors of its own."""

    store: dict[str, Any] = {}  # noqa: RUF012 - The class's own, as that of fsspec's.
    pseudo_dirs = [""]  # noqa: RUF012

    def open(self, path: str, *arguments: Any, **options: Any) -> Any:
        if "denied" in path:
            raise CloudError("Access denied.")
        return BrokenFile() if "locked" in path else super().open(path, *arguments, **options)

    def find(self, path: str, **options: Any) -> Any:
        if "denied" in path:
            raise CloudError("Access denied.")
        return super().find(path, **options)


@pytest.fixture
def cloud() -> CloudFileSystem:
    file_system = CloudFileSystem(skip_instance_cache=True)
    for name in ("a", "b"):
        file_system.pipe_file(f"/bucket/folder/{name}.jsonl", record(name))
    # Each Airflow has it elsewhere.
    store = "airflow.sdk.io" if importlib.util.find_spec("airflow.sdk") else "airflow.io.store"
    importlib.import_module(store).attach("memory", "cloud", fs=file_system)
    return file_system


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize(
    "location", ["memory://cloud@bucket/folder/", "memory://cloud@bucket/folder/*.jsonl"]
)
def test_files_of_a_storage_are_listed_there(location: str) -> None:
    assert read(location) == ["a", "b"]


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize("before", [[], ["memory://cloud@bucket/folder/a.jsonl"]], ids=["alone", "in a list"])
def test_a_missing_file_is_named_before_anything_is_read(before: list[str]) -> None:
    with pytest.raises(FullStoryInputError, match=r"bucket/zzz\.jsonl is not a file\. A folder is named"):
        next(records_of([*before, "memory://cloud@bucket/zzz.jsonl"]))


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize(
    ("location", "message"),
    [
        (
            "memory://cloud@bucket/denied.jsonl",
            r"^memory://cloud@/?bucket/denied\.jsonl could not be read: CloudError: Access",
        ),
        (
            "memory://cloud@bucket/locked.jsonl",
            r"locked\.jsonl could not be read: CloudError: The specified key is",
        ),
        (
            "memory://cloud@bucket/denied/",
            r"^memory://cloud@bucket/denied/ could not be listed: CloudError: Access denied\.$",
        ),
    ],
)
def test_any_error_of_a_storage_names_the_file(location: str, message: str) -> None:
    with pytest.raises(FullStorySourceError, match=message):
        read(location)
