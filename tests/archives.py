"""Builders of tars and image archives, good ones and evil ones."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

DIRECTORY, SYMLINK, LINK, FIFO = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE
CHARACTER, BLOCK = tarfile.CHRTYPE, tarfile.BLKTYPE


@dataclass(frozen=True)
class E:
    """An entry of a tar; a file when nothing else is said."""

    name: str
    data: bytes = b""
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    xattrs: dict[str, bytes] = field(default_factory=dict)
    device: tuple[int, int] = (0, 0)


def tar(entries: Iterable[E], *, end: bool = True) -> bytes:
    out = io.BytesIO()
    archive = tarfile.TarFile(fileobj=out, mode="w", format=tarfile.PAX_FORMAT)
    for entry in entries:
        info = tarfile.TarInfo(entry.name)
        info.type, info.linkname, info.size = entry.kind, entry.link, len(entry.data)
        info.mode, info.uid, info.gid = entry.mode, entry.uid, entry.gid
        info.devmajor, info.devminor = entry.device
        info.pax_headers = {
            f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape")
            for name, value in entry.xattrs.items()
        }
        archive.addfile(info, io.BytesIO(entry.data))
    size = out.tell()
    archive.close()
    return out.getvalue() if end else out.getvalue()[:size]


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def config(diff_ids: Sequence[str], **run: object) -> bytes:
    return json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": run,
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
            "history": [{"created_by": f"step {n}"} for n, _ in enumerate(diff_ids)],
        }
    ).encode()


def docker_save(
    layers: Sequence[bytes], *, text: bytes | None = None, names: Sequence[str] = ("team/web:1",)
) -> bytes:
    """As `docker save` before version 25 wrote it."""
    text = text if text is not None else config([sha256(layer) for layer in layers])
    name = sha256(text)[7:] + ".json"
    paths = [f"{number:064x}/layer.tar" for number in range(1, len(layers) + 1)]
    manifest = [{"Config": name, "RepoTags": list(names), "Layers": paths}]
    files = [*zip(paths, layers, strict=True), (name, text), ("manifest.json", json.dumps(manifest).encode())]
    return tar(E(path, data) for path, data in files)


def descriptor(media_type: str, data: bytes, **more: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data), **more}


MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def manifest(text: bytes, blobs: Sequence[bytes], media_type: str = LAYER) -> bytes:
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, text),
            "layers": [descriptor(media_type, blob) for blob in blobs],
        }
    ).encode()


def oci_layout(entries: Sequence[dict[str, object]], blobs: Iterable[bytes]) -> bytes:
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)}
    files = [
        ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
        ("index.json", json.dumps(index).encode()),
        *((f"blobs/sha256/{sha256(blob)[7:]}", blob) for blob in blobs),
    ]
    return tar(E(path, data) for path, data in files)


def oci_image(
    layers: Sequence[bytes],
    *,
    blobs: Sequence[bytes] | None = None,
    text: bytes | None = None,
    name: str = "docker.io/library/web:2",
) -> bytes:
    """One image in OCI's layout; ``blobs`` are the layers as stored, if that differs."""
    blobs = blobs if blobs is not None else layers
    text = text if text is not None else config([sha256(layer) for layer in layers])
    document = manifest(text, blobs)
    entry = descriptor(MANIFEST, document, annotations={"io.containerd.image.name": name})
    return oci_layout([entry], [document, text, *blobs])
