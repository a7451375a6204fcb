"""
Records from files of newline-delimited JSON, wherever they are: one file, several, a pattern, or a folder.

Whichever way they are named, files are read in the order of their names, so that a retry reads the same
records. Exports of warehouses leave other files beside the data, which are passed over.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from typing import IO, TYPE_CHECKING, Any, Final

import msgspec

from airflow_provider_fullstory.api.encoding import DECODER
from airflow_provider_fullstory.exceptions import FullStoryError, FullStoryInputError, FullStorySourceError
from airflow_provider_fullstory.sources.lines import Unreadable, buffered, lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from airflow_provider_fullstory.sources.lines import Reader

_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]*://")
_WILDCARD: Final = re.compile(r"[*?\[]")
_TAKEN: Final = "newline-delimited JSON in UTF-8, one object a line, plain or gzip"
_MISSING: Final = "is not a file. A folder is named with a slash at its end."
#: One of these must be a record, or the file is taken for something else.
_FIRST_LINES: Final = 10
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
#: How files begin that do not hold lines of text in UTF-8.
_SIGNATURES: Final = {
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
    b"{\0": "text in UTF-16",
    b"\0{": "text in UTF-16",
    b"PAR1": "a Parquet file",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
    b"PK\x03\x04": "a zip archive",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"\xff\x06\x00\x00sNaPpY": "compressed with Snappy",
    b"\x1f\x8b": "compressed twice",
}
#: Endings of files that hold data, but not as lines of JSON.
_OTHER_KINDS: Final = (
    *(".parquet", ".csv", ".tsv", ".txt", ".xml", ".avro", ".orc", ".arrow", ".feather", ".xlsx"),
    *(".zip", ".zst", ".bz2", ".xz", ".snappy", ".lz4"),
)


def records_of_files(locations: Iterable[Any], argument: str) -> Iterator[Any]:
    """
    Return the records in files, one after another; an :class:`Unreadable` for a line that is not JSON.

    :param locations: Where files are: URIs, absolute paths or path objects; of one file, of all that match a
        pattern (``*``, ``?``, ``[a-z]``), or, with a slash at its end, of all in a folder. A file that is
        named twice is read once.
    :param argument: The argument that names them, for messages.
    :raises FullStoryInputError: At the call: if nothing can be opened there, or no file is there. Later: if a
        file holds something else than lines of JSON.
    :raises FullStorySourceError: If a storage cannot be read.
    """
    locations = list(locations)
    files = {
        file.uri: file
        for location in locations
        for file in _files(location, argument, is_only=len(locations) == 1)
    }
    return _records(list(map(files.__getitem__, sorted(files))), argument)


@dataclasses.dataclass(frozen=True, slots=True)
class _File:
    """A file, and what opens it."""

    uri: str
    open: Callable[[], IO[bytes]]


def _files(location: Any, argument: str, *, is_only: bool) -> list[_File]:
    path = _path(location, argument)
    name = str(location)
    try:
        if name.endswith("/"):
            return _found(path, name, path.fs.find(path.path, detail=True), path.path, argument)
        # Any character may be part of a file's name.
        if _WILDCARD.search(name) and not path.fs.exists(path.path):
            folder = _WILDCARD.split(path.path)[0].rpartition("/")[0]
            return _found(path, name, path.fs.glob(path.path, detail=True), folder, argument)
        if not is_only:
            # Else the files before it would be sent before it is found missing.
            path.open("rb").close()
        return [_File(_uri(path, path.path), functools.partial(path.open, "rb"))]
    except FullStoryError:
        raise
    except (FileNotFoundError, IsADirectoryError) as error:
        raise FullStoryInputError(f"{name} {_MISSING}") from error
    except Exception as error:
        raise FullStorySourceError(f"{name} could not be listed: {_reason(error)}.") from error


def _found(path: Any, name: str, found: Mapping[str, Any], folder: str, argument: str) -> list[_File]:
    """Return the files of data among those that a storage has found in a folder."""
    files = [
        _File(_uri(path, file), functools.partial(path.fs.open, file))
        for file, info in found.items()
        if _is_data(file.removeprefix(folder).lstrip("/"), info)
    ]
    if not files:
        raise FullStoryInputError(f"{name} leads to no file; empty and hidden ones do not count.")
    others = [file.uri for file in files if file.uri.lower().removesuffix(".gz").endswith(_OTHER_KINDS)]
    if others:
        raise FullStoryInputError(
            f"{min(others)} is not newline-delimited JSON, which {argument}= takes. Leave such files "
            f"out of {name}, with a pattern such as *.jsonl.gz."
        )
    return files


def _path(location: Any, argument: str) -> Any:
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, ObjectStoragePath

    if not isinstance(location, (str, os.PathLike)):
        return location
    try:
        path = ObjectStoragePath(location)
        # A scheme that nothing installed can read shows only here.
        path.fs  # noqa: B018
    except (ValueError, ImportError, AirflowNotFoundException) as error:
        raise FullStoryInputError(
            f"{argument} is {str(location)!r}, which cannot be opened: {error}."
        ) from error
    except Exception as error:
        raise FullStorySourceError(f"{location} could not be opened: {_reason(error)}.") from error
    return path


def _uri(path: Any, file: str) -> str:
    """Return what leads to a file that the storage behind a path has."""
    uri: str = path.fs.unstrip_protocol(file)
    # Airflow 2 has it among the options.
    connection = getattr(path, "conn_id", None) or path.storage_options.get("conn_id")
    return uri.replace("://", f"://{connection}@", 1) if connection else uri


def _is_data(name: str, info: dict[str, Any]) -> bool:
    """Return whether a file that was found is one of data; exports put marks and checksums beside it."""
    *folders, last = name.split("/")
    return (
        info.get("type") != "directory"
        and info.get("size") != 0
        and not any(part.startswith((".", "_")) for part in (*folders, last))
        # What this package keeps beside files of refused records.
        and not any(folder.endswith(".sent") for folder in folders)
        and not last.endswith((".crc", ".partial"))
    )


def _records(files: list[_File], argument: str) -> Iterator[Any]:
    for file in files:
        where = f" of {file.uri.rpartition('/')[2]}" if len(files) > 1 else ""
        yield from _records_of(file, where, f"{argument}= takes {_TAKEN}")


def _records_of(file: _File, where: str, taken: str) -> Iterator[Any]:
    """Yield the record of each line, or why the line cannot be read."""
    number = 0
    try:
        with file.open() as opened:
            reader = buffered(opened)
            _check_signature(reader, file.uri, taken)
            texts = _texts(reader, file.uri, taken)
            for number, text in _known_as_json(texts, file.uri, taken):
                yield _record(text, f"line {number}{where}")
    except FullStoryError:
        raise
    except (FileNotFoundError, IsADirectoryError) as error:
        raise FullStoryInputError(f"{file.uri} {_MISSING}") from error
    except Exception as error:
        # The libraries of object storages have errors of their own.
        progress = f" after line {number}" if number else ""
        raise FullStorySourceError(f"{file.uri} could not be read{progress}: {_reason(error)}.") from error


def _check_signature(reader: Reader, uri: str, taken: str) -> None:
    head = reader.peek(max(map(len, _SIGNATURES)))
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            raise FullStoryInputError(f"{uri} is {kind}; {taken}.")


def _texts(reader: Reader, uri: str, taken: str) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that hold something, with their numbers."""
    for number, line in enumerate(lines(reader, uri), start=1):
        text = (line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line).strip()
        if number == 1 and text.startswith(b"["):
            raise FullStoryInputError(f"{uri} holds a JSON array; {taken}.")
        if text:
            yield number, text


def _known_as_json(texts: Iterator[tuple[int, bytes]], uri: str, taken: str) -> Iterator[tuple[int, bytes]]:
    """
    Yield the lines once one of the first is an object: then all other lines are broken records.

    A file of one line may be a broken record too.
    """
    first: list[tuple[int, bytes]] = []
    for number, text in texts:
        first.append((number, text))
        if _is_object(text):
            break
        if len(first) == _FIRST_LINES:
            raise FullStoryInputError(
                f"None of the first {_FIRST_LINES} lines of {uri} is an object; {taken}."
            )
    else:
        if len(first) > 1 or any(not text.startswith(b"{") for _, text in first):
            raise FullStoryInputError(f"No line of {uri} is an object; {taken}.")
    yield from first
    yield from texts


def _is_object(text: bytes) -> bool:
    try:
        return text.startswith(b"{") and isinstance(DECODER.decode(text), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError):
        return False


def _record(text: bytes, line: str) -> Any:
    try:
        return DECODER.decode(text)
    except UnicodeDecodeError:
        problem = "it is not UTF-8"
    except msgspec.DecodeError as error:
        problem = str(error)
    except (RecursionError, ArithmeticError):
        problem = None
    return Unreadable(text.decode(errors="backslashreplace"), line, problem)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().rstrip('.')}"
