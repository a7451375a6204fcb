"""A query that does not use its watermark, or sends records twice by construction, is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.syncs.border import check_border
from airflow_provider_fullstory.watermark import Watermark

SINCE = Watermark("timestamp", initial=0)
SELECT = 'SELECT id, updated_at AS "timestamp" FROM orders '


def check(where: str, parameters: Any, *, is_repeatable: bool = False) -> None:
    check_border(SELECT + where, parameters, SINCE, is_repeatable=is_repeatable)


#: Each way to write the placeholder, with the parameters.
STYLES: list[tuple[str, Any]] = [
    ("%(since)s", {"since": SINCE}),
    (":since", {"since": SINCE}),
    (":SINCE", {"since": SINCE}),
    ("@since", {"since": SINCE}),
    ("$since", {"since": SINCE}),
    ("{since:DateTime}", {"since": SINCE}),
    ("%s", [SINCE]),
    ("?", (SINCE,)),
    (":1", [SINCE]),
    ("$1", [SINCE]),
    ("?1", [SINCE]),
]
#: With it, the last row comes again in every run.
DOUBLING = [
    "WHERE updated_at >= {}",
    "WHERE o.updated_at>={}",
    'WHERE "o"."updated at" >= {}',
    "WHERE [updated_at] >= {}",
    "WHERE updated_at = {}",
    "WHERE updated_at BETWEEN {} AND now()",
    "WHERE updated_at between {} and now()",
    "WHERE NOT updated_at < {}",
    "WHERE NOT (updated_at < {})",
    "WHERE NOT (o.updated_at < {})",
    "WHERE updated_at !< {}",
    "WHERE {} <= updated_at",
    "WHERE {} = updated_at",
    "WHERE {} <= coalesce(updated_at, created_at)",
    "WHERE NOT {} > updated_at",
    "WHERE NOT ({} > updated_at)",
    "WHERE (updated_at >= {})",
    "WHERE region = 5 AND (updated_at >= {} OR false)",
    "WHERE updated_at >= ({})",
    "WHERE updated_at >= CAST({} AS timestamp)",
    "WHERE updated_at >= CAST({} AS timestamp(6) with time zone)",
    "WHERE updated_at >= TRY_CAST(({}) AS DATETIME2(7))",
    "WHERE updated_at >= {}::timestamptz",
    "WHERE updated_at >= {}::timestamp with time zone",
    "WHERE updated_at >= {}::numeric(10, 2) AND true",
    "WHERE updated_at >= ({}::text)::timestamptz",
    "WHERE updated_at >= TIMESTAMP({})",
    "WHERE updated_at >= TIMESTAMP {}",
    "WHERE updated_at >= to_timestamp({}, 'YYYY-MM-DD')",
    "WHERE updated_at >= CONVERT(datetime2(6), {})",
    "WHERE updated_at >= CONVERT({}, datetime(6))",
    "WHERE updated_at >= {} AT TIME ZONE 'UTC' AND true",
    "WHERE updated_at::timestamptz >= {}",
    "WHERE CAST(updated_at AS timestamp) >= {}",
    "WHERE coalesce(updated_at, created_at) >= {}",
    "WHERE updated_at >= {} /* > */ ORDER BY updated_at -- never > it",
    "WHERE note <> '>' AND updated_at >= {} AND note = 'it''s > ?'",
    "WHERE updated_at > {} - interval '15 minutes'",
    "WHERE EXISTS (SELECT 1 FROM t WHERE updated_at >= {}) AND n > 3",
]
#: These do not double, or it cannot be seen whether they do.
PASSED = [
    "WHERE updated_at > {}",
    "WHERE {} < updated_at",
    "WHERE NOT updated_at <= {}",
    "WHERE NOT (updated_at <= {})",
    "WHERE updated_at > CAST({} AS timestamp)",
    "WHERE updated_at > {}::timestamptz",
    "WHERE (updated_at > {}) ORDER BY updated_at",
    "WHERE updated_at >= {} + interval '1 microsecond'",
    "WHERE updated_at - interval '1 second' >= {}",
    "WHERE date_trunc('second', updated_at) >= {}",
    "WHERE updated_at >= next_after({})",
    "WHERE updated_at NOT BETWEEN 1 AND 2 AND updated_at > {}",
    "WHERE updated_at NOT BETWEEN {} AND now()",
    "WHERE NOT updated_at >= {}",
    "WHERE updated_at < {}",
    "WHERE (updated_at, id) > ({}, 5)",
    "WHERE updated_at >= E'it\\'s' OR updated_at >= {}",
    "JOIN days ON day >= {}::date + 1",
]


@pytest.mark.parametrize(("placeholder", "parameters"), STYLES)
@pytest.mark.parametrize("where", DOUBLING)
def test_a_comparison_that_doubles_the_last_record_is_refused(
    where: str, placeholder: str, parameters: Any
) -> None:
    # The text holds braces of its own for no other use.
    with pytest.raises(FullStoryInputError, match=r"sends again .* insert_id"):
        check(where.replace("{}", placeholder), parameters)


@pytest.mark.parametrize(("placeholder", "parameters"), STYLES)
@pytest.mark.parametrize("where", PASSED)
def test_another_comparison_is_not(where: str, placeholder: str, parameters: Any) -> None:
    check(where.replace("{}", placeholder), parameters)


@pytest.mark.parametrize("where", DOUBLING)
def test_with_insert_ids_any_comparison_is_good(where: str) -> None:
    check(where.replace("{}", "%(since)s"), {"since": SINCE}, is_repeatable=True)


def test_a_strict_comparison_beside_one_for_the_partition_is_enough() -> None:
    check("WHERE day >= DATE(%(since)s) AND updated_at > %(since)s", {"since": SINCE})
    check("WHERE updated_at > ? AND day >= DATE(?)", [SINCE, SINCE])


def test_a_window_above_the_watermark_does_not_hide_that_it_doubles() -> None:
    with pytest.raises(FullStoryInputError, match="'>='"):
        check(
            "WHERE updated_at >= %(since)s AND updated_at < %(since)s + interval '1 day'",
            {"since": SINCE},
        )


def test_placeholders_are_counted_without_those_in_comments_and_text() -> None:
    with pytest.raises(FullStoryInputError, match="'>='"):
        check("WHERE note <> '?' /* ? */ AND id > ? AND updated_at >= ? -- ?", [1, SINCE])
    check("WHERE note <> '?' /* ? */ AND id >= ? AND updated_at > ? -- ?", [1, SINCE])
    with pytest.raises(FullStoryInputError, match="'>='"):
        check("WHERE note LIKE '100%%' AND id > %s AND updated_at >= %s", [1, SINCE])
    with pytest.raises(FullStoryInputError, match="'>='"):
        check("WHERE id > $1 AND updated_at >= $2 AND id < $1", [1, SINCE])


@pytest.mark.parametrize("is_repeatable", [True, False])
@pytest.mark.parametrize(
    ("where", "parameters"),
    [
        ("WHERE updated_at > '2026-01-01'", {"since": SINCE}),
        ("WHERE updated_at > %(until)s", {"since": SINCE, "until": 1}),
        ("-- %(since)s", {"since": SINCE}),
        ("/* :since */ WHERE note = ':since'", {"since": SINCE}),
        ("WHERE note = $x$ :since $x$", {"since": SINCE}),
        ("WHERE since > 1", {"since": SINCE}),
        ("WHERE updated_at > '2026-01-01'", [SINCE]),
        ("WHERE note = '?'", [SINCE]),
        ("WHERE id > $1", [1, SINCE]),
    ],
)
def test_a_query_that_does_not_use_its_watermark_is_refused(
    where: str, parameters: Any, is_repeatable: bool
) -> None:
    with pytest.raises(FullStoryInputError, match="would not be used"):
        check(where, parameters, is_repeatable=is_repeatable)


@pytest.mark.parametrize(
    ("where", "parameters"),
    [
        ("WHERE updated_at >= ${since}", {"since": SINCE}),
        ("WHERE updated_at >= #since#", {"since": SINCE}),
        ("WHERE updated_at >= :since", [SINCE]),
        ("WHERE updated_at >= ? AND data ? 'key'", [SINCE]),
        ("WHERE updated_at >= %s AND id > ?", [SINCE, 1]),
        ("WHERE updated_at >= #", [SINCE]),
    ],
)
def test_a_style_that_is_not_certain_is_left_to_the_database(where: str, parameters: Any) -> None:
    check(where, parameters)


def test_a_lag_needs_insert_ids() -> None:
    watermark = Watermark("timestamp", initial=0, lag=timedelta(minutes=15))
    parameters = {"since": watermark}
    sql = f"{SELECT} WHERE updated_at > :since"
    with pytest.raises(FullStoryInputError, match=r"has a lag.*Give insert_id"):
        check_border(sql, parameters, watermark, is_repeatable=False)
    check_border(sql, parameters, watermark, is_repeatable=True)
    none = Watermark("timestamp", initial=0, lag=timedelta())
    check_border(sql, {"since": none}, none, is_repeatable=False)
