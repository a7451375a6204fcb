from __future__ import annotations

from collections import Counter

import pytest

from month.plan import FILE_IMPORTED, OUTAGES, SHARES, SHARES_WITH_IDS, plan
from month.tasks import KINDS, Kind

EVERY_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@EVERY_KIND
def test_a_seed_always_gives_the_same_month(kind: Kind) -> None:
    assert plan(5, 3, kind) == plan(5, 3, kind)
    assert plan(5, 3, kind) != plan(6, 3, kind)


@EVERY_KIND
def test_everything_happens_in_the_shortest_month(kind: Kind) -> None:
    hours = plan(1, 1, kind)
    expected = {*SHARES, *(SHARES_WITH_IDS if kind.insert_id else ())}
    if not kind.imports_files:
        expected.remove(FILE_IMPORTED)
    assert len(hours) == 24
    assert set().union(*(hour.happenings for hour in hours)) == expected
    assert {hour.outage for hour in hours} == {"", *OUTAGES}


@pytest.mark.parametrize("seed", range(50))
def test_outages_last_as_long_as_they_should_and_end_before_the_month_does(seed: int) -> None:
    hours = plan(seed, 30, KINDS[0])
    lengths = Counter(hour.outage for hour in hours)
    assert {name: lengths[name] for name in OUTAGES} == OUTAGES
    assert not hours[0].outage
    assert not hours[-1].outage
