"""Dataclasses from JSON values, strictly: what a field's annotation does not allow is refused."""

from __future__ import annotations

import types
import typing
from dataclasses import fields, is_dataclass
from typing import Any

_HINTS: dict[type, dict[str, Any]] = {}


def build(cls: Any, body: Any) -> Any:
    if not isinstance(body, dict):
        raise TypeError(f"{cls.__name__}: an object was expected")
    hints = _HINTS.get(cls)
    if hints is None:
        hints = _HINTS[cls] = typing.get_type_hints(cls)
    unknown = body.keys() - {f.name for f in fields(cls)}
    if unknown:
        raise TypeError(f"{cls.__name__}: unknown field {min(unknown)}")
    return cls(**{name: _value(hints[name], value, name) for name, value in body.items()})


def _value(hint: Any, value: Any, name: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _one_of(typing.get_args(hint), value, name)
    if is_dataclass(hint):
        return build(hint, value)
    if origin is tuple:
        if not isinstance(value, list):
            raise TypeError(f"{name}: a list was expected")
        item = typing.get_args(hint)[0]
        return tuple(_value(item, each, name) for each in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise TypeError(f"{name}: an object was expected")
        item = typing.get_args(hint)[1]
        return {str(key): _value(item, each, name) for key, each in value.items()}
    return _scalar(hint, value, name)


def _one_of(options: tuple[Any, ...], value: Any, name: str) -> Any:
    if value is None and type(None) in options:
        return None
    for option in options:
        if option is type(None):
            continue
        try:
            return _value(option, value, name)
        except TypeError:
            continue
    raise TypeError(f"{name}: {type(value).__name__} was not expected")


def _scalar(hint: Any, value: Any, name: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise TypeError(f"{name}: {hint.__name__} was expected")
    return value
