"""Pushes as the services see them."""

from __future__ import annotations

from slipway.accounts.actors import Actor
from slipway.blobs.store import BlobStore
from slipway.projects import ledger
from slipway.projects.models import Project, Resource
from slipway.repositories import manifests, uploads
from slipway.repositories.access import Access
from slipway.repositories.models import Blob, Manifest
from tests.factories import make_actor
from tests.registry_client import digest_of, image_manifest
from workers.oci.digest import Digest


class Pusher:
    """A developer of ``project``."""

    def __init__(self, project: Project, store: BlobStore, actor: Actor | None = None) -> None:
        self.project, self.store = project, store
        self.actor = actor or make_actor(project.team)

    @property
    def access(self) -> Access:
        return Access.of(self.actor.fresh())

    def path(self, name: str) -> str:
        return f"{self.project.path}/{name}"

    def blob(self, name: str, data: bytes) -> Blob:
        upload = uploads.start(self.access, self.path(name), len(data))
        with self.store.append(upload.hex, 0) as file:
            file.write(data)
        digest = Digest.of(data)
        key = self.store.keep(upload.hex, digest, len(data))
        return uploads.finish(upload, digest, len(data), key, self.store)

    def image(self, name: str, tag: str | None, *layers: bytes, config: bytes = b"{}") -> Manifest:
        for data in (config, *layers):
            self.blob(name, data)
        return self.manifest(name, tag, image_manifest(config, *layers))

    def manifest(self, name: str, tag: str | None, text: bytes) -> Manifest:
        return manifests.put_manifest(self.access, self.path(name), tag or digest_of(text), text)

    def held(self) -> int:
        """Of the project's quota."""
        return ledger.used(self.project.pk).get(Resource.REGISTRY, 0)
