"""The cursor of Airflow's hook of BigQuery, which gives most values as the text of BigQuery's API."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.sources.documents import document_or_value
from airflow_provider_fullstory.sources.drivers.driver import Driver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provider_fullstory.sources.drivers.types import ColumnReader

_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
#: Types that ``bq_cast`` of Airflow's reads, unless they are repeated: then it fails.
_READ_BY_AIRFLOW: Final = ("INTEGER", "FLOAT", "BOOLEAN")
_STRUCTS: Final = ("RECORD", "STRUCT")


class AirflowBigQuery(Driver):
    """Airflow's own cursor. It tells nothing of the fields of a STRUCT, and fails for arrays of numbers."""

    def reader(self, cursor: Any) -> Callable[[Sequence[Any]], Sequence[Any]]:
        """Return a function that reads columns by their types."""
        from airflow_provider_fullstory.exceptions import FullStoryInputError

        for name, kind, *_ in cursor.description:
            if kind in _STRUCTS:
                raise FullStoryInputError(
                    f"The column {name} is a STRUCT, and Airflow's hook of BigQuery does not tell the names "
                    f"of its fields. Nothing was sent. Write TO_JSON({name}) AS {name} in sql."
                )
        return super().reader(cursor)

    def advice(self, error: Exception) -> str:
        """Explain an error of ``bq_cast``."""
        if not isinstance(error, (TypeError, ValueError)):
            return ""
        return (
            "\nAirflow's hook of BigQuery cannot read arrays of numbers, booleans and timestamps. If sql "
            "selects one, write TO_JSON(its name) AS its name."
        )


def reader_of(kind: Any) -> ColumnReader | None:
    """Return the reader of a type, whose name is that of the schema in BigQuery's API."""
    if kind in _READ_BY_AIRFLOW:
        return None
    read = _READERS.get(kind, _as_given)
    return lambda values: [_value(read, value) for value in values]


def _value(read: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, list):
        return [_value(read, item["v"]) for item in value]
    return None if value is None else read(value)


def _as_given(value: Any) -> Any:
    return value


def _moment(seconds: float) -> datetime.datetime:
    # A double of seconds is nearest to one microsecond; adding whole ones to the epoch rounds nothing more.
    return _EPOCH + datetime.timedelta(microseconds=round(seconds * 1_000_000))


_READERS: Final[Mapping[Any, Callable[[Any], Any]]] = {
    "JSON": document_or_value,
    "TIMESTAMP": _moment,
    "DATE": datetime.date.fromisoformat,
    "DATETIME": datetime.datetime.fromisoformat,
    "NUMERIC": Decimal,
    "BIGNUMERIC": Decimal,
}
