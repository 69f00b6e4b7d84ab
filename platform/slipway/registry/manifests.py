"""Manifests, by tag or digest."""

from __future__ import annotations

from slipway.registry.answers import Answer
from slipway.registry.blobs import matches
from slipway.registry.callers import identify
from slipway.registry.calls import Call
from slipway.registry.desk import Desk
from slipway.registry.intake import pieces
from slipway.repositories import manifests, platforms, queries
from slipway.repositories.documents import MAX_SIZE
from slipway.repositories.errors import ManifestTooLarge, NoSuchManifest
from slipway.repositories.names import InvalidTag


async def show(call: Call, desk: Desk) -> Answer:
    wanted = call.method != "HEAD"
    found = await desk.run(
        lambda: queries.pull_manifest(identify(call), call.name, call.argument, content=wanted)
    )
    headers = {
        "Content-Type": found.media_type,
        "Docker-Content-Digest": found.digest,
        "ETag": f'"{found.digest}"',
        "Cache-Control": "no-cache",
    }
    if matches(call, found.digest):
        return Answer(304, headers)
    if call.method == "HEAD":
        return Answer(200, headers | {"Content-Length": str(found.size)})
    return Answer(200, headers, found.content, after=lambda: desk.count_pull(found.repository_id))


async def put(call: Call, desk: Desk) -> Answer:
    content = await _body(call)
    kind = call.header(b"content-type")
    manifest = await desk.run(
        lambda: manifests.put_manifest(identify(call), call.name, call.argument, content, kind), writes=True
    )
    if manifest.platform is None:
        await desk.run(lambda: platforms.note(manifest, desk.store), writes=True)
    headers = {
        "Location": f"/v2/{call.name}/manifests/{manifest.digest}",
        "Docker-Content-Digest": manifest.digest,
    }
    if manifest.subject:
        headers["OCI-Subject"] = manifest.subject
    return Answer(201, headers)


async def delete(call: Call, desk: Desk) -> Answer:
    """By digest the manifest, by tag only that."""
    await desk.run(lambda: _delete(call), writes=True)
    return Answer(202)


def _delete(call: Call) -> None:
    access = identify(call)
    if ":" in call.argument:
        manifests.delete_manifest(access, call.name, call.argument)
        return
    try:
        manifests.delete_tag(access, call.name, call.argument)
    except InvalidTag as error:
        raise NoSuchManifest(call.name, call.argument) from error


async def _body(call: Call) -> bytes:
    """Raise ``ManifestTooLarge`` before more than that is in memory."""
    too_large = ManifestTooLarge(f"A manifest has at most {MAX_SIZE} bytes.")
    if (call.length or 0) > MAX_SIZE:
        raise too_large
    content = b""
    async for piece, _ in pieces(call):
        content += b"".join(piece)
        if len(content) > MAX_SIZE:
            raise too_large
    return content
