"""Records in a template field of an operator, where Airflow must not show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import XComArg

from airflow_provider_fullstory.sources.locations import are_locations, is_location

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator


class HiddenRecords:
    """Hold records so that Airflow does not show them."""

    #: Whether Airflow came across the records while it rendered the task, and left them as they are.
    was_passed_over = False

    def __init__(self, records: Any) -> None:
        self.records = records

    def __str__(self) -> str:
        if isinstance(self.records, (list, tuple)):
            return f"<{len(self.records)} records>"
        return "<records>"

    def serialize(self) -> str:
        """Return the text that Airflow shows instead of the records."""
        return str(self)

    @property
    def has_templates(self) -> bool:
        """Whether a text among the records is a template, as Jinja writes it."""
        return _has_templates(self.records)


class RecordsField:
    """Let a template field of an operator take records, or what leads to them, and hide records."""

    def __set_name__(self, owner: type[BaseOperator], name: str) -> None:
        self._name = name

    def __get__(self, operator: BaseOperator | None, owner: type[BaseOperator]) -> Any:
        if operator is None:
            return self
        try:
            return vars(operator)[self._name]
        except KeyError:
            raise AttributeError(self._name) from None

    def __set__(self, operator: BaseOperator, value: Any) -> None:
        # Airflow assigns a template field again after rendering, and shows it to all who see the task.
        is_rendered = self._name in vars(operator)
        if is_rendered and isinstance(value, HiddenRecords):
            value.was_passed_over = True
        hides = is_records(value, is_rendered=is_rendered)
        vars(operator)[self._name] = HiddenRecords(value) if hides else value


def is_records(value: Any, *, is_rendered: bool) -> bool:
    """
    Return whether a value holds records, rather than something that leads to them.

    :param value: The value that the operator was given.
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
    # References to other tasks are resolved by Airflow, which then assigns the field again.
    return is_rendered or not any(XComArg.iter_xcom_references(value))


def _has_templates(value: Any) -> bool:
    if isinstance(value, str):
        return ("{{" in value and "}}" in value) or ("{%" in value and "%}" in value)
    if isinstance(value, Mapping):
        return _has_templates([*value.keys(), *value.values()])
    return isinstance(value, (list, tuple)) and any(map(_has_templates, value))
