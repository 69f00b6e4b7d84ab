"""``RUN --mount=type=…``: its keys and values. Pure."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from workers.engine.dockerfile.errors import Mistake, nearest

TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
_SHARING = ("shared", "private", "locked")
_OWNED = frozenset({"cache", "secret", "ssh"})
_NAMES = {
    "source": "source",
    "src": "source",
    "target": "target",
    "dst": "target",
    "destination": "target",
    "readonly": "readonly",
    "ro": "readonly",
    "readwrite": "readwrite",
    "rw": "readwrite",
    **{
        each: each
        for each in ("type", "from", "id", "sharing", "required", "mode", "uid", "gid", "size", "env")
    },
}
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_SIZE = re.compile(r"([0-9]{1,15})(?:\.[0-9]+)?\s?(?:([kmgtp])i?)?b?", re.IGNORECASE)
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}
_BARE = frozenset({"readonly", "readwrite", "required"})


@dataclass(frozen=True)
class MountOptions:
    """What is written; None and empty where nothing is."""

    type: str = "bind"
    source_of: str = ""
    """``from``."""
    source: str = ""
    target: str = ""
    read_only: bool = False
    id: str = ""
    sharing: str = "shared"
    required: bool = False
    size: int | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    env: str = ""


@dataclass
class _Given:
    texts: dict[str, str] = field(default_factory=dict)
    read_only: bool | None = None
    required: bool = False


Expand = Callable[[str], str]


def check_mount(text: str) -> None:
    """What can be told before variables are known. Raise ``Mistake``."""
    if "$" not in text:
        parse_mount(text)
        return
    for name, value in _fields(text):
        if name == "from" and value is not None and re.search(r"\$.", value):
            raise Mistake(
                "variables are not expanded in a mount's from; name a stage: FROM …$VAR… AS name", value
            )


def mount_source(text: str) -> str:
    """The stage or image a mount is from, which needs no variables; empty for the build context."""
    names = {name: value or "" for name, value in _fields(text)}
    return "" if names.get("type", "").lower() == "tmpfs" else names.get("from", "")


def parse_mount(text: str, expand: Expand = str) -> MountOptions:
    """Raise ``Mistake``."""
    given = _Given()
    for name, value in _fields(text):
        if name in ("readonly", "readwrite"):
            on = True if value is None else _boolean(name, expand(value))
            given.read_only = on if name == "readonly" else not on
        elif name == "required":
            given.required = True if value is None else _boolean(name, expand(value))
        else:
            given.texts[name] = expand(value or "")
    options = _options(given)
    _check(options, given)
    return options


def _fields(text: str) -> list[tuple[str, str | None]]:
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise Mistake(f"the mount is no list of KEY=VALUE with commas between: {error}", text) from None
    fields: list[tuple[str, str | None]] = []
    for each in rows[0] if rows else []:
        key, equals, value = each.partition("=")
        name = _NAMES.get(key.lower())
        if name is None:
            hint = nearest(key, _NAMES)
            raise Mistake(f"a mount has no {key[:40]!r}", key, suggestion=hint)
        if not equals and name not in _BARE:
            raise Mistake(f"the mount's {key} needs a value: {key}=…", key)
        fields.append((name, value if equals else None))
    return fields


def _options(given: _Given) -> MountOptions:
    texts = given.texts
    kind = texts.get("type", "bind").lower()
    if kind not in TYPES:
        shown = texts["type"]
        raise Mistake(
            f"there is no mount of type {shown[:40]!r}; there are {', '.join(TYPES)}",
            shown,
            suggestion=nearest(shown, TYPES),
        )
    automatic = kind not in ("cache", "tmpfs")
    return MountOptions(
        type=kind,
        source_of=texts.get("from", ""),
        source=texts.get("source", ""),
        target=texts.get("target", ""),
        read_only=automatic if given.read_only is None else given.read_only,
        id=texts.get("id", ""),
        sharing=texts.get("sharing", "shared").lower(),
        required=given.required,
        size=_size(texts["size"]) if "size" in texts else None,
        mode=_number("mode", texts["mode"], 8) if "mode" in texts else None,
        uid=_number("uid", texts["uid"], 10) if "uid" in texts else None,
        gid=_number("gid", texts["gid"], 10) if "gid" in texts else None,
        env=texts.get("env", ""),
    )


def _check(options: MountOptions, given: _Given) -> None:
    kind = options.type
    allowed = (
        ("mode", _OWNED),
        ("uid", _OWNED),
        ("gid", _OWNED),
        ("sharing", frozenset({"cache"})),
        ("size", frozenset({"tmpfs"})),
        ("env", frozenset({"secret"})),
        ("from", frozenset({"bind", "cache", "tmpfs"})),
    )
    for name, kinds in allowed:
        if name in given.texts and kind not in kinds:
            raise Mistake(f"a mount of type {kind} has no {name}", name)
    if given.required and kind not in ("secret", "ssh"):
        raise Mistake(f"a mount of type {kind} has no required", "required")
    if options.sharing not in _SHARING:
        shown = options.sharing
        raise Mistake(
            f"a cache is shared, private or locked, not {shown[:40]!r}",
            shown,
            suggestion=nearest(shown, _SHARING),
        )
    if kind == "secret" and not (options.id or options.source or options.target):
        raise Mistake("a secret's mount needs an id or a target", "secret")
    if kind == "secret" and options.id and options.source:
        raise Mistake("a secret's mount has either id or source", "source")
    if kind in ("bind", "cache", "tmpfs") and not options.target:
        raise Mistake(f"a mount of type {kind} needs a target")


def _boolean(name: str, value: str) -> bool:
    if value in _TRUE or value in _FALSE:
        return value in _TRUE
    raise Mistake(f"the mount's {name} is true or false, not {value[:40]!r}", value)


def _number(name: str, value: str, base: int) -> int:
    if (
        not re.fullmatch(r"[0-7]{1,11}" if base == 8 else r"[0-9]{1,10}", value)
        or int(value, base) >= 1 << 32
    ):
        form = "an octal number" if base == 8 else "a number"
        raise Mistake(f"the mount's {name} is {form}, not {value[:40]!r}", value)
    return int(value, base)


def _size(value: str) -> int:
    match = _SIZE.fullmatch(value)
    if match is None:
        raise Mistake(f"the mount's size is a number of bytes, as 64m, not {value[:40]!r}", value)
    return int(match[1]) << _UNITS[(match[2] or "").lower()]
