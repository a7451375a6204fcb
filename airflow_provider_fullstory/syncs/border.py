"""
The border between two runs of a sync, as its query draws it.

Without insert ids nothing else keeps a record from being sent twice. What doubles by construction, such as
``>=``, is refused; what cannot be judged is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.syncs.placeholders import (
    Token,
    UncertainError,
    places_of_watermark,
    tokens_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_fullstory.watermark import Watermark

_CASTS: Final = frozenset({"cast", "try_cast", "safe_cast"})
#: Types and functions that change the form of a value, not its place in the order.
_CONVERSIONS: Final = _CASTS | {
    *("bigint", "convert", "date", "datetime", "datetime2", "datetimeoffset", "decimal", "double", "float"),
    *("from_iso8601_timestamp", "int", "integer", "number", "numeric", "parse_date", "parse_datetime"),
    *(
        "parse_timestamp",
        "parsedatetimebesteffort",
        "safe_convert",
        "smalldatetime",
        "str_to_date",
        "strptime",
    ),
    *("timestamp", "timestamp_ltz", "timestamp_ntz", "timestamp_tz", "timestamptz", "to_date", "to_number"),
    *("to_timestamp", "to_timestamp_ltz", "to_timestamp_ntz", "to_timestamp_tz", "todate", "todatetime"),
    *("todatetime64", "try_convert", "try_to_timestamp"),
}
_FUNCTIONS: Final = _CONVERSIONS | {"coalesce", "greatest", "ifnull", "isnull", "nvl"}
_LITERALS: Final = frozenset({"date", "datetime", "timestamp", "timestamptz"})
_ARITHMETIC: Final = frozenset({"+", "-", "*", "/", "%", "%%", "||"})
_AT_LEAST: Final = frozenset({">=", "=", "==", "!<", "<=>"})
_AT_MOST: Final = frozenset({"<=", "=", "==", "!>", "<=>"})
_NAMES: Final = frozenset({"word", "quoted"})
_END: Final = Token("end", "")


def check_border(sql: str, parameters: Any, watermark: Watermark, *, is_repeatable: bool) -> None:
    """
    Refuse a query that does not use its watermark, or sends records twice by construction.

    :param sql: The query.
    :param parameters: Its parameters, with the watermark among them.
    :param watermark: The watermark.
    :param is_repeatable: Whether a record that the query gives again is not doubled.
    :raises FullStoryInputError: Saying what to change.
    """
    if watermark.lag and not is_repeatable:
        raise FullStoryInputError(
            f"{watermark!r} has a lag, so each run reads again what the run before it has sent. Give "
            "insert_id, the columns that name a record forever, so that nothing is sent twice; or leave out "
            "the lag."
        )
    try:
        tokens = tokens_of(sql)
        places = places_of_watermark(tokens, parameters)
    except UncertainError:
        return
    operands = [_Operand(tokens, place) for place in places]
    doubling = [operand for operand in operands if operand.doubles]
    if not is_repeatable and doubling and not any(operand.is_strict for operand in operands):
        raise FullStoryInputError(
            f"The query compares the watermark by {doubling[0].comparison!r}, so each run sends again what "
            "the run before it has sent last. Use > (and < where the watermark comes first); or give "
            "insert_id, the columns that name a record forever, so that nothing is sent twice."
        )


class _Operand:
    """
    The placeholder of a watermark with its casts and parentheses, in the middle of a comparison.

    :param tokens: The tokens of the query.
    :param place: The index of the placeholder.
    """

    def __init__(self, tokens: Sequence[Token], place: int) -> None:
        self._tokens = tokens
        self._start, self._end = place, place + 1
        while wider := self._wider():
            self._start, self._end = wider

    def _text(self, index: int) -> str:
        return self._token(index).text

    def _token(self, index: int) -> Token:
        return self._tokens[index] if 0 <= index < len(self._tokens) else _END

    @property
    def _before(self) -> str:
        return self._text(self._start - 1)

    @property
    def _after(self) -> str:
        return self._text(self._end)

    # The operand ----------------------------------------------------------------------------------------

    def _wider(self) -> tuple[int, int] | None:
        """Return the bounds with one more cast or pair of parentheses, None if there is none."""
        start, end = self._start, self._end
        if self._after == "::":
            return start, self._type_end(end + 1)
        if self._texts(end, 3) == ["at", "time", "zone"]:
            return start, end + 4
        if self._before in _LITERALS:
            return start - 1, end
        if self._before == "(":
            return self._wider_in_parentheses()
        function = self._open_before_type(start - 1) if self._before == "," else None
        return (function, end + 1) if function is not None and self._after == ")" else None

    def _wider_in_parentheses(self) -> tuple[int, int] | None:
        start, end = self._start, self._end
        function = self._text(start - 2)
        if self._after == ")":
            return start - 1 - (function in _CONVERSIONS), end + 1
        if self._after == "as" and function in _CASTS:
            closing = self._type_end(end + 1)
        elif self._after == "," and function in _CONVERSIONS:
            closing = end + 2 if self._token(end + 1).kind == "string" else self._type_end(end + 1)
        else:
            return None
        return (start - 2, closing + 1) if self._text(closing) == ")" else None

    def _texts(self, start: int, count: int) -> list[str]:
        return [token.text for token in self._tokens[start : start + count]]

    def _type_end(self, index: int) -> int:
        """Return the index after the name of a type."""
        index += 1
        if self._text(index) in ("precision", "varying"):
            index += 1
        if self._text(index) == "(":
            index = self._closing(index) + 1
        if self._text(index) in ("with", "without") and "time" in self._texts(index + 1, 2):
            index += 3 if self._text(index + 1) == "time" else 4
        return index

    def _open_before_type(self, comma: int) -> int | None:
        """Return where ``CONVERT(datetime2(6),`` starts, None if it is none."""
        index = comma - 1
        if self._text(index) == ")":
            index = self._opening(index) - 1
        is_open = self._text(index - 1) == "(" and self._text(index - 2) in _CONVERSIONS
        return index - 2 if is_open else None

    def _closing(self, index: int) -> int:
        """Return the index of the parenthesis that closes the one at an index."""
        depth = 0
        for place in range(index, len(self._tokens)):
            depth += {"(": 1, ")": -1}.get(self._text(place), 0)
            if not depth:
                return place
        return len(self._tokens)

    def _opening(self, index: int) -> int:
        depth = 0
        for place in range(index, -1, -1):
            depth += {")": 1, "(": -1}.get(self._text(place), 0)
            if not depth:
                return place
        return -1

    # The comparison -------------------------------------------------------------------------------------

    @property
    def comparison(self) -> str:
        """The operator of the comparison, for a message."""
        if self._before == ">":
            return "> ... -"
        operators = _AT_LEAST | _AT_MOST | {"between"}
        return next((text for text in (self._before, self._after) if text in operators), "not").upper()

    @property
    def doubles(self) -> bool:
        """Whether the comparison is also true for the watermark itself."""
        before, after = self._before, self._after
        if before in (">", ">=") and after == "-":
            return True
        if after not in _ARITHMETIC and (before in _AT_LEAST or before in ("between", "<")):
            column = self._column_start(self._start - 1)
            if column is None:
                return False
            is_negated = self._is_negated(column)
            if before == "<":
                return is_negated
            return not is_negated and self._text(self._start - 2) != "not"
        if before not in _ARITHMETIC and (after in _AT_MOST or after == ">"):
            is_negated = self._is_negated(self._start)
            return self._ends_plainly(self._end + 1) and is_negated == (after == ">")
        return False

    @property
    def is_strict(self) -> bool:
        """Whether the comparison, or one around it, may leave out the watermark itself."""
        start, end = self._start, self._end
        while start >= 0 and end <= len(self._tokens):
            before, after = self._text(start - 1), self._text(end)
            if (before == ">" and after != "-") or before == "<=" or after == "<":
                return True
            opening = self._opening_around(start)
            if opening < 0:
                return False
            start, end = opening, self._closing(opening) + 1
            start -= self._token(start - 1).kind == "word"
        return False

    def _opening_around(self, index: int) -> int:
        depth = 0
        for place in range(index - 1, -1, -1):
            depth += {")": 1, "(": -1}.get(self._text(place), 0)
            if depth < 0:
                return place
        return -1

    def _is_negated(self, start: int) -> bool:
        if self._text(start - 1) == "(":
            start -= 1
        return self._text(start - 1) == "not"

    def _column_start(self, operator: int) -> int | None:
        """Return where the column before an operator starts, None if it is not a plain one."""
        index = operator - 1
        if self._text(index) == "not":
            index -= 1
        if self._text(index) == ")":
            opening = self._opening(index)
            if any(token.text in _ARITHMETIC for token in self._tokens[max(opening, 0) : index]):
                return None
            index = opening
            if self._token(index - 1).kind == "word":
                index -= 1
                if self._text(index - 1) == "::":
                    return self._column_start(index - 1)
                if self._text(index) not in _FUNCTIONS:
                    return None
        elif self._token(index).kind in _NAMES:
            if self._text(index - 1) == "::":
                return self._column_start(index - 1)
            while self._text(index - 1) == "." and self._token(index - 2).kind in _NAMES:
                index -= 2
        else:
            return None
        return None if index < 0 or self._text(index - 1) in _ARITHMETIC else index

    def _ends_plainly(self, index: int) -> bool:
        """Return whether a plain column follows, and nothing is done to it."""
        if self._token(index).kind not in _NAMES:
            return False
        while self._text(index + 1) == "." and self._token(index + 2).kind in _NAMES:
            index += 2
        index += 1
        if self._text(index) == "(":
            if self._text(index - 1) not in _FUNCTIONS:
                return False
            index = self._closing(index) + 1
        return self._text(index) not in _ARITHMETIC
