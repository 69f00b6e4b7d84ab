"""The forms of templates: what they take, what they make up, what they refuse."""

from __future__ import annotations

import pytest

from slipway.templates.errors import InvalidTemplate, InvalidValue
from slipway.templates.fields import ALPHABETS, fill, parse_fields

PASSWORD = {"name": "PASSWORD", "label": "Password", "kind": "secret", "length": 20, "required": True}


def test_what_is_left_out_has_its_default_and_secrets_are_made_up() -> None:
    fields = parse_fields(
        [
            {"name": "USER", "label": "User", "default": "postgres", "required": True},
            PASSWORD,
            {"name": "DEBUG", "label": "Debug", "kind": "switch"},
            {"name": "NOTE", "label": "Note"},
        ]
    )
    filled = fill(fields, {}, choose=lambda alphabet: alphabet[0])
    assert filled.env == ("USER=postgres", f"PASSWORD={'a' * 20}", "DEBUG=false")
    assert filled.generated == {"PASSWORD": "a" * 20}
    assert filled.secret_names == ("PASSWORD",)


def test_a_secret_that_was_given_is_not_told_again_but_stays_one() -> None:
    filled = fill(parse_fields([PASSWORD]), {"PASSWORD": "chosen"})
    assert (filled.env, filled.generated, filled.secret_names) == (("PASSWORD=chosen",), {}, ("PASSWORD",))


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_two_secrets_differ_and_hold_to_their_alphabet(alphabet: str) -> None:
    fields = parse_fields([PASSWORD | {"alphabet": alphabet}])
    first, second = (fill(fields, {}).generated["PASSWORD"] for _ in range(2))
    assert first != second
    assert len(first) == 20
    assert set(first) <= set(ALPHABETS[alphabet])


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ({"kind": "number"}, "ten", "no whole number"),
        ({"kind": "choice", "choices": ["a", "b"]}, "c", "one of a, b"),
        ({"kind": "switch"}, "on", "true or false"),
        ({}, "x" * 5000, "4096"),
        ({}, "a\0b", "NUL"),
        ({"required": True}, "", "must be filled in"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_its_label(
    field: dict[str, object], value: str, why: str
) -> None:
    fields = parse_fields([{"name": "X", "label": "The thing", **field}])
    with pytest.raises(InvalidValue, match=f"The thing.*{why}") as refused:
        fill(fields, {"X": value})
    assert refused.value.facts["field"] == "X"


def test_a_value_without_a_field_is_refused() -> None:
    with pytest.raises(InvalidValue, match="OTHER"):
        fill(parse_fields([]), {"OTHER": "x"})


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ({"name": "1X"}, "begins with no digit"),
        ({"name": "A B"}, "letters, digits"),
        ({"kind": "colour"}, "kind"),
        ({"kind": "choice"}, "needs choices"),
        ({"kind": "choice", "choices": ["a"], "default": "b"}, "default does not fit"),
        ({"kind": "number", "default": "x"}, "default does not fit"),
        ({"kind": "secret", "length": 3}, "12 to 128"),
        ({"kind": "secret", "default": "guessable"}, "no default"),
        ({"kind": "secret", "alphabet": "01"}, "characters of"),
    ],
)
def test_a_field_that_cannot_be_is_no_part_of_a_template(field: dict[str, object], why: str) -> None:
    with pytest.raises(InvalidTemplate, match=why):
        parse_fields([{"name": "X", "label": "X", **field}])


def test_a_variable_is_there_once() -> None:
    with pytest.raises(InvalidTemplate, match="twice"):
        parse_fields([PASSWORD, PASSWORD])


def test_what_is_stored_is_read_back() -> None:
    fields = parse_fields([PASSWORD, {"name": "A", "label": "A", "kind": "choice", "choices": ["x", "y"]}])
    assert parse_fields([field.stored() for field in fields]) == fields
