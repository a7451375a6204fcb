"""An emulator in a thread of the current process."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from airflow_provider_fullstory.emulator.client import EmulatorClient
from airflow_provider_fullstory.emulator.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


class EmulatorServer:
    """
    Run an emulator in a separate thread, on a port that the system chooses; a context manager.

    .. code-block:: python

        with EmulatorServer(processing_seconds=2) as emulator:
            os.environ["AIRFLOW_CONN_FULLSTORY_DEFAULT"] = emulator.connection_json()

    :param data: Database file that outlives the server; a temporary one by default.
    :param settings: Fields of :class:`~airflow_provider_fullstory.emulator.settings.Settings`.
    """

    def __init__(self, *, data: Path | None = None, **settings: object) -> None:
        self._data = data
        self._settings = Settings().replace(settings)
        self._url: Future[str] = Future()
        self._thread = threading.Thread(target=self._run, name="fullstory-emulator", daemon=True)

    def __enter__(self) -> EmulatorClient:
        self._thread.start()
        return EmulatorClient(self._url.result())

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            # The thread that waits for the address gets the error instead.
            if self._url.done():
                raise
            self._url.set_exception(error)

    async def _serve(self) -> None:
        from airflow_provider_fullstory.emulator.http.server import Server

        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with Server(self._settings, data=self._data) as server:
            self._url.set_result(server.url)
            await self._stop.wait()
