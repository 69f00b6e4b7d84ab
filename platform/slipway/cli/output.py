"""What is printed: JSON, aligned tables, remarks on stderr. Colour only for terminals that want it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_COLOURS = {
    "running": "32",
    "succeeded": "32",
    "ok": "32",
    "starting": "33",
    "stopping": "33",
    "removing": "33",
    "queued": "33",
    "warning": "33",
    "exited": "2",
    "created": "2",
    "failed": "31",
    "bad": "31",
    "dead": "31",
}


def is_colourful(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def clean(text: object) -> str:
    """Without control characters: what others wrote must not steer this terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(text))


def print_json(value: object) -> None:
    import json

    print(json.dumps(value, indent=2, ensure_ascii=not _speaks_unicode(sys.stdout)))


def print_line(value: object) -> None:
    """One JSON value a line, for streams of them."""
    import json

    print(json.dumps(value, separators=(",", ":")), flush=True)


def _speaks_unicode(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().replace("-", "") == "utf8"


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Columns apart by two blanks; a remark on stderr in place of an empty table."""
    cells = [[clean(cell) if cell not in (None, "") else "-" for cell in row] for row in rows]
    if not cells:
        remark(empty)
        return
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    colourful = is_colourful(sys.stdout)
    print(_line(header, widths, "1" if colourful else ""))
    for row in cells:
        print(_line(row, widths, "", colourful=colourful))


def _line(cells: Sequence[str], widths: Sequence[int], style: str, *, colourful: bool = False) -> str:
    shown = []
    for cell, width in zip(cells, widths, strict=True):
        colour = style or (_COLOURS.get(cell.split(" ", 1)[0], "") if colourful else "")
        padded = cell.ljust(width)
        shown.append(f"\x1b[{colour}m{padded}\x1b[0m" if colour else padded)
    return "  ".join(shown).rstrip()


def print_facts(facts: Iterable[tuple[str, Any]]) -> None:
    """Names and values of one thing, below each other."""
    shown = [(name, clean(value)) for name, value in facts if value not in (None, "")]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{name.ljust(width)}  {value}")


def remark(text: str) -> None:
    """For people; never part of what a program reads."""
    print(clean(text), file=sys.stderr, flush=True)


def complain(sentence: str) -> None:
    label = "\x1b[31mslipway:\x1b[0m" if is_colourful(sys.stderr) else "slipway:"
    print(label, clean(sentence), file=sys.stderr, flush=True)
