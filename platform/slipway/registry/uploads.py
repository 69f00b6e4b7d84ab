"""Pushing blobs: whole, in chunks, or from another repository."""

from __future__ import annotations

import re

from slipway.bodies import ClientGone
from slipway.registry.answers import Answer
from slipway.registry.callers import brings_grants, identify
from slipway.registry.calls import Call
from slipway.registry.desk import Desk
from slipway.registry.intake import Intake
from slipway.repositories import certificates, uploads
from slipway.repositories.access import Verb
from slipway.repositories.errors import NoSuchUpload, OutOfOrder, WrongSize
from slipway.repositories.models import Upload
from slipway.repositories.sessions import Session
from workers.errors import DigestMismatch, NoSpace, SlipwayError
from workers.oci.digest import Digest

_RANGE = re.compile(r"(?:bytes[ =])?([0-9]{1,18})-([0-9]{1,18})(?:/.*)?")


async def begin(call: Call, desk: Desk) -> Answer:
    """POST: a new upload; at once a blob, if it is to be mounted or its bytes came along."""
    mounted, source = call.parameter("mount"), call.parameter("from")
    if mounted and source:
        blob = await desk.run(
            lambda: uploads.mount(identify(call), call.name, mounted, source, desk.store), writes=True
        )
        if blob is not None:
            return created(call.name, blob.digest)
    wanted = call.parameter("digest")
    digest = Digest.parse(wanted) if wanted else None
    session = await _begin(call, desk)
    if digest is None or (call.length == 0 and digest != Digest.of(b"", digest.algorithm)):
        return _accepted(call, session, 0)
    intake = Intake(desk, session, 0, digest.algorithm)
    try:
        await intake.take(call)
        return await _finish(call, desk, intake, digest)
    except BaseException:
        await _cancel(desk, session)  # nobody was told its name
        raise


async def status(call: Call, desk: Desk) -> Answer:
    """GET: where to go on from."""
    session = await _find(call, desk)
    answer = _accepted(call, session, await desk.look(desk.store.received, session.key))
    answer.status = 204
    return answer


async def append(call: Call, desk: Desk) -> Answer:
    """PATCH: the next chunk."""
    session = await _find(call, desk)
    with session.alone():
        intake = Intake(desk, session, await _offset(call, desk, session))
        await _take(call, desk, intake)
    return _accepted(call, session, intake.offset)


async def complete(call: Call, desk: Desk) -> Answer:
    """PUT: the last chunk, if any, and what it all should hash to."""
    digest = Digest.parse(call.parameter("digest"))
    session = await _find(call, desk)
    with session.alone():
        intake = Intake(desk, session, await _offset(call, desk, session), digest.algorithm)
        await _take(call, desk, intake)
        return await _finish(call, desk, intake, digest)


async def cancel(call: Call, desk: Desk) -> Answer:
    session = await _find(call, desk)
    with session.alone():
        await _cancel(desk, session)
    return Answer(204)


# --------------------------------------------------------------------------- steps


async def _begin(call: Call, desk: Desk) -> Session:
    admission = await desk.admissions.get(call, lambda: uploads.admit(identify(call), call.name))
    session = Session(admission.upload(), admission.room)
    if desk.sessions.is_full:
        session.upload = await desk.run(lambda: uploads.reserve(session.upload, uploads.LEAST), writes=True)
    return desk.sessions.add(session)


async def _find(call: Call, desk: Desk) -> Session:
    """Raise ``NoSuchUpload`` and what says that the caller may not push."""
    name = call.argument
    session = desk.sessions.find(name, call.name)
    if session is not None and _may_go_on(call):
        return session
    upload = await desk.run(lambda: uploads.get_upload(identify(call), call.name, name))
    if session is not None:
        return session
    if desk.sessions.has_ended(upload.hex) or not (upload.is_recorded or await _goes_on(desk, upload)):
        raise NoSuchUpload
    return desk.sessions.find(upload.hex, call.name) or desk.sessions.add(Session(upload))


def _may_go_on(call: Call) -> bool:
    """Whether a token of the registry says so, which needs no look at the database."""
    return brings_grants(call) and identify(call).has(call.name, Verb.PUSH)


async def _goes_on(desk: Desk, upload: Upload) -> bool:
    """One without a row that this process does not know: another began it, or this one has ended it."""
    certificate = certificates.read(upload.pk, upload.repository.path)
    if certificate is not None and not certificate.is_ours:
        return True
    return await desk.look(desk.store.received, upload.hex) > 0


async def _offset(call: Call, desk: Desk, session: Session) -> int:
    """Where the upload ends now. Raise ``OutOfOrder`` if the chunk begins elsewhere, ``WrongSize``."""
    offset = await desk.look(desk.store.received, session.key)
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
        if isinstance(error, ClientGone):
            await intake.break_off()
        if isinstance(error, NoSpace) or error.code == "QUOTA_EXCEEDED":
            await _cancel(desk, intake.session)
        raise
    finally:
        intake.remember()


async def _finish(call: Call, desk: Desk, intake: Intake, digest: Digest) -> Answer:
    session, store = intake.session, desk.store

    def keep() -> str:
        actual = Digest(intake.algorithm, intake.state.hexdigest())
        if actual != digest:
            raise DigestMismatch(
                f"The blob has the digest {actual}, not {digest}: it was damaged or cut off on its way.",
                expected=str(digest),
                actual=str(actual),
            )
        return store.keep(session.key, digest, intake.offset)

    try:
        key = await desk.work(keep)
    except (DigestMismatch, NoSpace):
        await _cancel(desk, session)
        raise
    try:
        blob = await desk.run(
            lambda: uploads.finish(session.upload, digest, intake.offset, key, store),
            writes=True,
            together=True,
        )
    finally:
        desk.sessions.drop(session)
    return created(call.name, blob.digest)


async def _cancel(desk: Desk, session: Session) -> None:
    desk.sessions.drop(session)
    await desk.run(lambda: uploads.cancel(session.upload, desk.store), writes=True)


def created(name: str, digest: str) -> Answer:
    headers = {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest}
    return Answer(201, headers)


def _accepted(call: Call, session: Session, offset: int) -> Answer:
    headers = {
        "Location": f"/v2/{call.name}/blobs/uploads/{session.key}",
        "Range": f"0-{max(0, offset - 1)}",
        "Docker-Upload-UUID": session.key,
    }
    return Answer(202, headers)
