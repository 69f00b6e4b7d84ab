"""The log as a file: CSV for spreadsheets, NDJSON for programs; made while it is sent."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator

from slipway.audit.chain import PARTS, body
from slipway.audit.models import Entry

NAMES = (*PARTS, "digest")
TYPES = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def ndjson(entries: Iterable[Entry]) -> Iterator[str]:
    """A line of JSON each, with all that its digest covers, so that a reader can check the chain."""
    for entry in entries:
        yield json.dumps({**body(entry), "digest": entry.digest}, separators=(",", ":")) + "\n"


def csv_lines(entries: Iterable[Entry]) -> Iterator[str]:
    yield _line(NAMES)
    for entry in entries:
        values = {**body(entry), "digest": entry.digest}
        yield _line([_cell(values[name]) for name in NAMES])


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    # A name that begins like a formula would be one in the spreadsheet of whoever opens this.
    return f"'{text}" if text.startswith(_FORMULA) else text


def _line(cells: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()


WRITERS: dict[str, Callable[[Iterable[Entry]], Iterator[str]]] = {"csv": csv_lines, "ndjson": ndjson}
