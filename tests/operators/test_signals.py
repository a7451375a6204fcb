"""
A signal that is not delivered to the main thread, or just before it begins to wait, does not wake it.

Python runs handlers in the main thread only, once that gets back to Python code. So a wait without an end in
sight must get back now and then, else a task that is told to end goes on waiting.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.batch_import.sending import importer
from airflow_provider_fullstory.exceptions import FullStoryKilledError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from tests.tries import Task

HOUR = 3600.0


@contextmanager
def signal_to_another_thread(operator: Any, is_time: Callable[[], bool]) -> Iterator[threading.Event]:
    """Have on_kill called by a signal that another thread gets; the event tells that it had no effect."""
    has_ended, is_late = threading.Event(), threading.Event()

    def send() -> None:
        while not is_time() and not has_ended.is_set():
            pass
        os.kill(os.getpid(), signal.SIGUSR1)
        if not has_ended.wait(5):
            is_late.set()
            # From this thread it wakes the task.
            operator.on_kill()

    before = signal.signal(signal.SIGUSR1, lambda *_: operator.on_kill())
    sender = threading.Thread(target=send)
    sender.start()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        yield is_late
    finally:
        has_ended.set()
        sender.join()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        signal.signal(signal.SIGUSR1, before)


def waits_after(emulator: EmulatorClient, method: str) -> bool:
    """Tell whether FullStory was asked for something, and the main thread is in the engine itself."""
    frame = sys._current_frames()[threading.main_thread().ident or 0]
    is_in_engine = frame.f_globals["__name__"] == importer.__name__
    return is_in_engine and any(
        request["method"] == method and "/batch" in request["path"] for request in emulator.requests()
    )


def test_a_task_that_waits_for_uploads_hears_of_its_end(
    emulator: EmulatorClient, make_task: Callable[..., Task]
) -> None:
    task = make_task("store", max_parallel_uploads=1)
    emulator.order_fault(method="POST", delay_seconds=HOUR, times=100)
    operator = task.operator(events=[{"name": "Order", "user.uid": "u"}])

    with (
        signal_to_another_thread(operator, lambda: waits_after(emulator, "POST")) as is_late,
        pytest.raises(FullStoryKilledError),
    ):
        operator.execute(task.next_context())

    emulator.forget_faults()
    assert not is_late.is_set()


def test_a_task_that_waits_between_two_looks_hears_of_its_end(
    emulator: EmulatorClient, make_task: Callable[..., Task]
) -> None:
    task = make_task("store", poll_interval=HOUR)
    emulator.configure(processing_seconds=HOUR)
    operator = task.operator(events=[{"name": "Order", "user.uid": "u"}])

    with (
        signal_to_another_thread(operator, lambda: waits_after(emulator, "GET")) as is_late,
        pytest.raises(FullStoryKilledError),
    ):
        operator.execute(task.next_context())

    assert not is_late.is_set()
