"""Which descriptions are still as we wrote them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.tracking.descriptions import is_ours, sealed

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"], include_characters="\n"))


@given(TEXTS)
def test_ours_may_be_replaced_however_a_page_ends_its_lines(text: str) -> None:
    written = sealed(text)
    assert is_ours(written)
    assert is_ours(written.strip())
    assert is_ours(written.replace("\n", "\r\n"))


@given(TEXTS, TEXTS.filter(str.strip))
def test_a_persons_words_may_not(text: str, words: str) -> None:
    written = sealed(text)
    assert not is_ours(f"{written}{words}")
    assert not is_ours(f"{words}\n{written}")


@pytest.mark.parametrize("text", [None, "", " \n"])
def test_nothing_may_be_replaced(text: str | None) -> None:
    assert is_ours(text)


@pytest.mark.parametrize("text", ["ours", "two\nlines", "[//]: # (ganlib 0123456789abcdef)"])
def test_what_we_never_wrote_stays(text: str) -> None:
    assert not is_ours(text)
