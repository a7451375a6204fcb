"""The watermark among the parameters of a query, and the value in its place."""

from __future__ import annotations

import copy
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.watermark import Watermark

if TYPE_CHECKING:
    from collections.abc import Iterable


def watermark_in(parameters: Any) -> Watermark | None:
    """
    Return the watermark among the parameters of a query, None if there is none.

    :param parameters: The parameters, in the form of the database's driver.
    :raises FullStoryInputError: If there are two different ones, or one where no driver would look for it.
    """
    found: Watermark | None = None
    for value in _values(parameters):
        if not isinstance(value, Watermark):
            _refuse_inside(value)
        elif found is not None and value != found:
            raise FullStoryInputError(
                f"The parameters hold two watermarks, {found!r} and {value!r}; a sync has one."
            )
        else:
            found = value
    return found


def _values(parameters: Any) -> Iterable[Any]:
    if isinstance(parameters, Watermark):
        raise FullStoryInputError(
            "parameters is a Watermark; put it into a dict or a list, as the database's driver takes "
            'parameters: {"since": Watermark(...)}.'
        )
    if isinstance(parameters, Mapping):
        return parameters.values()
    return parameters if isinstance(parameters, (list, tuple)) else ()


def _refuse_inside(value: Any) -> None:
    """Refuse a watermark inside the value of a parameter."""
    if isinstance(value, Watermark):
        raise FullStoryInputError(
            f"{value!r} is inside the value of a parameter; it must be the whole value of one."
        )
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, (list, tuple, set, frozenset)):
        return
    for item in value:
        _refuse_inside(item)


def with_value(parameters: Any, value: Any) -> Any:
    """
    Return parameters with a value in place of each watermark, in containers of the same type.

    :param parameters: The parameters, which are left as they are.
    :param value: The value.
    """
    if isinstance(parameters, MutableMapping):
        values = copy.copy(parameters)
        values.update({key: value for key, item in parameters.items() if isinstance(item, Watermark)})
        return values
    if isinstance(parameters, Mapping):
        return {key: value if isinstance(item, Watermark) else item for key, item in parameters.items()}
    if not isinstance(parameters, (list, tuple)):
        return parameters
    items = [value if isinstance(item, Watermark) else item for item in parameters]
    if isinstance(parameters, list):
        return items
    # A named tuple takes its items one by one.
    make = getattr(parameters, "_make", tuple)
    return make(items)
