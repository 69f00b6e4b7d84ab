"""Pushing blobs: whole, in chunks, or from another repository."""

from __future__ import annotations

import re

from slipway.registry.answers import Answer
from slipway.registry.callers import identify
from slipway.registry.calls import Call
from slipway.registry.desk import Desk
from slipway.registry.intake import Intake
from slipway.repositories import uploads
from slipway.repositories.errors import OutOfOrder, WrongSize
from slipway.repositories.models import Upload
from workers.errors import DigestMismatch, NoSpace, SlipwayError
from workers.oci.digest import Digest

_RANGE = re.compile(r"(?:bytes[ =])?([0-9]{1,18})-([0-9]{1,18})(?:/.*)?")


async def begin(call: Call, desk: Desk) -> Answer:
    """POST: a new upload; at once a blob, if it is to be mounted or its bytes came along."""
    mounted, source = call.parameter("mount"), call.parameter("from")
    if mounted and source:
        blob = await desk.run(lambda: uploads.mount(identify(call), call.name, mounted, source), writes=True)
        if blob is not None:
            return created(call.name, blob.digest)
    wanted = call.parameter("digest")
    digest = Digest.parse(wanted) if wanted else None
    declared = call.length
    whole = digest is not None and (declared != 0 or digest == Digest.of(b"", digest.algorithm))
    upload = await desk.run(
        lambda: uploads.start(identify(call), call.name, declared if whole else None), writes=True
    )
    if not whole or digest is None:
        return _accepted(call, upload, 0)
    intake = Intake(desk, upload, 0, digest.algorithm)
    try:
        await intake.take(call)
        return await _finish(call, desk, intake, digest)
    except BaseException:
        await _cancel(desk, upload)  # nobody was told its name
        raise


async def status(call: Call, desk: Desk) -> Answer:
    """GET: where to go on from."""
    upload = await _find(call, desk)
    answer = _accepted(call, upload, await desk.work(desk.store.received, upload.hex))
    answer.status = 204
    return answer


async def append(call: Call, desk: Desk) -> Answer:
    """PATCH: the next chunk."""
    upload = await _find(call, desk)
    intake = Intake(desk, upload, await _offset(call, desk, upload))
    await _take(call, desk, intake)
    return _accepted(call, upload, intake.offset)


async def complete(call: Call, desk: Desk) -> Answer:
    """PUT: the last chunk, if any, and what it all should hash to."""
    digest = Digest.parse(call.parameter("digest"))
    upload = await _find(call, desk)
    intake = Intake(desk, upload, await _offset(call, desk, upload), digest.algorithm)
    await _take(call, desk, intake)
    return await _finish(call, desk, intake, digest)


async def cancel(call: Call, desk: Desk) -> Answer:
    upload = await _find(call, desk)
    await _cancel(desk, upload)
    return Answer(204)


# --------------------------------------------------------------------------- steps


async def _find(call: Call, desk: Desk) -> Upload:
    return await desk.run(lambda: uploads.get_upload(identify(call), call.name, call.argument))


async def _offset(call: Call, desk: Desk, upload: Upload) -> int:
    """Where the upload ends now. Raise ``OutOfOrder`` if the chunk begins elsewhere, ``WrongSize``."""
    offset = await desk.work(desk.store.received, upload.hex)
    text = call.header(b"content-range")
    if not text:
        return offset
    match = _RANGE.fullmatch(text)
    if match is None or int(match[1]) != offset:
        raise OutOfOrder(offset, text)
    length = int(match[2]) - int(match[1]) + 1
    if call.length not in (None, length):
        raise WrongSize(f"Content-Range {text[:60]!r} is of {length} bytes, the body of {call.length}.")
    return offset


async def _take(call: Call, desk: Desk, intake: Intake) -> None:
    """A chunk there is no room for ends the upload and leaves nothing; one that broke off may go on."""
    try:
        await intake.take(call)
    except SlipwayError as error:
        if isinstance(error, NoSpace) or error.code == "QUOTA_EXCEEDED":
            await _cancel(desk, intake.upload)
        raise
    finally:
        intake.remember()


async def _finish(call: Call, desk: Desk, intake: Intake, digest: Digest) -> Answer:
    upload, store = intake.upload, desk.store
    actual = await desk.work(lambda: Digest(intake.algorithm, intake.state.hexdigest()))
    if actual != digest:
        await _cancel(desk, upload)
        raise DigestMismatch(
            f"The blob has the digest {actual}, not {digest}: it was damaged or cut off on its way.",
            expected=str(digest),
            actual=str(actual),
        )
    try:
        key = await desk.work(store.keep, upload.hex, digest)
    except NoSpace:
        await _cancel(desk, upload)
        raise
    desk.hashes.drop(upload.hex)
    blob = await desk.run(lambda: uploads.finish(upload, digest, intake.offset, key, store), writes=True)
    return created(call.name, blob.digest)


async def _cancel(desk: Desk, upload: Upload) -> None:
    desk.hashes.drop(upload.hex)
    await desk.run(lambda: uploads.cancel(upload, desk.store), writes=True)


def created(name: str, digest: str) -> Answer:
    headers = {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest}
    return Answer(201, headers)


def _accepted(call: Call, upload: Upload, offset: int) -> Answer:
    headers = {
        "Location": f"/v2/{call.name}/blobs/uploads/{upload.hex}",
        "Range": f"0-{max(0, offset - 1)}",
        "Docker-Upload-UUID": upload.hex,
    }
    return Answer(202, headers)
