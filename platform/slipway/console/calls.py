"""A page's twin in the REST API: what the drawer "Show API call" offers to copy."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest


@dataclass(frozen=True)
class Call:
    """One request to ``/api/v1``, as a person would type it."""

    title: str
    method: str
    path: str
    body: Mapping[str, Any] | None = None
    flags: tuple[str, ...] = field(default=())
    """More arguments of curl, already quoted."""


@dataclass(frozen=True)
class Shown:
    title: str
    text: str


def curls(request: HttpRequest, *calls: Call) -> list[Shown]:
    base = request.build_absolute_uri("/api/v1")
    return [Shown(call.title, _curl(base, call)) for call in calls]


def _curl(base: str, call: Call) -> str:
    lines = ["curl -fsS" if call.method == "GET" else f"curl -fsS -X {call.method}"]
    lines.append('-H "Authorization: Bearer $SLIPWAY_TOKEN"')
    if call.body is not None:
        lines.append("-H 'Content-Type: application/json'")
        lines.append(f"-d {shlex.quote(json.dumps(call.body))}")
    lines += [*call.flags, shlex.quote(f"{base}{call.path}")]
    return " \\\n  ".join(lines)
