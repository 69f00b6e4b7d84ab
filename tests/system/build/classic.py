"""Docker's classic builder as an oracle: a dockerd of our own, without a network, gone afterwards."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.system.rigs import rootfs

DEADLINE = 60.0
CONFIG = ("Env", "Cmd", "Entrypoint", "WorkingDir", "User", "Labels", "ExposedPorts", "Volumes", "Shell",
          "OnBuild", "Healthcheck", "StopSignal")  # fmt: skip
# What `docker create` puts into every container.
_ADDED = ("dev", "proc", "sys", ".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab")


@dataclass(frozen=True)
class Classic:
    socket: Path

    def docker(self, *arguments: str, stdin: bytes | None = None) -> bytes:
        command = ["docker", "--host", f"unix://{self.socket}", *arguments]
        environment = {"PATH": os.environ["PATH"], "DOCKER_BUILDKIT": "0", "HOME": str(self.socket.parent)}
        done = subprocess.run(command, input=stdin, capture_output=True, env=environment, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode(errors="replace")[-2000:])
        return done.stdout

    def build(self, context: bytes, *options: str) -> str:
        """The image's id."""
        with tempfile.TemporaryDirectory(dir=self.socket.parent) as directory:
            with tarfile.open(fileobj=io.BytesIO(context)) as tar:
                tar.extractall(directory)
            return self.docker("build", "--quiet", "--rm", *options, directory).decode().strip()

    def config(self, image: str) -> dict[str, Any]:
        return dict(json.loads(self.docker("image", "inspect", image))[0]["Config"])

    def files(self, image: str) -> bytes:
        """The root filesystem as a tar."""
        container = self.docker("create", image, "/none").decode().strip()
        try:
            return self.docker("export", container)
        finally:
            self.docker("rm", container)


@contextmanager
def running(directory: Path) -> Iterator[Classic]:
    """A dockerd in a network namespace of its own, with ``base:latest`` as the rig has it."""
    socket = directory / "docker.sock"
    command = [
        "unshare", "--net", "dockerd", "--host", f"unix://{socket}", "--data-root", str(directory / "data"),
        "--exec-root", str(directory / "exec"), "--pidfile", str(directory / "pid"),
        "--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-masq=false",
    ]  # fmt: skip
    with (directory / "log").open("wb") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    classic = Classic(socket)
    try:
        _await(classic, daemon, directory / "log")
        classic.docker("import", "-", "base:latest", stdin=rootfs())
        yield classic
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(DEADLINE)
        shutil.rmtree(directory / "exec", ignore_errors=True)


def _await(classic: Classic, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            classic.docker("version")
        except RuntimeError as error:
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"dockerd did not come up: {log.read_text()[-2000:]}") from error
            time.sleep(0.1)
        else:
            return


def contents(archive: bytes) -> dict[str, tuple[Any, ...]]:
    """Name to kind, mode, owner and what is in it."""
    found: dict[str, tuple[Any, ...]] = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            name = member.name.strip("/").removeprefix("./")
            if not name or name == "." or name.startswith(_ADDED):
                continue
            kind, link, body = member.type, member.linkname, b""
            if member.isreg() or member.islnk():
                file = tar.extractfile(member)
                body = file.read() if file is not None else b""
                kind, link = tarfile.REGTYPE, ""
            found[name] = (kind, oct(member.mode & 0o7777), member.uid, member.gid, link, _digest(body))
    return found


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:12] if body else ""


def config_of(config: dict[str, Any]) -> dict[str, Any]:
    """Only what counts, empty like absent."""
    return {name: config[name] for name in CONFIG if config.get(name)}
