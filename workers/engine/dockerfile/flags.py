"""The flags of an instruction, read by what it takes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from workers.engine.dockerfile.errors import Mistake, nearest
from workers.engine.dockerfile.parser import Node

TEXT, SWITCH, SEVERAL = "text", "switch", "several"


@dataclass(frozen=True)
class Flags:
    texts: dict[str, str] = field(default_factory=dict)
    switches: dict[str, bool] = field(default_factory=dict)
    several: dict[str, tuple[str, ...]] = field(default_factory=dict)


def read_flags(node: Node, takes: Mapping[str, str]) -> Flags:
    """Raise ``Mistake`` for flags the instruction does not take, twice given ones, missing values."""
    flags = Flags()
    for each in node.flags:
        name, equals, value = each.removeprefix("--").partition("=")
        kind = takes.get(name)
        if kind is None:
            raise _unknown(node, name, takes)
        if name in flags.texts or name in flags.switches:
            raise Mistake(f"{node.name} has the flag --{name} twice", f"--{name}")
        if kind == SWITCH:
            flags.switches[name] = _switch(name, value, bool(equals))
        elif not equals:
            raise Mistake(f"the flag --{name} needs a value: --{name}=…", f"--{name}")
        elif kind == SEVERAL:
            flags.several[name] = (*flags.several.get(name, ()), value)
        else:
            flags.texts[name] = value
    return flags


def _switch(name: str, value: str, given: bool) -> bool:
    if not given:
        return True
    if value.lower() not in ("true", "false"):
        raise Mistake(f"the flag --{name} is true or false, not {value[:20]!r}", f"--{name}")
    return value.lower() == "true"


def _unknown(node: Node, name: str, takes: Mapping[str, str]) -> Mistake:
    hint = nearest(name, takes)
    known = f"; it takes {', '.join(f'--{each}' for each in sorted(takes))}" if takes else " nor any other"
    return Mistake(
        f"{node.name} has no flag --{name[:40]}{known}", f"--{name}", suggestion=f"--{hint}" if hint else ""
    )
