"""Lists by cursor: ``?cursor=&limit=`` answering ``{"items": […], "next": url | null}``.

A cursor is the signed sort key of the last item seen, so a page costs one index range whatever its depth,
and an item created or removed meanwhile neither repeats nor hides another one.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Generic, TypeVar

from django.core import signing
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

from workers.errors import UserError

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
SALT = "slipway.pagination"

Row = TypeVar("Row", bound=Model)


class InvalidCursor(UserError):
    """A cursor we did not make, or made for another list."""

    code = "CURSOR_INVALID"


@dataclass(frozen=True)
class Page(Generic[Row]):
    items: list[Row]
    next: str | None
    """Address of the next page, or None on the last."""


def paginate(
    request: HttpRequest,
    rows: QuerySet[Row],
    order: Sequence[str],
    *,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Page[Row]:
    """The ``limit`` rows behind ``cursor``, and where ``request`` finds those after them.

    ``order`` names columns as ``order_by`` does, none of them null, the last one unique.
    Raise ``InvalidCursor``.
    """
    # A cursor belongs to one list and one filter: elsewhere its key would point at nothing.
    purpose = _purpose(request)
    if cursor:
        rows = rows.filter(_after(order, _decode(cursor, purpose, len(order))))
    found = list(rows.order_by(*order)[: limit + 1])
    items = found[:limit]
    if len(found) <= limit:
        return Page(items, None)
    key = [_pack(attrgetter(name.lstrip("-").replace("__", "."))(items[-1])) for name in order]
    return Page(items, _address(request, signing.dumps(key, salt=f"{SALT}:{purpose}")))


def _purpose(request: HttpRequest) -> str:
    filters = request.GET.copy()
    for name in ("cursor", "limit"):
        filters.pop(name, None)
    return f"{request.path}?{'&'.join(sorted(filters.urlencode().split('&')))}"


def _address(request: HttpRequest, cursor: str) -> str:
    query = request.GET.copy()
    query["cursor"] = cursor
    return request.build_absolute_uri(f"{request.path}?{query.urlencode()}")


def _after(order: Sequence[str], key: Sequence[Any]) -> Q:
    """Rows behind ``key``: (a < x) or (a = x and b < y) …, with > where a column ascends."""
    condition = Q()
    equal = Q()
    for name, value in zip(order, key, strict=True):
        column = name.lstrip("-")
        comparison = "lt" if name.startswith("-") else "gt"
        condition |= equal & Q(**{f"{column}__{comparison}": value})
        equal &= Q(**{column: value})
    return condition


def _pack(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return {"t": value.isoformat()}
    if isinstance(value, uuid.UUID):
        return {"u": value.hex}
    return value


def _unpack(value: Any) -> Any:
    if isinstance(value, dict):
        return dt.datetime.fromisoformat(value["t"]) if "t" in value else uuid.UUID(value["u"])
    return value


def _decode(text: str, purpose: str, length: int) -> list[Any]:
    try:
        key = [_unpack(each) for each in signing.loads(text, salt=f"{SALT}:{purpose}")]
    except (signing.BadSignature, ValueError) as error:
        raise InvalidCursor(
            'cursor: not one of this list. Take it from a previous answer\'s "next", or leave it out.'
        ) from error
    if len(key) != length:
        raise InvalidCursor("cursor: made by another version of this list. Begin again without it.")
    return key
