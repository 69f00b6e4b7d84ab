"""The two ways an image lies in an archive: OCI's layout, and `docker save`'s own."""

from __future__ import annotations

import json
import platform as machine
import re
from dataclasses import dataclass
from typing import Any

from workers.engine.archives import Files, Part
from workers.engine.kernel import MAX_LOWERS
from workers.errors import DigestMismatch, InvalidArchive, InvalidManifest
from workers.oci.config import ImageConfig, parse_config
from workers.oci.descriptor import Descriptor, Platform, parse_document
from workers.oci.digest import Digest
from workers.oci.manifest import Index, Manifest, choose, parse_manifest, require_image

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_MAX_DEPTH = 3
_BARE_HEX = re.compile(r"([0-9a-f]{64})(\.json)?")


@dataclass(frozen=True)
class LayerFile:
    part: Part
    expected: Digest | None
    """None where the archive does not say what the bytes hash to."""


@dataclass(frozen=True)
class ImageFiles:
    """One image: what it says about itself, still unverified but for the digests of its documents."""

    config_text: bytes
    config: ImageConfig
    image_id: Digest
    manifest: bytes | None
    """None where the archive has none."""
    layers: tuple[LayerFile, ...]
    names: tuple[str, ...]
    """As the archive has them."""


def host_platform() -> Platform:
    name = machine.machine()
    return Platform("linux", _ARCHITECTURES.get(name, name))


def read_images(files: Files, wanted: Platform) -> tuple[ImageFiles, ...]:
    """The images in the archive, at least one; of several for different platforms that for ``wanted``.

    Raise ``InvalidArchive`` when there is none, ``InvalidManifest`` and ``DigestMismatch`` for documents
    that are wrong.
    """
    images = _oci(files, wanted) if "index.json" in files else _docker(files)
    for image in images:
        _require_runnable(image)
    return images


def _require_runnable(image: ImageFiles) -> None:
    if len(image.layers) > MAX_LOWERS:
        raise InvalidManifest(
            f"The image has {len(image.layers)} layers; at most {MAX_LOWERS} can be mounted"
        )
    if len(image.layers) != len(image.config.diff_ids):
        raise InvalidManifest(
            f"The image has {len(image.layers)} layers, "
            f"but its config lists {len(image.config.diff_ids)} diff_ids"
        )
    if image.config.platform.os != "linux":
        raise InvalidManifest(f"The image is for {image.config.platform}; only Linux images run here")


# --------------------------------------------------------------------------- OCI


def _oci(files: Files, wanted: Platform) -> tuple[ImageFiles, ...]:
    version = parse_document(files.read("oci-layout"), "oci-layout").get("imageLayoutVersion")
    if version != "1.0.0":
        raise InvalidArchive(f"The OCI layout has version {version!r}; 1.0.0 was expected")
    index = parse_manifest(files.read("index.json"))
    if not isinstance(index, Index):
        raise InvalidManifest("index.json is no index")
    return tuple(_oci_image(files, chosen, names, wanted) for chosen, names in _chosen(index, wanted))


def _oci_image(files: Files, descriptor: Descriptor, names: tuple[str, ...], wanted: Platform) -> ImageFiles:
    text, manifest = _manifest(files, descriptor, wanted)
    require_image(manifest)
    config_text = _blob(files, manifest.config, "config")
    return ImageFiles(
        config_text,
        parse_config(config_text),
        manifest.config.digest,
        text,
        tuple(_layer(files, each, position) for position, each in enumerate(manifest.layers)),
        names or _docker_names(files, manifest.config.digest),
    )


def _chosen(index: Index, wanted: Platform) -> list[tuple[Descriptor, tuple[str, ...]]]:
    """Entries of one name are one image's, for different platforms; one image may have many names."""
    groups: dict[str, list[Descriptor]] = {}
    for each in index.manifests:
        groups.setdefault(_name_of(each), []).append(each)
    found: dict[Digest, tuple[Descriptor, list[str]]] = {}
    for name, entries in groups.items():
        distinct = list({each.digest: each for each in entries}.values())
        if len(distinct) > 1 and any(each.platform is not None for each in distinct):
            distinct = [choose(Index(index.media_type, tuple(distinct)), wanted)]
        for each in distinct:
            names = found.setdefault(each.digest, (each, []))[1]
            names += [name] if name else []
    if not found:
        raise InvalidArchive("The archive's index.json lists no image")
    return [(descriptor, tuple(names)) for descriptor, names in found.values()]


def _name_of(descriptor: Descriptor) -> str:
    """containerd's name is whole; OCI's may be a bare tag, which names nothing by itself."""
    full = descriptor.annotations.get("io.containerd.image.name", "")
    reference = descriptor.annotations.get("org.opencontainers.image.ref.name", "")
    return full or (reference if "/" in reference or ":" in reference else "")


def _manifest(files: Files, descriptor: Descriptor, wanted: Platform) -> tuple[bytes, Manifest]:
    for _ in range(_MAX_DEPTH):
        text = _blob(files, descriptor, "manifest")
        document = parse_manifest(text)
        if isinstance(document, Manifest):
            return text, document
        descriptor = choose(document, wanted)
    raise InvalidManifest(f"Indexes are nested more than {_MAX_DEPTH} deep")


def _blob(files: Files, descriptor: Descriptor, what: str) -> bytes:
    data = files.read(_path(descriptor.digest))
    actual = Digest.of(data, descriptor.digest.algorithm)
    if actual != descriptor.digest:
        raise DigestMismatch(
            f"The {what} {descriptor.digest} has other bytes than its digest says: they hash to {actual}",
            expected=str(descriptor.digest),
            actual=str(actual),
        )
    return data


def _layer(files: Files, descriptor: Descriptor, position: int) -> LayerFile:
    part = files.get(_path(descriptor.digest))
    if part.size != descriptor.size:
        raise InvalidArchive(
            f"Layer {position} ({descriptor.digest}) has {part.size} bytes, "
            f"not {descriptor.size} as the manifest says",
            layer=str(descriptor.digest),
        )
    return LayerFile(part, descriptor.digest)


def _path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


# --------------------------------------------------------------------------- docker save


def _docker(files: Files) -> tuple[ImageFiles, ...]:
    entries = _docker_entries(files)
    if not entries:
        raise InvalidArchive("The archive's manifest.json lists no image")
    names: dict[str, list[str]] = {}
    for entry in entries:
        names.setdefault(entry["Config"], []).extend(entry["RepoTags"])
    images = {entry["Config"]: entry["Layers"] for entry in entries}
    return tuple(_docker_image(files, config, layers, names[config]) for config, layers in images.items())


def _docker_image(files: Files, config_name: str, layer_names: list[str], names: list[str]) -> ImageFiles:
    config_text = files.read(config_name)
    image_id = Digest.of(config_text)
    named = _BARE_HEX.fullmatch(config_name.rpartition("/")[2])
    if named is not None and named[1] != image_id.hex:
        raise DigestMismatch(
            f"The config {config_name} has other bytes than its name says: they hash to {image_id}",
            expected=f"sha256:{named[1]}",
            actual=str(image_id),
        )
    layers = tuple(LayerFile(files.get(name), _digest_in(name)) for name in layer_names)
    return ImageFiles(config_text, parse_config(config_text), image_id, None, layers, tuple(names))


def _docker_entries(files: Files) -> list[dict[str, Any]]:
    try:
        entries = json.loads(files.read("manifest.json"))
        return [
            {
                "Config": _text(entry["Config"]),
                "Layers": [_text(each) for each in entry["Layers"]],
                "RepoTags": [_text(each) for each in entry.get("RepoTags") or ()],
            }
            for entry in entries
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InvalidManifest(f"manifest.json is not as `docker save` writes it: {error!r}") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _digest_in(name: str) -> Digest | None:
    """Newer archives keep layers as blobs under their digest."""
    directory, _, digits = name.rpartition("/")
    return Digest.parse(f"sha256:{digits}") if directory == "blobs/sha256" else None


def _docker_names(files: Files, image_id: Digest) -> tuple[str, ...]:
    """`docker save` writes both layouts, and the names sometimes into its own only."""
    if "manifest.json" not in files:
        return ()
    entries = _docker_entries(files)
    return tuple(name for entry in entries if image_id.hex in entry["Config"] for name in entry["RepoTags"])
