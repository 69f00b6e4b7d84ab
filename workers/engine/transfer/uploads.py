"""A blob on its way out, in blocks: a connection that breaks costs a block, not the blob."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing

from workers.engine.transfer.connections import Answer, Broken
from workers.engine.transfer.registry import Again, Repository, is_trouble, trouble_of
from workers.errors import RegistryError, SlipwayError
from workers.oci.digest import Digest

BLOCK = 4 << 20
"""Bytes; five of them are in memory for each blob under way."""
_RESTARTS = 5
"""Some registries forget an upload whenever a block of it breaks off."""


Blocks = Generator[bytes, None, None]


class Lost(Exception):
    """The registry no longer knows the upload: it must begin anew."""


def upload(
    repository: Repository, blocks: Callable[[], Blocks], session: str | None = None
) -> tuple[Digest, int]:
    """Digest and size of the blob that the registry has now.

    ``blocks`` gives its bytes anew at each call; ``session`` is an upload that was begun already.
    """
    for _ in range(_RESTARTS):
        try:
            with closing(blocks()) as making:
                return _attempt(repository, making, session or _begin(repository))
        except Lost:
            session = None
    raise RegistryError(f"{repository.host} lost an upload to {repository.name} again and again")


def upload_small(repository: Repository, data: bytes) -> None:
    """``data`` is in the repository."""
    if repository.find_blob(Digest.of(data)) is None:
        upload(repository, lambda: blocks_of(iter([data])))


def mount(repository: Repository, digest: Digest, source: str) -> str | None:
    """None: the repository has the blob of the repository ``source``. Else the upload begun in its place."""
    path = repository.path(f"blobs/uploads/?mount={digest}&from={source}")
    with repository.send("POST", path, body=b"") as answer:
        if answer.status == 201:
            return None
        return _location(repository, answer)


def blocks_of(pieces: Iterator[bytes], size: int = BLOCK) -> Blocks:
    """The same bytes in blocks of ``size``; at least one, and only the last is shorter."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) > size:
            with memoryview(waiting) as view:
                block = bytes(view[:size])
            del waiting[:size]
            yield block
            del block  # whoever took it may let go of it
    yield bytes(waiting)


def _begin(repository: Repository) -> str:
    with repository.send("POST", repository.path("blobs/uploads/"), body=b"") as answer:
        return _location(repository, answer)


def _location(repository: Repository, answer: Answer) -> str:
    if answer.status != 202:
        raise repository.refusal(answer, repository.name)
    return answer.location()


def _attempt(repository: Repository, blocks: Iterator[bytes], location: str) -> tuple[Digest, int]:
    content = hashlib.sha256()
    at = 0
    last = next(blocks)
    for block in blocks:
        content.update(last)
        location = _Block(repository, last, at).append(location)
        at += len(last)
        last = block
    content.update(last)
    digest = Digest("sha256", content.hexdigest())
    _Block(repository, last, at).finish(location, digest)
    return digest, at + len(last)


class _Block:
    """A part of a blob, and where in it the part begins."""

    def __init__(self, repository: Repository, data: bytes, at: int) -> None:
        self._repository, self._data, self._at = repository, data, at
        self._sent = 0

    def append(self, location: str) -> str:
        """The registry has the block; where the next one goes."""

        def attempt(location: str) -> str:
            headers = self._headers()
            rest = memoryview(self._data)[self._sent :]
            with self._repository.once("PATCH", location, headers=headers, body=rest) as answer:
                self._require(answer, (202, 204))
                return answer.location()

        return self._persist(attempt, location, None)

    def finish(self, location: str, digest: Digest) -> None:
        """The registry has the whole blob."""

        def attempt(location: str) -> str:
            url = f"{location}{'&' if '?' in location else '?'}digest={digest}"
            rest = memoryview(self._data)[self._sent :]
            headers = self._headers() if self._at else {"Content-Type": "application/octet-stream"}
            with self._repository.once("PUT", url, headers=headers, body=rest) as answer:
                self._require(answer, (201, 204))
            return location

        self._persist(attempt, location, digest)

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/octet-stream"}
        start, end = self._at + self._sent, self._at + len(self._data)
        if end > start:
            headers["Content-Range"] = f"{start}-{end - 1}"
        return headers

    def _require(self, answer: Answer, good: tuple[int, ...]) -> None:
        if answer.status in good:
            return
        if answer.status == 404:
            raise Lost
        if is_trouble(answer) or answer.status == 416:
            raise trouble_of(self._repository, answer)
        raise self._repository.refusal(answer, f"an upload to {self._repository.name}")

    def _persist(self, attempt: Callable[[str], str], location: str, digest: Digest | None) -> str:
        """What ``attempt`` returns, made again from where the registry stands when it failed."""
        pauses = iter(self._repository.client.patience.outages)
        while True:
            try:
                return attempt(location)
            except Broken as error:
                failure: SlipwayError = self._repository.unreachable(str(error))
            except Again as error:
                failure = error.failure
            pause = next(pauses, None)
            if pause is None:
                raise failure
            self._repository.client.pause(pause)
            if digest is not None and self._repository.find_blob(digest) is not None:
                return location  # it had all, only its answer was lost
            location = self._catch_up(location)
            if digest is None and self._sent == len(self._data):
                return location

    def _catch_up(self, location: str) -> str:
        """Ask how much the registry has of the blob; where to go on."""
        with self._repository.send("GET", location) as answer:
            if answer.status not in (200, 204):
                raise Lost
            has = _has(answer.headers.get("Range") or "")
            location = answer.location() if answer.headers.get("Location") else location
        self._sent = has - self._at
        if not 0 <= self._sent <= len(self._data):
            raise Lost
        return location


def _has(told: str) -> int:
    """``0-9`` is ten bytes. ``0-0`` is said for none; only the last block of ours may be of one byte."""
    _, _, end = told.removeprefix("bytes=").partition("-")
    if not (end.isascii() and end.isdigit() and len(end) < 19):
        raise Lost
    return int(end) + 1 if int(end) else 0
