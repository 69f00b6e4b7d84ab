"""A real dockerd, cut off from the machine's network but for one port of loopback."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

DAEMON_SECONDS = 60.0
# Runs within the daemon's network namespace: its loopback is not ours, but unix sockets are everybody's.
_INSIDE = """
import asyncio, sys
port, path = int(sys.argv[1]), sys.argv[2]
async def pour(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
async def one(reader, writer):
    there = await asyncio.open_unix_connection(path)
    await asyncio.gather(pour(reader, there[1]), pour(there[0], writer), return_exceptions=True)
async def main():
    server = await asyncio.start_server(one, "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


class Dockerd:
    """``docker`` speaks to it; images of the registry at ``port`` are within its reach, nothing else is."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "docker.sock"

    def docker(self, *arguments: str, config: str = "config", stdin: str | None = None) -> str:
        """What it printed. Raise ``AssertionError`` with what it complained of."""
        done = subprocess.run(
            [
                "docker",
                "--config",
                str(self.directory / config),
                "--host",
                f"unix://{self.socket}",
                *arguments,
            ],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"docker {arguments[0]}: {done.stdout}{done.stderr}"
        return done.stdout

    def fails(self, *arguments: str, config: str = "config") -> str:
        """What it complained of."""
        done = subprocess.run(
            [
                "docker",
                "--config",
                str(self.directory / config),
                "--host",
                f"unix://{self.socket}",
                *arguments,
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode != 0, done.stdout
        return done.stderr


@contextlib.contextmanager
def dockerd(directory: Path, port: int) -> Iterator[Dockerd]:
    """In namespaces of its own for network and mounts, which go with it."""
    directory.mkdir(parents=True)
    found = Dockerd(directory)
    log = directory / "dockerd.log"
    arguments = [
        *("--data-root", str(directory / "data"), "--exec-root", str(directory / "exec")),
        *("--pidfile", str(directory / "pid"), "--host", f"unix://{found.socket}"),
        *("--storage-driver", "vfs", "--bridge", "none", "--iptables=false", "--ip6tables=false"),
        *("--ip-forward=false", "--log-level", "error"),
    ]
    with contextlib.ExitStack() as cleanup, log.open("wb") as output:
        cleanup.callback(shutil.rmtree, directory, ignore_errors=True)
        daemon = subprocess.Popen(
            [
                "unshare",
                "--net",
                "--mount",
                "sh",
                "-c",
                'ip link set lo up && exec dockerd "$@"',
                "sh",
                *arguments,
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        cleanup.callback(_end, daemon)
        _await(found, daemon, log)
        cleanup.enter_context(_way_in(daemon.pid, directory / "registry.sock", port))
        yield found


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(DAEMON_SECONDS)


def _await(found: Dockerd, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + DAEMON_SECONDS
    while True:
        with contextlib.suppress(AssertionError):
            found.docker("version")
            return
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"dockerd did not come up:\n{log.read_text()[-2000:]}")
        time.sleep(0.2)  # between two looks at a daemon that is starting


@contextlib.contextmanager
def _way_in(pid: int, path: Path, port: int) -> Iterator[None]:
    """127.0.0.1:``port`` in there is the one out here, by way of a unix socket."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(64)
    threading.Thread(target=_serve, args=[server, port], daemon=True).start()
    inside = subprocess.Popen(
        ["nsenter", "--net", "--target", str(pid), sys.executable, "-c", _INSIDE, str(port), str(path)],
        stdout=subprocess.PIPE,
    )
    try:
        assert inside.stdout is not None
        assert inside.stdout.readline() == b"ready\n"
        yield
    finally:
        _end(inside)
        inside.stdout.close()
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def _serve(server: socket.socket, port: int) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_join, args=[client, port], daemon=True).start()


def _join(client: socket.socket, port: int) -> None:
    with client, socket.create_connection(("127.0.0.1", port)) as there:
        back = threading.Thread(target=_pour, args=[there, client], daemon=True)
        back.start()
        _pour(client, there)
        back.join()


def _pour(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(1 << 16):
            other.sendall(data)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_WR)
