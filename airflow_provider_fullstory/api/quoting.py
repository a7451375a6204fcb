"""Foreign text (of FullStory, proxies, drivers, storage) in messages and logs."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Characters of foreign text that one message shows.
LONGEST_QUOTE: Final = 2_000
#: Stands for a secret, as in Airflow's own logs.
HIDDEN: Final = "***"
#: A shorter secret would hide ordinary words.
_SHORTEST_SECRET: Final = 4


def quoted(text: object, secrets: Iterable[str] = (), longest: int = LONGEST_QUOTE) -> str:
    """
    Return foreign text in a form that fits into a message: cut, on one line, without secrets.

    :param text: The text, or an object that has one.
    :param secrets: Texts that must not be shown; see :func:`forms_of`.
    :param longest: Characters after which it is cut.
    """
    shown = str(text)
    # Before the text is cut: half a secret would not be found. The longest first, since it may hold others.
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            shown = shown.replace(secret, HIDDEN)
    escaped = "".join(
        character if character.isprintable() else _escape(character) for character in shown[:longest]
    )
    if len(shown) <= longest and len(escaped) <= longest:
        return escaped
    return f"{escaped[:longest]}... (cut, {len(shown):,} characters)"


def forms_of(secret: str) -> set[str]:
    """Return the forms in which a secret may come back: as it is, percent-encoded, decoded, and in base64."""
    plain = {secret, unquote(secret)}
    encoded = {quote(form, safe="") for form in plain}
    return plain | encoded | {base64.b64encode(form.encode()).decode() for form in plain}


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
