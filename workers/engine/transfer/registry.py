"""One repository of a registry, as the Distribution specification has it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import quote

from workers.engine.transfer.connections import Answer, Broken, Client, Origin
from workers.engine.transfer.credentials import Credentials, Scopes
from workers.errors import (
    InvalidDigest,
    NoSuchManifest,
    RegistryDenied,
    RegistryError,
    RegistryLimited,
    RegistryUnreachable,
    SlipwayError,
)
from workers.oci.descriptor import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from workers.oci.digest import Digest
from workers.oci.reference import DEFAULT_REGISTRY, Reference

_HUB = "https://registry-1.docker.io"
_ACCEPT = ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST))
_MAX_MANIFEST = 4 << 20
_MAX_COMPLAINT = 64 << 10
_LONGEST_WAIT = 10.0
"""Seconds a registry may ask us to wait; for longer is no."""
_CHALLENGES = 2
T = TypeVar("T")


def base_of(registry: str, *, plain_http: bool) -> str:
    """Where the registry that a reference names is found."""
    if registry == DEFAULT_REGISTRY:
        return _HUB
    return f"{'http' if plain_http else 'https'}://{registry}"


class Again(Exception):
    """The registry gave nothing this time; later it may."""

    def __init__(self, failure: SlipwayError, wait: float) -> None:
        super().__init__(failure.message)
        self.failure, self.wait = failure, wait


@dataclass(frozen=True)
class Served:
    """A manifest as the registry has it."""

    text: bytes
    digest: Digest


@dataclass(frozen=True)
class Repository:
    """Methods raise ``RegistryError`` and its kinds, ``RegistryDenied``, ``AddressRefused``, ``Stopped``."""

    client: Client
    base: str
    name: str
    credentials: Credentials
    actions: str = "pull"
    also: tuple[str, ...] = field(default=())
    """Other repositories of the registry that blobs may be mounted from."""

    @property
    def scopes(self) -> Scopes:
        others = (f"repository:{name}:pull" for name in self.also)
        return (f"repository:{self.name}:{self.actions}", *others)

    @property
    def host(self) -> str:
        return Origin.of(self.base).host

    # ------------------------------------------------------------------ manifests

    def find_digest(self, reference: Reference) -> Digest | None:
        """What the tag points to, if the registry says it without the manifest: no failure is raised."""
        try:
            answer = self.once("HEAD", self._manifest(reference), headers={"Accept": _ACCEPT})
        except (Broken, RegistryError, RegistryDenied):
            return None
        with answer:
            return _told_digest(answer) if answer.status == 200 else None

    def get_manifest(self, reference: Reference) -> Served:
        """Verified where the reference or the registry names a digest. Raise ``NoSuchManifest``."""
        return self.patiently(lambda: self._get_manifest(reference))

    def _get_manifest(self, reference: Reference) -> Served:
        with self._usable("GET", self._manifest(reference), {"Accept": _ACCEPT}, None) as answer:
            self._require(answer, reference)
            text = answer.text(_MAX_MANIFEST)
        wanted = reference.digest or _told_digest(answer)
        actual = Digest.of(text, wanted.algorithm if wanted else "sha256")
        if wanted is not None and actual != wanted:
            raise RegistryError(
                f"{self.host} served another manifest for {reference} than {wanted}: it hashes to {actual}",
                expected=str(wanted),
                actual=str(actual),
            )
        return Served(text, actual)

    def put_manifest(self, name: str, text: bytes, media_type: str) -> bool:
        """``name``: a tag or digest. Whether the registry lists it with the referrers of its subject."""
        path = self.path(f"manifests/{name}")
        with self.send("PUT", path, headers={"Content-Type": media_type}, body=text) as answer:
            if answer.status not in (200, 201):
                raise self.refusal(answer, f"the manifest of {self.name}:{name}")
            return "OCI-Subject" in answer.headers

    def _manifest(self, reference: Reference) -> str:
        return self.path(f"manifests/{reference.digest or reference.tag}")

    def _require(self, answer: Answer, reference: Reference) -> None:
        if answer.status == 404:
            raise NoSuchManifest(f"{self.host} has no {reference}", reference=str(reference))
        if answer.status != 200:
            raise self.refusal(answer, str(reference))

    # ------------------------------------------------------------------ blobs

    def find_blob(self, digest: Digest) -> int | None:
        """Its size, or None when the repository has no such blob."""
        with self.send("HEAD", self.path(f"blobs/{digest}")) as answer:
            if answer.status == 404:
                return None
            if answer.status != 200:
                raise self.refusal(answer, f"blob {digest}")
            return int(answer.headers.get("Content-Length") or 0)

    def open_blob(self, digest: Digest, offset: int = 0) -> Answer:
        """Its bytes from ``offset`` on (206), or from the beginning (200)."""
        return self.patiently(lambda: self._blob(digest, offset))

    def _blob(self, digest: Digest, offset: int) -> Answer:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        answer = self._usable("GET", self.path(f"blobs/{digest}"), headers, None)
        if answer.status not in (200, 206):
            with answer:
                raise self.refusal(answer, f"blob {digest}")
        return answer

    def get_blob(self, digest: Digest, limit: int) -> bytes:
        """A small one, verified."""
        data = self.patiently(lambda: self._blob(digest, 0).text(limit))
        actual = Digest.of(data, digest.algorithm)
        if actual != digest:
            raise RegistryError(f"{self.host} served other bytes for blob {digest}: they hash to {actual}")
        return data

    # ------------------------------------------------------------------ requests

    def path(self, rest: str) -> str:
        return f"{self.base}/v2/{quote(self.name)}/{rest}"

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | memoryview | None = None,
    ) -> Answer:
        """Try again while that may help: for what may be sent twice. The answer is never 401, 429 or 5xx."""
        return self.patiently(lambda: self._usable(method, url, headers or {}, body))

    def patiently(self, attempt: Callable[[], T]) -> T:
        """What ``attempt`` returns; it may raise ``Broken`` and ``Again`` for a while."""
        pauses = iter(self.client.patience.pauses)
        while True:
            try:
                return attempt()
            except Broken as error:
                failure: SlipwayError = self.unreachable(str(error))
                wait = 0.0
            except Again as error:
                failure, wait = error.failure, error.wait
            pause = next(pauses, None)
            if pause is None or wait > _LONGEST_WAIT:
                raise failure
            self.client.pause(max(pause, wait))

    def _usable(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | memoryview | None
    ) -> Answer:
        answer = self.once(method, url, headers=headers, body=body)
        if is_trouble(answer):
            raise trouble_of(self, answer)
        return answer

    def once(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | memoryview | None = None,
    ) -> Answer:
        """One attempt, let in. Raise ``Broken`` as well; a 401 is ``RegistryDenied``."""
        for attempt in itertools.count():
            known: dict[str, str] = {}

            def credentials(origin: Origin, known: dict[str, str] = known) -> Mapping[str, str]:
                found = self.credentials.headers(self.scopes, origin)
                known.update(found)
                return found

            answer = self.client.request(
                method, url, headers=headers or {}, credentials=credentials, body=body
            )
            if answer.status != 401:
                return answer
            with answer:
                header = answer.headers.get("WWW-Authenticate") or ""
                # Only the registry itself is answered, not whom it redirects to.
                is_ours = Origin.of(answer.url) == Origin.of(self.base)
                sent = known.get("Authorization")
                if (
                    not is_ours
                    or attempt >= _CHALLENGES
                    or not self.credentials.refused(header, self.scopes, sent)
                ):
                    raise self.refusal(answer, self.name)
        raise AssertionError("unreachable")

    def unreachable(self, why: str) -> RegistryUnreachable:
        return RegistryUnreachable(f"{self.host} cannot be reached: {why}", registry=self.host)

    def refusal(self, answer: Answer, what: str) -> SlipwayError:
        """What an answer that gives us nothing means."""
        code, complaint = _complaint(answer)
        said = f": {complaint}" if complaint else ""
        status = answer.status
        if status == 429 or code == "TOOMANYREQUESTS":
            return RegistryLimited(
                f"{self.host} gives no more for a while{said}", registry=self.host, status=status
            )
        if status in (401, 403):
            return RegistryDenied(
                f"{self.host} denies access to {what}, or there is no such thing{said}",
                registry=self.host,
                status=status,
            )
        if status >= 500:
            return RegistryUnreachable(
                f"{self.host} is out of order: it answered {status}{said}", registry=self.host, status=status
            )
        return RegistryError(
            f"{self.host} answered {status} about {what}{said}", registry=self.host, status=status, error=code
        )


def is_trouble(answer: Answer) -> bool:
    """Whether the same request may be answered otherwise later."""
    return answer.status == 429 or answer.status >= 500


def trouble_of(repository: Repository, answer: Answer) -> Again:
    return Again(repository.refusal(answer, repository.name), _retry_after(answer))


def _told_digest(answer: Answer) -> Digest | None:
    try:
        return Digest.parse(answer.headers.get("Docker-Content-Digest"))
    except InvalidDigest:
        return None


def _complaint(answer: Answer) -> tuple[str, str]:
    """Code and sentence of the error envelope, if there is one."""
    try:
        body = json.loads(answer.text(_MAX_COMPLAINT))
        error = body["errors"][0]
        code, message = str(error.get("code") or ""), str(error.get("message") or "")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RegistryError, Broken):
        return "", ""
    shown = "".join(character for character in message[:300] if character.isprintable())
    return code[:60], shown


def _retry_after(answer: Answer) -> float:
    text = answer.headers.get("Retry-After") or ""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0.0
