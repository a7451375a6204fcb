"""The numbered files that say who holds a sync, and who held it before. The highest number decides."""

from __future__ import annotations

import datetime
import logging
import re
import time
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from airflow_provider_fullstory.exceptions import FullStoryStorageError

if TYPE_CHECKING:
    from airflow_provider_fullstory.batch_import.storage.folder import Folder

#: Seconds after which a hold that was not renewed is over. Its holder gives it up after half of that, so
#: the clocks of workers may differ by a minute.
OVER_AFTER: Final = 120.0
#: How many files of earlier holders are kept, for people.
_KEPT: Final = 3
_FOLDER: Final = "holds"

#: Seconds since the epoch, up to the year 9999; a file with others is damaged.
_Time = Annotated[float, msgspec.Meta(ge=0, lt=253_402_300_800)]

log = logging.getLogger(__name__)


class Holder(msgspec.Struct, frozen=True):
    """
    Describe a process that holds a sync.

    :param number: Its number: each holder has the next one.
    :param who: The process, for people: its run, task and DAG, or the command, and its host.
    :param token: A random text that no other holder has.
    :param taken_at: When it took the hold, in seconds since the epoch.
    :param renewed_at: When it last gave a sign of life.
    :param released: Whether it has given the hold up.
    """

    number: int
    who: str
    token: str
    taken_at: _Time
    renewed_at: _Time
    released: bool = False

    def __str__(self) -> str:
        if not self.token:
            return self.who
        return f"{self.who}, since {when(self.taken_at)} (last sign of life {when(self.renewed_at)})"

    def is_over(self, now: float, after: float = OVER_AFTER) -> bool:
        """
        Return whether the hold has ended.

        :param now: Seconds since the epoch.
        :param after: Seconds after which a hold that was not renewed is over.
        """
        return self.released or now - self.renewed_at >= after


def holder_of(folder: Folder) -> Holder | None:
    """
    Return who holds a sync, None if nobody does.

    :param folder: The folder of the sync.
    """
    now = time.time()
    number, content = highest(folder)
    if number == 0:
        return None
    holder = decoded(content) or unknown(folder, number)
    return None if holder.is_over(now) else holder


def highest(folder: Folder) -> tuple[int, bytes]:
    """Return the highest number and the content of its file; 0 if the sync was never held."""
    number = max(_numbers(folder), default=0)
    return number, (read(folder, number) if number else b"")


def highest_number(folder: Folder) -> int:
    """Return the highest number, 0 if the sync was never held."""
    return max(_numbers(folder), default=0)


def read(folder: Folder, number: int) -> bytes:
    """Return the content of a holder's file, nothing if it is missing."""
    return folder.read(_name(number)) or b""


def create(folder: Folder, holder: Holder) -> Holder | None:
    """Write the file of a new holder, and return who has its number; None if the file is damaged."""
    return decoded(folder.create(_name(holder.number), msgspec.json.encode(holder)))


def write(folder: Folder, holder: Holder) -> None:
    """Write the file of a holder anew. Only the holder may do this."""
    folder.write(_name(holder.number), msgspec.json.encode(holder))


def remove(folder: Folder, number: int) -> None:
    """Remove the file of a holder."""
    folder.remove(_name(number))


def remove_old(folder: Folder, number: int) -> None:
    """Remove files of earlier holders, except for the latest."""
    try:
        for earlier in _numbers(folder):
            if earlier < number - _KEPT:
                remove(folder, earlier)
    except FullStoryStorageError as error:
        # The next holder removes them.
        log.warning("%s", error)


def decoded(content: bytes) -> Holder | None:
    """Return the holder that a file describes, None if it is damaged."""
    try:
        return msgspec.json.decode(content, type=Holder)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def unknown(folder: Folder, number: int) -> Holder:
    """Return a holder whose file cannot be read."""
    where = folder.location(_name(number))
    return Holder(number, f"a process that is not known, since {where} is damaged", "", 0.0, time.time())


def _numbers(folder: Folder) -> list[int]:
    names = folder.names(_FOLDER)
    return [int(found[1]) for name in names if (found := re.fullmatch(r"(\d{8,})\.json", name))]


def _name(number: int) -> str:
    return f"{_FOLDER}/{number:08}.json"


def when(seconds: float) -> str:
    """Return a time in ISO 8601 (UTC)."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")
