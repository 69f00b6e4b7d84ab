"""An engine of its own with a small image, and the proof that nothing of it is left on the node."""

from __future__ import annotations

import io
import os
import random
import secrets
import shutil
import tarfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.environment import instance, scratch
from workers.engine import containers, importing, logs, records
from workers.engine.host import Engine, open_engine, teardown
from workers.engine.places import Places
from workers.engine.records import Record
from workers.engine.runtime import process
from workers.engine.wires import veth_name
from workers.messages import (
    ContainerExited,
    ContainerFailed,
    ContainerSpec,
    ContainerStarted,
    DropLogs,
    Event,
    Limits,
    ProjectSlice,
    RemoveContainer,
    RunContainer,
)

DEADLINE = 20.0
SCOPE = "5" * 32
_BUSYBOX = Path("/bin/busybox")
_APPLETS = "sh cat echo env grep head id kill ls mkdir ping printf pwd seq sleep stat touch true wc yes nc dd"
_Event = TypeVar("_Event", bound=Event)


@dataclass
class Rig:
    engine: Engine
    image_id: str
    block: int
    """Of ids and subnets: nobody else on the machine uses it."""
    events: list[Event] = field(default_factory=list)
    made: list[str] = field(default_factory=list)

    @property
    def places(self) -> Places:
        return self.engine.places

    def project(self, number: int = 1) -> ProjectSlice:
        index = self.block + number
        subnet = f"10.{90 + index // 256 % 10}.{index % 256}.0/24"
        return ProjectSlice(f"{index:032x}"[::-1], (30_000 + index) * 65536, subnet)

    def command(self, *args: str, container: str = "", **wishes: Any) -> RunContainer:
        """``wishes``: fields of the command (generation, run, project) and of the spec."""
        container = container or secrets.token_hex(32)
        if container not in self.made:
            self.made.append(container)
        generation, run = wishes.pop("generation", 1), wishes.pop("run", 1)
        project = wishes.pop("project", self.project())
        spec = ContainerSpec(
            image_id=self.image_id,
            image_scope=SCOPE,
            name="test",
            hostname=wishes.pop("hostname", "test"),
            command=args or None,
            limits=wishes.pop("limits", Limits(memory_bytes=64 << 20)),
            **wishes,
        )
        return RunContainer(container, generation, run, project, spec)

    def run(self, *args: str, **wishes: Any) -> str:
        """Start it; the container's id. Fails the test when it did not start."""
        command = self.command(*args, **wishes)
        containers.run(self.engine, command, self.events.append)
        event = self.events[-1]
        assert isinstance(event, ContainerStarted), event
        return command.container

    def fail(self, *args: str, **wishes: Any) -> ContainerFailed:
        command = self.command(*args, **wishes)
        containers.run(self.engine, command, self.events.append)
        event = self.events[-1]
        assert isinstance(event, ContainerFailed), event
        return event

    def end(self, container: str) -> ContainerExited:
        """Wait for the end of the current run and settle it."""
        assert containers.wait(self.engine, container, DEADLINE), "it runs on"
        assert containers.settle(self.engine, container, self.events.append)
        return self.last(ContainerExited)

    def result(self, *args: str, **wishes: Any) -> tuple[int | None, list[str]]:
        """Run to the end: exit code and lines."""
        container = self.run(*args, **wishes)
        return self.end(container).exit_code, self.lines(container)

    def entries(self, container: str) -> list[logs.Entry]:
        directory, position, entries = self.places.log_directory(container), 0, list[logs.Entry]()
        while True:
            chunk = logs.read(directory, position)
            entries += chunk.entries
            if chunk.next == position:
                return entries
            position = chunk.next

    def lines(self, container: str) -> list[str]:
        """What the container printed; the shim cuts lines wherever its buffer ends."""
        text = "".join(entry.text + "\n" * entry.whole for entry in self.entries(container))
        return text.splitlines()

    def record(self, container: str) -> Record:
        record = records.find(self.places, container)
        assert record is not None
        return record

    def last(self, kind: type[_Event]) -> _Event:
        return next(event for event in reversed(self.events) if isinstance(event, kind))

    def traces(self, container: str) -> list[str]:
        """What of a run there still is on the node: mounts, cgroups, addresses, wires, files, processes."""
        found = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if container in line]
        for tree in self.engine.cgroups.hierarchy.trees():
            found += map(str, (tree / self.engine.instance).glob(f"*/{container}"))
        found += [str(path) for path in self.places.addresses.glob("*/*") if _holds(path, container)]
        found += [str(path) for path in self.places.node_run.rglob(f"*{container}*")]
        found += [name for name in os.listdir("/sys/class/net") if name == veth_name(container)]
        return found + [f"process {line}" for line in _processes(container)]

    def nothing_left(self, container: str) -> bool:
        """A veth goes with its namespace, a moment after the last process."""
        until(lambda: not self.traces(container), lambda: f"left: {self.traces(container)}")
        return True

    def tidy(self) -> None:
        for container in self.made:
            containers.remove(self.engine, RemoveContainer(container, 1 << 62), self.events.append)
            containers.drop_logs(self.engine, DropLogs(container))
        self.made.clear()
        self.events.clear()

    def close(self) -> None:
        self.tidy()
        teardown(self.engine)
        shutil.rmtree(self.places.data.parent)


def open_rig(runtime: str) -> Rig:
    directory = scratch()
    engine = open_engine(
        Places(directory / "data", directory / "run"),
        instance=instance(),
        runtime=runtime,
    )
    archive = io.BytesIO(rootfs())
    imported = importing.import_archive(engine.images, archive, scope=SCOPE, references=("test:latest",))
    return Rig(engine, imported.image_id, _free_block())


def _free_block() -> int:
    """A multiple of four whose subnets have no route yet."""
    routes = Path("/proc/net/route").read_text().split()
    while True:
        block = random.randrange(0, 2560, 4)
        prefixes = (f"{(block + each) % 256:02X}{90 + block // 256:02X}0A" for each in range(4))
        if not any(f"00{prefix}" in routes for prefix in prefixes):
            return block


def rootfs() -> bytes:
    """busybox, two users, and files that cannot be run."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        for name in ("bin", "etc", "tmp", "root", "home", "home/bob"):
            _add(tar, name, kind=tarfile.DIRTYPE, mode=0o1777 if name == "tmp" else 0o755)
        _add(tar, "bin/busybox", _BUSYBOX.read_bytes(), mode=0o755)
        for applet in _APPLETS.split():
            _add(tar, f"bin/{applet}", kind=tarfile.SYMTYPE, link="busybox")
        _add(tar, "bin/setuid", _BUSYBOX.read_bytes(), mode=0o4755)
        _add(tar, "bin/plain", b"no program\n", mode=0o644)
        _add(tar, "bin/garbage", b"no program\n", mode=0o755)
        _add(tar, "bin/orphan", b"#!/no/interpreter\n", mode=0o755)
        _add(tar, "etc/passwd", b"root:x:0:0::/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\n")
        _add(tar, "etc/group", b"root:x:0:\nbob:x:1000:\nvideo:x:44:bob\n")
    return output.getvalue()


def _add(
    tar: tarfile.TarFile,
    name: str,
    data: bytes = b"",
    *,
    kind: bytes = tarfile.REGTYPE,
    mode: int = 0o644,
    link: str = "",
) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.linkname, entry.size = kind, mode, link, len(data)
    tar.addfile(entry, io.BytesIO(data))


def until(condition: Callable[[], bool], otherwise: Callable[[], str] = lambda: "it did not happen") -> None:
    """For what gives no event: look again until the deadline."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.01)


def uid_outside(pid: int) -> int:
    return os.stat(f"/proc/{pid}").st_uid


def status(pid: int, name: str) -> str:
    lines: Iterable[str] = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(f"{name}:"))


def _holds(path: Path, container: str) -> bool:
    """A lease is a link named by the address, to its holder."""
    try:
        return os.readlink(path) == container
    except FileNotFoundError:  # given back since
        return False


def _processes(container: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            line = (path / "cmdline").read_bytes()
            cgroup = (path / "cgroup").read_text()
        except OSError:
            continue
        # Corpses do not count: when they are buried is up to the machine's init.
        if (container.encode() in line or container in cgroup) and process.find(int(path.name)):
            found.append(f"{path.name} {line!r}")
    return found
