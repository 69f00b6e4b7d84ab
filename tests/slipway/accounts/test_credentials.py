from __future__ import annotations

import pytest

from slipway.accounts.credentials import Credential
from slipway.accounts.errors import InvalidToken


def test_a_token_survives_being_written_and_read() -> None:
    made = Credential.generate()
    assert Credential.parse(str(made)) == made


def test_two_tokens_differ() -> None:
    assert str(Credential.generate()) != str(Credential.generate())


@pytest.mark.parametrize("at", [5, 14, 30, -1])
def test_a_typo_is_found_without_a_database(at: int) -> None:
    text = list(str(Credential.generate()))
    text[at] = "x" if text[at] != "x" else "y"
    with pytest.raises(InvalidToken, match="checksum"):
        Credential.parse("".join(text))


@pytest.mark.parametrize(
    "text", ["", "slp_", "Bearer", "slp_abc_def", "ghp_12345678_" + "a" * 38, "slp_é2345678_" + "a" * 38]
)
def test_other_text_is_no_token(text: str) -> None:
    with pytest.raises(InvalidToken):
        Credential.parse(text)


def test_the_secret_is_not_shown_by_repr() -> None:
    made = Credential.generate()
    assert made.secret not in repr(made)
