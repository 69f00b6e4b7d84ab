"""Images a build reads: from the project's own list, the library, what was pulled for all, or pulled now.

Every image is looked up once per build. What comes from another scope than the build's is granted to the
build's when the result is (the result's layers are what its own scope is granted).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from workers.engine import images
from workers.engine.build.graph import ResolvedImage
from workers.engine.build.steps import ImageRoot
from workers.engine.images import Image, ImageStore
from workers.errors import InvalidReference, NodeError, NoSuchImage, NoSuchManifest, RegistryError
from workers.messages import LayerFacts
from workers.oci.descriptor import Platform
from workers.oci.manifest import Manifest, fits, parse_manifest
from workers.oci.reference import Reference

Pull = Callable[[str, str], Image]
"""(reference in full, platform) -> the image, granted to the build's scope. Raises what went wrong."""

_IMAGE_ID = re.compile(r"(?:sha256:)?([0-9a-f]{12,64})")


@dataclass(frozen=True)
class Scope:
    """A list of images a base may come from."""

    id: str
    names: Mapping[str, str]
    """Familiar reference to image id."""


@dataclass(frozen=True)
class Base:
    name: str
    image: Image
    layers: tuple[LayerFacts, ...]
    media_types: tuple[str, ...]


def scope_of(project: str) -> str:
    """The list of what was pulled for a project's builds: nobody sees it as their images."""
    return f"builds-{project}"


class Bases:
    """Of one build; safe to share between threads."""

    def __init__(
        self, store: ImageStore, scopes: Sequence[Scope], pull: Pull, *, always: bool = False
    ) -> None:
        self._store, self._scopes, self._pull, self._always = store, scopes, pull, always
        self._known: dict[tuple[str, str], Base] = {}
        self._lock = threading.Lock()

    def resolve(self, reference: str, platform: str) -> ResolvedImage:
        """For the plan. Raise ``InvalidReference``, ``NoSuchImage``, or why a pull failed."""
        base = self._find(reference, platform)
        return ResolvedImage(base.image.image_id, base.image.config_text)

    def image(self, root: ImageRoot) -> Base:
        return self._find(root.reference, root.platform)

    def found(self, reference: str, platform: str, pull: Pull) -> Image:
        """For a cache: asked for at its registry first, by ``pull``, and no material of the build."""
        parsed = Reference.parse(reference)
        try:
            return pull(str(parsed), platform)
        except (NoSuchImage, RegistryError, NoSuchManifest):
            here = self._here(parsed, platform)
            if here is None:
                raise
            return here

    def times(self, root: ImageRoot) -> tuple[str, ...]:
        """When each entry of the image's history was made; empty texts where it does not say."""
        config = self._find(root.reference, root.platform).image.config
        return tuple(entry.created or config.created for entry in config.history)

    @property
    def used(self) -> dict[str, Base]:
        with self._lock:
            return {base.name: base for base in self._known.values()}

    def _find(self, reference: str, platform: str) -> Base:
        with self._lock:
            known = self._known.get((reference, platform))
            if known is None:
                image = self._look_up(reference, platform)
                self._require_layers(image, reference)
                known = Base(reference, image, image.layers, _media_types(image))
                self._known[reference, platform] = known
            return known

    def _require_layers(self, image: Image, reference: str) -> None:
        """A node that was restored without its layers has images it cannot use."""
        for layer in image.layers:
            if not self._store.places.layer(layer.diff_id).is_dir():
                raise NodeError(
                    f"{reference}: layer {layer.diff_id} is not on this node; import or pull the image again",
                    layer=layer.diff_id,
                )

    def _look_up(self, reference: str, platform: str) -> Image:
        by_id = self._by_id(reference)
        if by_id is not None:
            return by_id
        parsed = Reference.parse(reference)
        found = None if self._always else self._here(parsed, platform)
        if found is not None:
            return found
        try:
            return self._pull(str(parsed), platform)
        except NoSuchImage:
            here = self._here(parsed, platform)
            if here is None:
                raise
            return here  # asked to look for a newer one, and nobody upstream has it

    def _here(self, reference: Reference, platform: str) -> Image | None:
        """By its name in a scope, or by the digest of a manifest some scope was granted."""
        wanted = Platform.of(platform)
        for scope in self._scopes:
            image_id = scope.names.get(reference.familiar)
            image = None
            if image_id is not None:
                image = images.get(self._store, scope.id, image_id)
            elif reference.digest is not None:
                image = images.find(self._store, scope.id, str(reference.digest), wanted)
            if image is not None and fits(image.config.platform, wanted):
                return image
        return None

    def _by_id(self, reference: str) -> Image | None:
        match = _IMAGE_ID.fullmatch(reference)
        if match is None:
            return None
        for scope in self._scopes:
            for image_id in images.image_ids(self._store, scope.id):
                if image_id.partition(":")[2].startswith(match[1]):
                    return images.get(self._store, scope.id, image_id)
        if reference.startswith("sha256:"):
            raise InvalidReference(f"No image has the id {reference}", reference=reference)
        return None


def _media_types(image: Image) -> tuple[str, ...]:
    manifest = parse_manifest(image.manifest.encode())
    assert isinstance(manifest, Manifest)  # noqa: S101 - an image's
    return tuple(layer.media_type for layer in manifest.layers)
