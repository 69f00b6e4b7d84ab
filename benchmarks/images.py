"""Archives that contestants are given to unpack."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path


def docker_save(target: Path, layers: Sequence[Path]) -> Path:
    """An image of these layers, as `docker save` writes it."""
    digests = [_sha256(layer) for layer in layers]
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["bash"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        }
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    paths = [f"{digest}/layer.tar" for digest in digests]
    manifest = [{"Config": name, "RepoTags": ["bench/debian:1"], "Layers": paths}]
    with tarfile.open(target, "w") as tar:
        _add(tar, name, config)
        _add(tar, "manifest.json", json.dumps(manifest).encode())
        for path, layer in zip(paths, layers, strict=True):
            tar.add(layer, path)
    return target


def tiny(target: Path) -> Path:
    """A layer of one file."""
    with tarfile.open(target, "w") as tar:
        _add(tar, "file", b"x")
    return target


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
