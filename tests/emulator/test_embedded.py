from __future__ import annotations

import pytest

from airflow_provider_fullstory.emulator.embedded import EmulatorServer


def test_an_embedded_server_keeps_its_data_when_asked_to(tmp_path):
    data = tmp_path / "fullstory.sqlite"
    with EmulatorServer(data=data, page_size=7) as emulator:
        emulator.advance_clock(3600)
        assert emulator.configure()["page_size"] == 7
    with EmulatorServer(data=data) as emulator:
        assert emulator.configure()["page_size"] == 100


def test_a_server_that_cannot_start_says_why(tmp_path):
    with (
        pytest.raises(Exception, match="unable to open database"),
        EmulatorServer(data=tmp_path / "no" / "data"),
    ):
        pass
