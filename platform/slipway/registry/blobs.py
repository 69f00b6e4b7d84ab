"""Pulling blobs: whole or in part, and only if they changed, which they never do."""

from __future__ import annotations

import re

from slipway.blobs.store import BlobStore
from slipway.registry.answers import Answer
from slipway.registry.callers import identify
from slipway.registry.calls import Call
from slipway.registry.desk import Desk
from slipway.repositories import links, manifests, queries
from slipway.repositories.access import Access, Verb, may_write
from slipway.repositories.models import Blob, Repository
from workers.errors import NoSuchBlob

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
FOR_EVER = "private, max-age=31536000, immutable"


async def show(call: Call, desk: Desk) -> Answer:
    blob = await desk.run(lambda: _look(call, desk.store))
    headers = {
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": blob.digest,
        "ETag": f'"{blob.digest}"',
        "Cache-Control": FOR_EVER,
        "Accept-Ranges": "bytes",
    }
    if matches(call, blob.digest):
        return Answer(304, headers)
    if call.method == "HEAD":
        return Answer(200, headers | {"Content-Length": str(blob.size)})
    wanted = _range(call, blob)
    if wanted is None:
        return Answer(416, headers | {"Content-Range": f"bytes */{blob.size}"})
    first, length = wanted
    partial = length != blob.size
    if partial:
        headers["Content-Range"] = f"bytes {first}-{first + length - 1}/{blob.size}"
    reader = await desk.look(desk.store.open, blob.key)
    if reader.size != blob.size:
        reader.close()
        raise NoSuchBlob(f"The blob {blob.digest} is damaged: {reader.size} of {blob.size} bytes are there.")
    return Answer(206 if partial else 200, headers, reader=reader, first=first, length=length)


async def delete(call: Call, desk: Desk) -> Answer:
    await desk.run(lambda: manifests.delete_blob(identify(call), call.name, call.argument), writes=True)
    return Answer(202)


def _look(call: Call, store: BlobStore) -> Blob:
    access = identify(call)
    if call.method == "GET":
        return queries.pull_blob(access, call.name, call.argument)
    repository = queries.get_repository(access, call.name)
    blob = queries.get_blob(repository, call.argument)
    if _may_push(access, repository):
        if store.size(blob.key) != blob.size:  # lost: who asks whether to push shall push
            raise NoSuchBlob(f"The bytes of {blob.digest} are lost here; push them.")
        links.hold(repository, blob)
    return blob


def _may_push(access: Access, repository: Repository) -> bool:
    """Whether the caller may be a push that asks what it need not send; who came with a name and password, or
    a token of ours, has no grants that say so.
    """
    if access.grants is not None:
        return access.has(repository.path, Verb.PUSH)
    return may_write(access.actor, repository.project)


def matches(call: Call, digest: str) -> bool:
    """``If-None-Match``."""
    given = {each.strip().removeprefix("W/").strip('"') for each in call.header(b"if-none-match").split(",")}
    return digest in given or "*" in given


def _range(call: Call, blob: Blob) -> tuple[int, int] | None:
    """First byte and length; of the whole where no single range is asked for; None: no such part."""
    match = _RANGE.fullmatch(call.header(b"range"))
    condition = call.header(b"if-range")
    if match is None or match.groups() == ("", "") or (condition and condition.strip('"') != blob.digest):
        return 0, blob.size
    if match[1]:
        first, last = int(match[1]), min(int(match[2]) if match[2] else blob.size, blob.size - 1)
    else:
        first, last = max(0, blob.size - int(match[2])), blob.size - 1
    return (first, last - first + 1) if first <= last else None
