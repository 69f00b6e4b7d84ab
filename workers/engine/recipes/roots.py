"""Root filesystems from nothing: the static busybox, and Debian's smallest system.

``bake`` writes an archive as `docker save` does, so that an image of ours takes the same way in as
anybody's.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import selectors
import shutil
import struct
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, BinaryIO, cast

from workers.content import full_disk, no_space
from workers.engine.aptsources import release_numbers, release_of, source_texts, sources_for
from workers.engine.layouts import host_platform
from workers.errors import InvalidSpec, NodeError, NoSpace

Progress = Callable[[str, int, int], None]
Say = Callable[[str], None]


def _nobody(line: str) -> None:
    """Nobody wants to know."""


_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BLOCK = 512
SILENCE = 0.5
"""Seconds between two reports of a program that says nothing."""
_PT_INTERP = 3


@dataclass(frozen=True)
class Root:
    title: str
    command: tuple[str, ...]
    created_by: str
    write: Callable[[_HashingWriter, Progress, Say], tuple[str, ...]]
    """Write the root filesystem as a tar, and answer its version's names, the most exact one first; raise
    ``NodeError`` saying what the node lacks."""


def bake(recipe: str, target: BinaryIO, progress: Progress, say: Say = _nobody) -> tuple[str, ...]:
    """Write the archive of a base image to ``target``, a file that can seek; the tags its version has.

    What the programs at work print goes to ``say``, line by line.

    Raise ``InvalidSpec`` for an unknown recipe, ``NodeError`` when a tool is missing or fails,
    ``NoSpace`` when there is no room for the image.
    """
    if recipe not in ROOTS:
        raise InvalidSpec(f"There is no recipe {recipe[:60]!r}; there are {', '.join(sorted(ROOTS))}")
    try:
        with full_disk(Path(f"/proc/self/fd/{target.fileno()}").readlink()):
            tags = _write(ROOTS[recipe], target, progress, say)
            target.flush()
            return tags
    except NoSpace:
        os.ftruncate(target.fileno(), 0)  # or closing would fail on what is still buffered
        raise


def _write(chosen: Root, target: BinaryIO, progress: Progress, say: Say) -> tuple[str, ...]:
    start = target.tell()
    target.write(bytes(_BLOCK))  # the layer's header: its size is known last
    layer = _HashingWriter(target)
    tags = chosen.write(layer, progress, say)
    target.write(bytes(-layer.size % _BLOCK))
    target.seek(start)
    target.write(_member("layer.tar", layer.size))
    target.seek(0, io.SEEK_END)
    config = _config(chosen, f"sha256:{layer.hash.hexdigest()}", tags)
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": None, "Layers": ["layer.tar"]}]).encode()
    files = ((name, config), ("manifest.json", manifest))
    target.writelines(_member(file, len(data)) + data + bytes(-len(data) % _BLOCK) for file, data in files)
    target.write(bytes(2 * _BLOCK))
    return tags


class _HashingWriter:
    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._target.write(data)
        self.hash.update(data)
        self.size += len(data)
        return len(data)


def _member(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def _today() -> datetime:
    """When images made today were made: the same packages on one day give the same bytes."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _config(recipe: Root, diff_id: str, tags: tuple[str, ...]) -> bytes:
    created = _today().isoformat(timespec="seconds").replace("+00:00", "Z")
    platform = host_platform()
    body = {
        "created": created,
        "architecture": platform.architecture,
        "os": platform.os,
        "config": {
            "Env": [_PATH],
            "Cmd": list(recipe.command),
            "Labels": {
                "org.opencontainers.image.title": recipe.title,
                "org.opencontainers.image.version": tags[0],
                "org.opencontainers.image.created": created,
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": created, "created_by": recipe.created_by}],
    }
    return json.dumps(body, separators=(",", ":")).encode()


# --------------------------------------------------------------------------- busybox

_ETC = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    "etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/hosts": "127.0.0.1\tlocalhost\n",
}
_DIRECTORIES = {
    "bin": 0o755, "dev": 0o755, "etc": 0o755, "home": 0o755, "proc": 0o555, "root": 0o700, "run": 0o755,
    "sys": 0o555, "tmp": 0o1777, "usr": 0o755, "usr/bin": 0o755, "usr/sbin": 0o755, "sbin": 0o755,
    "var": 0o755, "var/tmp": 0o1777,
}  # fmt: skip


def _busybox(target: _HashingWriter, progress: Progress, say: Say) -> tuple[str, ...]:
    program = shutil.which("busybox")
    if program is None:
        raise NodeError("busybox is missing on this node: apt-get install busybox-static")
    data = Path(program).read_bytes()
    if _is_dynamic(data):
        raise NodeError(f"{program} needs shared libraries: apt-get install busybox-static")
    progress("Linking the applets of busybox", 0, len(data))
    say(f"Linking the applets of {program}")
    listing = subprocess.run([program, "--list"], capture_output=True, text=True, check=False)
    applets = [name for name in listing.stdout.split() if name != "busybox"]
    if listing.returncode != 0 or "sh" not in applets:
        raise NodeError(f"{program} --list named no shell: {listing.stderr.strip()[:200]}")
    with tarfile.open(fileobj=cast(IO[bytes], target), mode="w|", format=tarfile.GNU_FORMAT) as tar:
        for name, mode in _DIRECTORIES.items():
            tar.addfile(_entry(name, tarfile.DIRTYPE, mode))
        for name, text in _ETC.items():
            tar.addfile(_entry(name, tarfile.REGTYPE, 0o644, len(text)), io.BytesIO(text.encode()))
        tar.addfile(_entry("bin/busybox", tarfile.REGTYPE, 0o755, len(data)), io.BytesIO(data))
        for applet in applets:
            link = _entry(f"bin/{applet}", tarfile.LNKTYPE, 0o755)
            link.linkname = "bin/busybox"
            tar.addfile(link)
    progress(f"Linked {len(applets)} applets", len(data), len(data))
    return busybox_tags(subprocess.run([program], capture_output=True, text=True, check=False).stdout)


def busybox_tags(help_text: str) -> tuple[str, ...]:
    """``1.35.0``, ``1.35`` and ``1`` of ``BusyBox v1.35.0 (Debian …``; raise ``NodeError``."""
    match = re.match(r"BusyBox v(\d+)\.(\d+)\.(\d+)", help_text)
    if match is None:
        raise NodeError(f"busybox does not tell its version: {help_text[:80]!r}")
    numbers = match.groups()
    return tuple(".".join(numbers[:count]) for count in (3, 2, 1))


def _entry(name: str, kind: bytes, mode: int, size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size = kind, mode, size
    return info


def _is_dynamic(program: bytes) -> bool:
    """Whether an ELF file asks for a dynamic loader, which a root filesystem of its own would lack."""
    if program[:4] != b"\x7fELF":
        return True
    wide, order = program[4] == 2, "<" if program[5] == 1 else ">"
    at = struct.unpack_from(order + ("Q" if wide else "I"), program, 32 if wide else 28)[0]
    size, count = struct.unpack_from(order + "HH", program, 54 if wide else 42)
    kinds = (struct.unpack_from(order + "I", program, at + size * n)[0] for n in range(count))
    return _PT_INTERP in kinds


# --------------------------------------------------------------------------- debian

_MMDEBSTRAP = (
    "mmdebstrap", "--verbose", "--mode=root", "--format=tar", "--variant=minbase", "--skip=output/dev",
    "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    '--aptopt=Acquire::Languages "none"',
    # Both were copied from the node; a container gets its own.
    "--customize-hook=rm -f \"$1/etc/hostname\"; : > \"$1/etc/resolv.conf\"",
)  # fmt: skip


_STEPS = tuple(
    f"I: {step}"
    for step in ("running apt-get", "downloading", "extracting", "installing", "cleaning", "creating")
)
"""What of its words on stderr is worth a person's time."""


def _debian(target: _HashingWriter, progress: Progress, say: Say) -> tuple[str, ...]:
    os_release = Path("/etc/os-release").read_text()
    release = release_of(os_release)
    if shutil.which("mmdebstrap") is None:
        raise NodeError("mmdebstrap is missing on this node: apt-get install mmdebstrap")
    sources = sources_for(release, source_texts(Path("/etc/apt")))
    # mmdebstrap's workspace must be open to apt's unprivileged user, and needs the room of a system.
    epoch = str(int(_today().timestamp()))
    environment = {**os.environ, "TMPDIR": "/var/tmp", "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": epoch}  # noqa: S108 - by design
    with tempfile.NamedTemporaryFile("w", suffix=".sources") as file:
        file.write(sources)
        file.flush()
        process = subprocess.Popen(
            [*_MMDEBSTRAP, release, "-", file.name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        try:
            complaints = _relay(process, target, progress, say)
        finally:
            if process.poll() is None:
                process.terminate()  # it removes its workspace then
            status = process.wait()
    if any("No space left" in line for line in complaints):
        raise no_space(Path(environment["TMPDIR"]))
    if status != 0:
        raise NodeError(
            f"mmdebstrap failed for Debian {release}: {' '.join(complaints)[-600:] or f'status {status}'}",
            release=release,
        )
    return (release, *release_numbers(os_release))


def _relay(
    process: subprocess.Popen[bytes], target: _HashingWriter, progress: Progress, say: Say
) -> list[str]:
    """Take the archive and report the steps until the process closes both; its errors and warnings."""
    output, steps = cast(IO[bytes], process.stdout), cast(IO[bytes], process.stderr)
    complaints: list[str] = []
    step, rest = "Making the system", b""
    with selectors.DefaultSelector() as selector, output, steps:
        selector.register(output, selectors.EVENT_READ)
        selector.register(steps, selectors.EVENT_READ)
        while selector.get_map():
            # With a limit, so that a report comes, and can end the work, however silent the program is.
            progress(step, target.size, 0)
            for key, _ in selector.select(SILENCE):
                data = os.read(key.fd, 1 << 16)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.fileobj is output:
                    target.write(data)
                else:
                    *lines, rest = (rest + data).split(b"\n")
                    for line in (each.decode(errors="replace").strip() for each in lines):
                        say(line)
                        if line.startswith(_STEPS):
                            step = line.removeprefix("I: ").rstrip(".").capitalize()
                            progress(step, target.size, 0)
                        elif line.startswith(("E: ", "W: ", "Err:")):
                            complaints.append(line)
    return complaints


ROOTS: dict[str, Root] = {
    "busybox": Root("BusyBox", ("sh",), "Debian's busybox-static", _busybox),
    "debian": Root("Debian", ("bash",), "mmdebstrap --variant=minbase", _debian),
}
