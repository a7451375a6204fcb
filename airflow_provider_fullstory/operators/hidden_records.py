"""Records on their way through Airflow's template fields, where they are not to be seen."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import XComArg


class HiddenRecords:
    """
    Hold records where Airflow shows them to nobody.

    :param records: The records.
    """

    def __init__(self, records: Any) -> None:
        self.records = records

    def __str__(self) -> str:
        if isinstance(self.records, (list, tuple)):
            return f"<{len(self.records)} records>"
        return "<records>"

    def serialize(self) -> str:
        """Return what Airflow shows instead of the records."""
        return str(self)


def is_records(value: Any, *, is_rendered: bool) -> bool:
    """
    Tell whether a value is made of records, not something that leads to them.

    :param value: What the operator was given.
    :param is_rendered: Whether Airflow has rendered it.
    """
    if value is None or isinstance(value, HiddenRecords):
        return False
    if isinstance(value, str):
        # A template that was rendered to the text of a task's output, not to a URI, is rows as well.
        return is_rendered and "://" not in value and not value.startswith("/")
    if hasattr(value, "open"):
        return False
    # Whatever still refers to other tasks is Airflow's to resolve, and is assigned again then.
    return is_rendered or not any(XComArg.iter_xcom_references(value))
