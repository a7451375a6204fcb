"""The hold on a sync, so that one process at a time reads its query and sends what it gives."""

from __future__ import annotations

import dataclasses
import logging
import random
import secrets
import threading
import time
from typing import TYPE_CHECKING, Final, Self

import msgspec

from airflow_provider_fullstory.exceptions import (
    FullStoryHoldLostError,
    FullStoryKilledError,
    FullStoryStorageError,
    FullStoryTimeoutError,
)
from airflow_provider_fullstory.syncs import holders
from airflow_provider_fullstory.syncs.holders import Holder

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from airflow_provider_fullstory.batch_import.storage.folder import Folder

_SECONDS_BETWEEN_CHECKS: Final = 0.2
#: A write that hangs does not keep the task from ending.
_LONGEST_JOIN: Final = 10.0

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Times:
    """
    Set the pace of a hold, in seconds.

    :param renewal: Time between two signs of life of the holder.
    :param valid: Time after the last of them at which the holder itself gives up.
    :param over: Time after the last of them at which others take over. The difference to ``valid`` is how
        far the clocks of two workers may be apart.
    :param poll: Time between two looks of a process that waits, on average.
    :param log: Time between two lines in its log.
    """

    renewal: float = 15.0
    valid: float = 60.0
    over: float = holders.OVER_AFTER
    poll: float = 3.0
    log: float = 60.0


_TIMES: Final = Times()


def take(
    folder: Folder,
    who: str,
    *,
    deadline: float,
    is_stopped: Callable[[], bool] = lambda: False,
    times: Times = _TIMES,
) -> Hold:
    """
    Hold a sync; wait while another process holds it.

    A hold that was not renewed for two minutes is over, its process is dead or suspended. The clocks of
    workers are assumed to agree within a minute.

    :param folder: The folder of the sync.
    :param who: This process, for people: its run, task and DAG, its try, host and process id.
    :param deadline: When to give up, in seconds since the epoch. One look is taken in any case.
    :param is_stopped: Returns whether the task must end.
    :param times: The pace.
    :raises FullStoryTimeoutError: At the deadline, naming the holder.
    :raises FullStoryKilledError: When the task must end.
    """
    taker = _Taker(folder, who, times)
    next_line = 0.0
    while (hold := taker.attempt()) is None:
        if time.time() >= deadline:
            raise FullStoryTimeoutError(
                f"The sync in {folder} is held by {taker.holder}. Nothing was sent in this try. One run of a "
                "sync works at a time: let that one finish, then clear or retry this one. If its process is "
                f"dead, its hold ends {times.over:.0f} s after its last sign of life."
            )
        if time.monotonic() >= next_line:
            next_line = time.monotonic() + times.log
            log.info("Waiting for the sync in %s, which is held by %s.", folder, taker.holder)
        # Jitter, since all that wait look at the same file.
        _pause(min(times.poll * random.uniform(0.5, 1.5), deadline - time.time()), is_stopped)  # noqa: S311
    return hold


class _Taker:
    """
    Try to take a hold.

    :param folder: The folder of the sync.
    :param who: This process, for people.
    :param times: The pace.
    """

    def __init__(self, folder: Folder, who: str, times: Times) -> None:
        self._folder = folder
        self._who = who
        self._times = times
        self._seen: tuple[int, bytes] = (0, b"")
        self._seen_at = 0.0
        #: Who had the hold at the last attempt, None before the first.
        self.holder: Holder | None = None

    def attempt(self) -> Hold | None:
        """Return the hold, None if another process has it."""
        # Taken first: this process may be suspended between a look at the file and one at the clock.
        now, clock = time.time(), time.monotonic()
        number, content = seen = holders.highest(self._folder)
        if seen != self._seen:
            self._seen, self._seen_at = seen, clock
        holder = holders.decoded(content)
        is_over = holder is not None and holder.is_over(now, self._times.over)
        # A holder that lives changes its file. This ends damaged ones, and those of a wrong clock.
        is_still = clock - self._seen_at >= self._times.over
        if number == 0 or is_over or is_still:
            return self._create(number + 1)
        self.holder = holder or holders.unknown(self._folder, number)
        return None

    def _create(self, number: int) -> Hold | None:
        now, clock = time.time(), time.monotonic()
        mine = Holder(number, self._who, secrets.token_hex(16), now, now)
        winner = holders.create(self._folder, mine)
        if winner is None or winner.token != mine.token:
            self.holder = winner or holders.unknown(self._folder, number)
            return None
        if holders.highest_number(self._folder) > number:
            # Others came and went since this process looked, and the file of this number was removed as old.
            holders.remove(self._folder, number)
            self.holder = holders.decoded(holders.highest(self._folder)[1])
            return None
        holders.remove_old(self._folder, number)
        hold = Hold(self._folder, mine, clock, self._times)
        if not hold.is_valid:
            # An outage was waited out, and the hold grew old meanwhile.
            hold.release()
            self.holder = mine
            return None
        return hold


class Hold:
    """
    Hold a sync until it is released: renew the hold in a thread, and notice when it is lost.

    :param folder: The folder of the sync. Its outages are not waited out: the hold would be over.
    :param holder: This process.
    :param clock: The monotonic time at which it took the hold.
    :param times: The pace.
    """

    def __init__(self, folder: Folder, holder: Holder, clock: float, times: Times = _TIMES) -> None:
        self.number = holder.number
        self._uri = str(folder)
        self._folder = folder.without_outages()
        self._holder = holder
        self._times = times
        #: The last sign of life, by both clocks. It counts only once it is written.
        self._proven_at = (holder.renewed_at, clock)
        self._loss: str | None = None
        self._is_taken_over = False
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_closed, name="fullstory-hold", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def is_valid(self) -> bool:
        """Whether no other process can have the sync. Once it is not, it never is again."""
        now, clock = self._proven_at
        # The monotonic clock stands still in a suspended machine, and the other one can be set back.
        age = max(time.time() - now, time.monotonic() - clock)
        if self._loss is None and age >= self._times.valid:
            self._loss = f"it could not be renewed for {age:.0f} s"
        return self._loss is None

    def check(self) -> None:
        """
        Check that this process still holds the sync.

        :raises FullStoryHoldLostError: If another one may hold it by now.
        """
        if not self.is_valid:
            raise FullStoryHoldLostError(
                f"This run has lost its hold on the sync in {self._uri}: {self._loss}. Another run may work "
                "on the sync now, so this one sends nothing more. What it has sent is in FullStory, and "
                "noted; a retry continues from there."
            )

    def release(self) -> None:
        """Give the hold up, so that others need not wait until it is over."""
        if self._is_closing.is_set():
            return
        self._is_closing.set()
        self._thread.join(_LONGEST_JOIN)
        self._loss = self._loss or "it was given up"
        if self._is_taken_over:
            return
        try:
            holders.write(self._folder, msgspec.structs.replace(self._holder, released=True))
        except FullStoryStorageError as error:
            log.warning("%s Other runs of the sync wait until the hold is over, about two minutes.", error)

    def _renew_until_closed(self) -> None:
        while not self._is_closing.wait(self._times.renewal) and self.is_valid:
            try:
                self._renew()
            except FullStoryStorageError as error:
                log.warning("The hold on the sync could not be renewed; that is tried again. %s", error)

    def _renew(self) -> None:
        now, clock = time.time(), time.monotonic()
        if holders.highest_number(self._folder) > self.number:
            self._loss = "another run has taken it over"
            self._is_taken_over = True
            return
        written = holders.decoded(holders.read(self._folder, self.number))
        if written is None or written.token != self._holder.token:
            # Storages without conditional writes let a slower process overwrite the file.
            self._loss = "its file was removed or overwritten"
            self._is_taken_over = True
            return
        self._holder = msgspec.structs.replace(self._holder, renewed_at=now)
        holders.write(self._folder, self._holder)
        self._proven_at = (now, clock)


def _pause(seconds: float, is_stopped: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while True:
        if is_stopped():
            raise FullStoryKilledError("The task was stopped while it waited for its sync.")
        if (left := end - time.monotonic()) <= 0:
            return
        time.sleep(min(left, _SECONDS_BETWEEN_CHECKS))
