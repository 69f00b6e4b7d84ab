"""Directories of tests/golden/builds: a context, and what must be so when it has been built.

``context/`` is the build context, ``contexts/NAME/`` are named ones; ``expect.json`` may hold:

- ``reference``: the sections of BuildKit's Dockerfile reference that its Dockerfile is about, as
  ``features.sections`` finds them
- ``about``: what it is for, in words; ``network``: it takes packages from the network
- ``options``: fields of ``BuildOptions``; a context ``@NAME`` is that directory, a secret ``@ca`` this
  machine's certificates
- ``repository``: files of a git repository behind ``$REPOSITORY``, tagged ``v1``; a secret ``@ssh`` is a key
- ``archives``, ``served``, ``served_archives``: files to put into the context, or behind ``$SERVER``
- ``config``: members of the image's config (of labels, those named)
- ``author``, ``created``; ``layers``: how many
- ``files``: path to ``text``, ``has`` (words in it), ``mode``, ``owner``, ``link``, ``kind``
- ``absent``: paths
- ``steps``: part of a step's name to its state; ``log``: words that were printed
- ``warnings``: checks that found something
- ``run``: commands (null: the image's own), with ``output`` lines, ``without`` words
- ``hidden``: text that must be nowhere; ``reproducible``: the same digest from a cold cache
- ``fails``: ``code``, ``line``, ``message`` of the error
"""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.environment import ROOT

GOLDEN = ROOT / "tests" / "golden" / "builds"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_MTIME = 1_600_000_000


@dataclass(frozen=True)
class Real:
    directory: Path
    expect: dict[str, Any]

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def network(self) -> bool:
        return bool(self.expect.get("network"))

    def dockerfile(self) -> str:
        name = self.expect.get("options", {}).get("dockerfile", "Dockerfile")
        return (self.directory / "context" / name).read_text()

    def context(self) -> bytes:
        archives = {name: _gzipped(files) for name, files in self.expect.get("archives", {}).items()}
        return _tar(self.directory / "context", archives)

    def named(self, name: str) -> bytes:
        return _tar(self.directory / "contexts" / name, {})

    def served(self) -> dict[str, bytes]:
        plain = {name: text.encode() for name, text in self.expect.get("served", {}).items()}
        archives = self.expect.get("served_archives", {})
        return plain | {name: _gzipped(files) for name, files in archives.items()}


def every() -> list[Real]:
    found = sorted(GOLDEN.glob("*/expect.json"))
    return [Real(path.parent, json.loads(path.read_text())) for path in found]


def _tar(directory: Path, more: dict[str, bytes]) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(directory.rglob("*")):
            entry = tar.gettarinfo(path, str(path.relative_to(directory)))
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = _MTIME
            entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
            with path.open("rb") if entry.isfile() else io.BytesIO() as file:
                tar.addfile(entry, file if entry.isfile() else None)
        for name, data in more.items():
            _add(tar, name, data)
    return output.getvalue()


def _gzipped(files: dict[str, str]) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w:gz") as tar:
        for name, text in files.items():
            _add(tar, name, text.encode())
    return output.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = len(data), _MTIME, 0o644
    tar.addfile(entry, io.BytesIO(data))
