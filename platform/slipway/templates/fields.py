"""The form of a template: typed fields that become variables of the container's environment. Pure."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from slipway.templates.errors import InvalidTemplate, InvalidValue

TEXT, NUMBER, SWITCH, CHOICE, SECRET = KINDS = ("text", "number", "switch", "choice", "secret")
ALPHABETS = {
    "letters and digits": string.ascii_letters + string.digits,
    "hex": "0123456789abcdef",
    "with punctuation": string.ascii_letters + string.digits + "-_.~!*+",
}
PLAIN = "letters and digits"
LENGTH, LENGTH_MIN, LENGTH_MAX = 24, 12, 128
FIELDS_MAX = 40
VALUE_MAX = 4096
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_NUMBER = re.compile(r"-?[0-9]{1,18}")
_ON, _OFF = "true", "false"


@dataclass(frozen=True)
class Field:
    name: str
    """The variable."""
    label: str
    kind: str = TEXT
    help: str = ""
    default: str = ""
    required: bool = False
    choices: tuple[str, ...] = ()
    length: int = LENGTH
    """Of a generated secret."""
    alphabet: str = PLAIN

    @property
    def must_be_filled(self) -> bool:
        """Whether a person has to say something before it can be run."""
        return self.required and not self.default and self.kind not in (SECRET, SWITCH)

    def stored(self) -> dict[str, Any]:
        return asdict(self) | {"choices": list(self.choices)}


@dataclass(frozen=True)
class Filled:
    env: tuple[str, ...]
    generated: dict[str, str]
    """Secrets made now: to be shown once."""
    secret_names: tuple[str, ...]
    """Variables that hold a secret, made or given."""


def parse_fields(rows: Sequence[Mapping[str, Any]]) -> tuple[Field, ...]:
    """Raise ``InvalidTemplate``."""
    if len(rows) > FIELDS_MAX:
        raise InvalidTemplate(f"fields: at most {FIELDS_MAX} are allowed.", field="fields")
    known = Field.__dataclass_fields__
    fields = tuple(
        Field(
            **{
                **{name: row[name] for name in known if name in row},
                "choices": tuple(row.get("choices") or ()),
            }
        )
        for row in rows
    )
    names = [field.name for field in fields]
    for field in fields:
        _check(field)
        if names.count(field.name) > 1:
            raise InvalidTemplate(f"fields: {field.name} is there twice.", field="fields")
    return fields


def _check(field: Field) -> None:
    def wrong(why: str) -> InvalidTemplate:
        return InvalidTemplate(
            f"fields: {field.name[:60] or 'a field without a name'}: {why}", field="fields"
        )

    if not _NAME.fullmatch(field.name):
        raise wrong("a variable's name has letters, digits and underscores, and begins with no digit.")
    if field.kind not in KINDS:
        raise wrong(f"its kind is one of {', '.join(KINDS)}.")
    if field.kind == CHOICE and not field.choices:
        raise wrong("a choice needs choices.")
    if field.kind == SECRET and (
        field.alphabet not in ALPHABETS or not LENGTH_MIN <= field.length <= LENGTH_MAX or field.default
    ):
        raise wrong(
            f"a secret has {LENGTH_MIN} to {LENGTH_MAX} characters of {', '.join(ALPHABETS)}, and no default."
        )
    if field.default:
        try:
            _checked(field, field.default)
        except InvalidValue as error:
            raise wrong(f"its default does not fit: {error.message}") from error


def fill(
    fields: Iterable[Field], values: Mapping[str, str], choose: Callable[[str], str] = secrets.choice
) -> Filled:
    """The environment that ``values`` make of the form; what is missing has its default or is made up.

    Raise ``InvalidValue``.
    """
    fields = tuple(fields)
    unknown = values.keys() - {field.name for field in fields}
    if unknown:
        name = min(unknown)
        raise InvalidValue(f"{name[:60]}: the template has no such field.", field=name[:60])
    env, generated = [], {}
    for field in fields:
        value = values.get(field.name) or field.default
        if not value and field.kind == SECRET:
            value = generated[field.name] = "".join(
                choose(ALPHABETS[field.alphabet]) for _ in range(field.length)
            )
        if not value and field.kind == SWITCH:
            value = _OFF
        if not value and field.required:
            raise InvalidValue(f"{field.label}: this must be filled in.", field=field.name)
        if value:
            env.append(f"{field.name}={_checked(field, value)}")
    secret = tuple(field.name for field in fields if field.kind == SECRET)
    return Filled(tuple(env), generated, secret)


def _checked(field: Field, value: str) -> str:
    if len(value) > VALUE_MAX or "\0" in value:
        raise InvalidValue(
            f"{field.label}: at most {VALUE_MAX} characters, none of them NUL.", field=field.name
        )
    if field.kind == NUMBER and not _NUMBER.fullmatch(value):
        raise InvalidValue(f"{field.label}: {value[:40]!r} is no whole number.", field=field.name)
    if field.kind == SWITCH and value not in (_ON, _OFF):
        raise InvalidValue(f"{field.label}: {_ON} or {_OFF} is needed.", field=field.name)
    if field.kind == CHOICE and value not in field.choices:
        raise InvalidValue(f"{field.label}: one of {', '.join(field.choices)} is needed.", field=field.name)
    return value
