"""Lists: tags, repositories, referrers; a page at a time."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from slipway.registry.answers import Answer, document
from slipway.registry.callers import identify
from slipway.registry.calls import Call
from slipway.registry.desk import Desk
from slipway.registry.faults import SignInFirst
from slipway.repositories import queries
from slipway.repositories.errors import InsufficientGrant, NoSuchRepository
from slipway.repositories.models import Manifest
from workers.oci.descriptor import OCI_INDEX
from workers.oci.digest import Digest

PAGE = 1000
MOST = 10_000
REFERRERS = 500
REFERRERS_BYTES = (4 << 20) - (64 << 10)
"""Of manifests whose descriptors make one page: clients read no more than a manifest may have."""


async def tags(call: Call, desk: Desk) -> Answer:
    names, more = await desk.run(lambda: _tags(call))
    headers = {"Link": _next(call, n=len(names), last=names[-1])} if more and names else {}
    return document(200, {"name": call.name, "tags": names}, **headers)


def _tags(call: Call) -> tuple[list[str], bool]:
    repository = queries.get_repository(identify(call), call.name)
    count = _count(call)
    rows = queries.list_tags(repository, call.parameter("last")[:128])
    found = list(rows.values_list("name", flat=True)[: count + 1])
    return found[:count], len(found) > count


async def catalog(call: Call, desk: Desk) -> Answer:
    paths, more = await desk.run(lambda: _catalog(call))
    headers = {"Link": _next(call, n=len(paths), last=paths[-1])} if more and paths else {}
    return document(200, {"repositories": paths}, **headers)


def _catalog(call: Call) -> tuple[list[str], bool]:
    access = identify(call)
    if access.is_anonymous:
        raise SignInFirst
    if not access.may_list:
        raise InsufficientGrant("This token does not say that it may list repositories.")
    count = _count(call)
    rows = queries.readable(access)
    if last := call.parameter("last")[:255].replace("\0", ""):
        rows = rows.filter(path__gt=last)
    found = list(rows.values_list("path", flat=True)[: count + 1])
    return found[:count], len(found) > count


async def referrers(call: Call, desk: Desk) -> Answer:
    wanted = call.parameter("artifactType")
    found, more = await desk.run(lambda: _referrers(call, wanted))
    headers = {"OCI-Filters-Applied": "artifactType"} if wanted else {}
    if more:
        headers["Link"] = _next(call, artifactType=wanted, after=len(found) + _after(call))
    body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [_descriptor(each) for each in found]}
    return document(200, body, OCI_INDEX, **headers)


def _referrers(call: Call, wanted: str) -> tuple[list[Manifest], bool]:
    """None of a repository that does not exist, or that the caller may not know of: clients that get a 404
    would take us for a registry without this list, and keep one of their own.
    """
    digest = Digest.parse(call.argument)
    access = identify(call)
    try:
        repository = queries.get_repository(access, call.name)
    except NoSuchRepository:
        if access.is_anonymous:
            raise
        return [], False
    first = _after(call)
    rows = queries.list_referrers(repository, digest, wanted[:255].replace("\0", ""))
    sizes = list(rows.values_list("size", flat=True)[first : first + REFERRERS + 1])
    count = _fitting(sizes[:REFERRERS])
    return list(rows[first : first + count]), len(sizes) > count


def _fitting(sizes: list[int]) -> int:
    """How many of the first fit a page; a descriptor is never longer than its manifest."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if count and total > REFERRERS_BYTES:
            return count
    return len(sizes)


def _descriptor(manifest: Manifest) -> dict[str, Any]:
    body: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": manifest.size,
    }
    if manifest.artifact_type:
        body["artifactType"] = manifest.artifact_type
    if manifest.annotations:
        body["annotations"] = manifest.annotations
    return body


def _count(call: Call) -> int:
    """``n``; what is no number asks for a usual page."""
    text = call.parameter("n")
    return min(int(text), MOST) if text.isascii() and text.isdigit() and len(text) < 10 else PAGE


def _after(call: Call) -> int:
    text = call.parameter("after")
    return min(int(text), 1_000_000) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _next(call: Call, **query: Any) -> str:
    given = {name: value for name, value in query.items() if value != ""}
    return f'<{quote(call.path)}?{urlencode(given)}>; rel="next"'
