"""Docker and podman from Debian's packages, each with directories of its own and gone afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

DAEMON_SECONDS = 60.0
IMAGE = "bench/busybox:latest"
IPTABLES = {"filter", "nat", "mangle", "raw"}
"""Tables of nftables that iptables makes on behalf of both."""
BRIDGES = ("docker", "podman", "cni-podman")


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def extract_rootfs(archive: Path, rootfs: Path) -> None:
    """Take the one layer out of a `docker save` archive: a plain tar of the root file system."""
    with tarfile.open(archive) as source:
        (image,) = json.load(_member(source, "manifest.json"))
        (layer,) = image["Layers"]
        with rootfs.open("wb") as target:
            shutil.copyfileobj(_member(source, layer), target)


def _member(source: tarfile.TarFile, name: str) -> IO[bytes]:
    found = source.extractfile(name)
    if found is None:
        raise RuntimeError(f"{name} is no file")
    return found


@dataclass(frozen=True)
class Docker:
    """A running dockerd, spoken to over its own socket."""

    socket: Path

    def command(self, *arguments: str) -> list[str]:
        return ["docker", "--host", f"unix://{self.socket}", *arguments]

    def run(self, runtime: str, *argv: str) -> None:
        """One container to its end, removed: the command people type."""
        subprocess.run(
            self.command("run", "--rm", "--runtime", runtime, IMAGE, *argv),
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def build(self, directory: Path, fresh: bool) -> None:
        """By the classic builder."""
        options = ["--no-cache"] if fresh else []
        subprocess.run(
            self.command("build", "--quiet", "--network", "none", *options, str(directory)),
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "HOME": str(self.socket.parent), "DOCKER_BUILDKIT": "0"},
        )

    def version(self) -> str:
        return output(*self.command("version", "--format", "{{.Server.Version}}")).strip()


@contextmanager
def docker(directory: Path, rootfs: Path) -> Iterator[Docker]:
    """A private daemon with the image imported; its bridge, chains and data are removed at the end."""
    directory.mkdir(parents=True)
    tables, links = _tables(), _links()
    found = Docker(directory / "docker.sock")
    with (directory / "dockerd.log").open("wb") as log:
        daemon = subprocess.Popen(
            [
                "dockerd",
                *("--data-root", str(directory / "data"), "--exec-root", str(directory / "exec")),
                *("--pidfile", str(directory / "pid"), "--host", f"unix://{found.socket}"),
                *("--add-runtime", "crun=/usr/bin/crun", "--log-level", "error"),
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _await_daemon(found, daemon, directory / "dockerd.log")
        output(*found.command("import", str(rootfs), IMAGE))
        yield found
    finally:
        daemon.terminate()
        daemon.wait(DAEMON_SECONDS)
        _remove_network(tables, links)
        _drop(directory)


def _await_daemon(found: Docker, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + DAEMON_SECONDS
    while subprocess.run(found.command("version"), check=False, capture_output=True).returncode != 0:
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"dockerd did not come up:\n{log.read_text()[-2000:]}")
        time.sleep(0.2)


@dataclass(frozen=True)
class Podman:
    directory: Path

    def command(self, *arguments: str) -> list[str]:
        return [
            *("podman", "--root", str(self.directory / "root"), "--runroot", str(self.directory / "run")),
            *("--cgroup-manager", "cgroupfs", "--storage-driver", "overlay", *arguments),
        ]

    def run(self, runtime: str, *argv: str) -> None:
        command = self.command("--runtime", runtime, "run", "--rm", *_limits(), IMAGE, *argv)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def version(self) -> str:
        return output("podman", "version", "--format", "{{.Client.Version}}").strip()


@dataclass(frozen=True)
class Buildah:
    directory: Path

    def command(self, *arguments: str) -> list[str]:
        return [
            *("buildah", "--root", str(self.directory / "root"), "--runroot", str(self.directory / "run")),
            *("--storage-driver", "overlay", *arguments),
        ]

    def build(self, directory: Path, fresh: bool) -> None:
        options = ["--no-cache"] if fresh else []
        subprocess.run(
            self.command(
                "bud", "--quiet", "--layers", "--isolation", "oci", "--network", "none",
                *_limits(), *options, str(directory),
            ),
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def version(self) -> str:
        return output("buildah", "--version").split()[2]


@contextmanager
def buildah(directory: Path, rootfs: Path) -> Iterator[Buildah]:
    """With the same base image under the same name, imported by podman into the same storage."""
    directory.mkdir(parents=True)
    found = Buildah(directory)
    store = ["podman", "--root", str(directory / "root"), "--runroot", str(directory / "run")]
    tables, links = _tables(), _links()
    try:
        output(*store, "--storage-driver", "overlay", "import", str(rootfs), IMAGE)
        yield found
    finally:
        _remove_network(tables, links)
        _drop(directory)


def _limits() -> Iterator[str]:
    """Its own defaults (a million of each) are above what some machines grant even to root."""
    yield "--ulimit=nofile=1024:4096"
    yield "--ulimit=nproc=1024:4096"


@contextmanager
def podman(directory: Path, rootfs: Path) -> Iterator[Podman]:
    """Nothing runs in the background: podman has no daemon."""
    directory.mkdir(parents=True)
    tables, links = _tables(), _links()
    found = Podman(directory)
    try:
        output(*found.command("import", str(rootfs), IMAGE))
        yield found
    finally:
        _remove_network(tables, links)
        _drop(directory)


def _remove_network(tables: set[str], links: set[str]) -> None:
    """What a competitor left of bridges and firewall tables, and nothing that was there before it."""
    for link in _links() - links:
        subprocess.run(["ip", "link", "delete", link], check=True)
    for table in _tables() - tables:
        subprocess.run(["nft", "delete", "table", *table.split()], check=True)


def _drop(directory: Path) -> None:
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for target in sorted((mount for mount in mounts if mount.startswith(f"{directory}/")), reverse=True):
        subprocess.run(["umount", "--lazy", target], check=False)
    shutil.rmtree(directory)


def _tables() -> set[str]:
    rows = json.loads(output("nft", "-j", "list", "tables"))["nftables"]
    found = (row["table"] for row in rows if "table" in row)
    return {f"{table['family']} {table['name']}" for table in found if table["name"] in IPTABLES}


def _links() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir() if path.name.startswith(BRIDGES)}
