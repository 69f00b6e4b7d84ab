"""A registry's client without a network: it speaks ASGI, and pushes what tests need."""

from __future__ import annotations

import asyncio
import hashlib
import json
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote

from asgiref.sync import async_to_sync, sync_to_async

from workers.oci.descriptor import OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST

HOST = "testserver"
T = TypeVar("T")


async def in_this_thread(function: Callable[[], T], *, writes: bool = False, together: bool = False) -> T:
    """The database is used where the test uses it, within its transaction."""
    return await sync_to_async(function)()


async def nothing_else(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError(f"not the registry's: {scope['path']}")


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Of the first error."""
        return str(self.json["errors"][0]["code"])


class RegistryClient:
    """Comes with Basic if it has a password, else with a bearer token if it has one."""

    def __init__(self, registry: Any, user: str = "", password: str = "", bearer: str = "") -> None:
        self.registry = registry
        self.user, self.password, self.bearer = user, password, bearer

    def call(
        self,
        method: str,
        address: str,
        body: bytes | Sequence[bytes] = b"",
        *,
        breaks_off: bool = False,
        **headers: str,
    ) -> Reply:
        """``body`` as a list goes in such pieces, without a length; ``breaks_off`` after it."""
        path, _, query = address.partition("?")
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        given = {"host": HOST, **self._authorization(), **given}
        if isinstance(body, bytes):
            given.setdefault("content-length", str(len(body)))
        else:
            given.setdefault("transfer-encoding", "chunked")
        scope = {
            "type": "http",
            "method": method,
            "path": unquote(path),
            "query_string": query.encode(),
            "scheme": "http",
            "client": ("192.0.2.9", 1234),
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
        }
        return Exchange(
            self.registry, scope, [body] if isinstance(body, bytes) else list(body), breaks_off
        ).run()

    def _authorization(self) -> dict[str, str]:
        if self.password:
            return {"authorization": f"Basic {b64encode(f'{self.user}:{self.password}'.encode()).decode()}"}
        return {"authorization": f"Bearer {self.bearer}"} if self.bearer else {}

    def nobody(self) -> RegistryClient:
        """The same, without a name."""
        return type(self)(self.registry)

    # ----------------------------------------------------------------------- what most tests begin with

    def sign_in(self, *scopes: str) -> RegistryClient:
        """The same, with a bearer token for ``scopes``."""
        query = "&".join(f"scope={scope}" for scope in scopes)
        return RegistryClient(self.registry, bearer=self.call("GET", f"/auth/token?{query}").json["token"])

    def push_blob(self, path: str, data: bytes) -> str:
        digest = digest_of(data)
        reply = self.call("POST", f"/v2/{path}/blobs/uploads/?digest={digest}", data)
        assert reply.status == 201, reply
        return digest

    def push_image(self, path: str, reference: str | None, *layers: bytes, **more: Any) -> str:
        """Config, layers and manifest; the manifest's digest."""
        config = json.dumps({"architecture": "amd64", "os": "linux", "layers": len(layers)}).encode()
        for data in (config, *layers):
            self.push_blob(path, data)
        manifest = image_manifest(config, *layers, **more)
        self.put_manifest(path, reference or digest_of(manifest), manifest)
        return digest_of(manifest)

    def put_manifest(self, path: str, reference: str, manifest: bytes) -> Reply:
        kind = json.loads(manifest)["mediaType"]
        reply = self.call("PUT", f"/v2/{path}/manifests/{reference}", manifest, content_type=kind)
        assert reply.status == 201, reply
        return reply


class Exchange:
    """One request and its reply."""

    def __init__(self, registry: Any, scope: Any, body: list[bytes], breaks_off: bool) -> None:
        self.registry, self.scope = registry, scope
        self.body, self.breaks_off = body, breaks_off
        self.status = 0
        self.headers: dict[str, str] = {}
        self.received = b""

    def run(self) -> Reply:
        async_to_sync(self._exchange)()
        return Reply(self.status, self.headers, self.received)

    async def _exchange(self) -> None:
        await self.registry(self.scope, self._receive, self._send)

    async def _receive(self) -> Any:
        if not self.body:
            if not self.breaks_off:
                await asyncio.Event().wait()  # the connection stays
            return {"type": "http.disconnect"}
        data = self.body.pop(0)
        return {"type": "http.request", "body": data, "more_body": bool(self.body) or self.breaks_off}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.received += message.get("body", b"")


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def descriptor(data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}


def image_manifest(config: bytes, *layers: bytes, **more: Any) -> bytes:
    body = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config, OCI_CONFIG),
        "layers": [descriptor(layer, OCI_LAYER_GZIP) for layer in layers],
        **more,
    }
    return json.dumps(body).encode()


def image_index(*manifests: dict[str, Any], **more: Any) -> bytes:
    body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(manifests), **more}
    return json.dumps(body).encode()
