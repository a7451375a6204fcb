"""Records on their way through Airflow's template fields, where they are not to be seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.providers.common.compat.sdk import XComArg

from airflow_provider_fullstory.sources.locations import are_locations, is_location


class HiddenRecords:
    """
    Hold records where Airflow shows them to nobody.

    :param records: The records.
    """

    #: Whether Airflow came across the records while it rendered the task, and left them as they are.
    was_passed_over = False

    def __init__(self, records: Any) -> None:
        self.records = records

    def __str__(self) -> str:
        if isinstance(self.records, (list, tuple)):
            return f"<{len(self.records)} records>"
        return "<records>"

    def serialize(self) -> str:
        """Return what Airflow shows instead of the records."""
        return str(self)

    @property
    def has_templates(self) -> bool:
        """Return whether a text among the records is a template, as Jinja writes it."""
        return _has_templates(self.records)


def is_records(value: Any, *, is_rendered: bool) -> bool:
    """
    Return whether a value is made of records, not something that leads to them.

    :param value: What the operator was given.
    :param is_rendered: Whether Airflow has rendered it.
    """
    if value is None or isinstance(value, HiddenRecords) or is_location(value) or are_locations(value):
        return False
    if isinstance(value, str):
        # A template that was rendered to the text of a task's output, not to a URI, is rows as well.
        return is_rendered
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, str) for item in value):
        # URIs that are still templates.
        return is_rendered
    # Whatever still refers to other tasks is Airflow's to resolve, and is assigned again then.
    return is_rendered or not any(XComArg.iter_xcom_references(value))


def _has_templates(value: Any) -> bool:
    if isinstance(value, str):
        return ("{{" in value and "}}" in value) or ("{%" in value and "%}" in value)
    if isinstance(value, Mapping):
        return _has_templates([*value.keys(), *value.values()])
    return isinstance(value, (list, tuple)) and any(map(_has_templates, value))
