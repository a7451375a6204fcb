"""The tokens of a query, and those among them that stand for its watermark."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.watermark import Watermark

if TYPE_CHECKING:
    from collections.abc import Sequence

_TOKEN: Final = re.compile(
    r"""
    (?P<comment>--[^\n]*|/\*.*?\*/)
    |(?P<string>'(?:[^']|'')*'|\$(?P<tag>(?:[a-z_]\w*)?)\$.*?\$(?P=tag)\$)
    |(?P<quoted>"(?:[^"]|"")*"|`[^`]*`|\[[a-z_][\w ]*\])
    |(?P<sign>::|:=|%%|@@)
    |%\((?P<pyformat>[^)]*)\)[a-z]
    |(?P<format>%[sdbt])\b
    |\{(?P<typed>[a-z_]\w*):[^}]*\}
    |(?<![\w\]])[:$?](?P<numeric>\d+)
    |(?<!\w)[:@$](?P<named>[a-z_]\w*)
    |(?P<qmark>\?)
    |(?P<word>[^\W\d][\w$]*)
    |(?P<number>\d[\w.]*)
    |(?P<operator><=>|<=|>=|<>|!=|!<|!>|=>|==|\|\||->>?|[^\w\s])
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
#: Ways to name a parameter by its key.
_BY_KEY: Final = frozenset({"pyformat", "named", "typed"})
_BY_PLACE: Final = frozenset({"format", "qmark"})
#: Before a key, these could begin a placeholder that is not known here.
_SIGNS: Final = frozenset("{#&!~^$@:?%")


class Token(NamedTuple):
    """
    A token of a query.

    :param kind: What it is: ``word``, ``quoted``, ``operator``, ...
    :param text: Its text, in lower case; of a placeholder, its key.
    """

    kind: str
    text: str


class UncertainError(Exception):
    """The query cannot be judged."""


def tokens_of(sql: str) -> list[Token]:
    """
    Return the tokens of a query, without its comments.

    :param sql: The query.
    :raises UncertainError: If it is not certain where its text ends.
    """
    if "\\'" in sql:
        raise UncertainError
    return [
        Token(kind, match[kind].casefold())
        for match in _TOKEN.finditer(sql)
        if (kind := str(match.lastgroup)) != "comment"
    ]


def places_of_watermark(tokens: Sequence[Token], parameters: Any) -> list[int]:
    """
    Return the indexes of the tokens that stand for the watermark.

    :param tokens: The tokens of the query.
    :param parameters: Its parameters.
    :raises UncertainError: If it is not certain how the query names its parameters.
    :raises FullStoryInputError: If it does not name the watermark.
    """
    if isinstance(parameters, Mapping):
        return _places_by_key(
            tokens, [key for key, item in parameters.items() if isinstance(item, Watermark)]
        )
    indexes = {index for index, item in enumerate(parameters) if isinstance(item, Watermark)}
    return _places_by_index(tokens, indexes, len(parameters))


def _places_by_key(tokens: Sequence[Token], keys: Sequence[Any]) -> list[int]:
    folded = {str(key).casefold() for key in keys}
    places = [index for index, token in enumerate(tokens) if token.kind in _BY_KEY and token.text in folded]
    if places:
        return places
    for before, token in itertools.pairwise(tokens):
        if token.text.strip('"`[]') in folded and before.text in _SIGNS:
            raise UncertainError
    key = keys[0]
    raise FullStoryInputError(
        f"The query does not name the parameter {key!r}, so its watermark would not be used. Compare the "
        f"column with it, as in: WHERE updated_at > %({key})s; some databases write :{key}, @{key} or ${key}."
    )


def _places_by_index(tokens: Sequence[Token], indexes: set[int], count: int) -> list[int]:
    kinds = {token.kind for token in tokens} & (_BY_PLACE | _BY_KEY | {"numeric"})
    if kinds == {"numeric"}:
        numbers = {str(index + 1) for index in indexes}
        places = [
            index for index, token in enumerate(tokens) if token.kind == "numeric" and token.text in numbers
        ]
        if places:
            return places
    elif kinds:
        places = [index for index, token in enumerate(tokens) if token.kind in _BY_PLACE]
        if len(kinds) > 1 or len(places) != count:
            raise UncertainError
        return [place for index, place in enumerate(places) if index in indexes]
    elif any(token.text in _SIGNS for token in tokens):
        raise UncertainError
    raise FullStoryInputError(
        "The query has no placeholder for its watermark, so that it would not be used. Compare the column "
        "with it, as in: WHERE updated_at > %s; some databases write ?, :1 or $1."
    )
