"""Text of others is cut, on one line, and without secrets."""

from __future__ import annotations

import base64

import pytest

from airflow_provider_fullstory.api.quoting import LONGEST_QUOTE, forms_of, quoted

KEY = "na1.TOPSECRET/abc"


def test_ordinary_text_stays_as_it_is() -> None:
    assert quoted("Größe 10 µm, 日本語") == "Größe 10 µm, 日本語"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\nb", r"a\nb"), ("\x1b[31m", r"\x1b[31m"), ("\u202e", r"\u202e"), ("\ud800", r"\ud800")],
)
def test_characters_that_are_not_printed_are_escaped(text: str, shown: str) -> None:
    assert quoted(text) == shown


@pytest.mark.parametrize("character", ["x", "\n", "\U000e0001"])
def test_long_text_is_cut(character: str) -> None:
    text = quoted(character * 5_000_000)

    assert len(text) < LONGEST_QUOTE + 50
    assert text.endswith("... (cut, 5,000,000 characters)")


@pytest.mark.parametrize(
    "form", [KEY, "na1.TOPSECRET%2Fabc", base64.b64encode(KEY.encode()).decode()], ids=str
)
def test_a_secret_is_hidden_in_each_of_its_forms(form: str) -> None:
    assert quoted(f"Basic {form}.", forms_of(KEY)) == "Basic ***."


def test_half_a_secret_at_the_cut_is_hidden_too() -> None:
    text = "x" * (LONGEST_QUOTE - 5) + KEY

    assert "TOP" not in quoted(text, forms_of(KEY))
    assert "na1" not in quoted(text, forms_of(KEY))
