"""A container's cgroup on version 1 (also the hybrid layout) and version 2: the only module that
knows the difference.

The runtime makes the cgroup and sets its limits; here it is named, read, emptied and removed.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from workers.errors import RuntimeFailed
from workers.messages import Limits

ROOT = Path("/sys/fs/cgroup")
_SHIMS = "shims"
_KILL_DEADLINE = 10.0


@dataclass(frozen=True)
class Usage:
    """``memory_limit`` is None when there is none."""

    cpu_ns: int
    memory_bytes: int
    memory_limit: int | None
    pids: int


@dataclass(frozen=True)
class Hierarchy:
    """Mounted cgroup trees: ``unified`` is version 2's, ``controllers`` are version 1's by name.

    A pure version 2 host has no controllers here; a hybrid one has both. ``name=systemd`` is a
    version 1 tree without a controller.
    """

    unified: Path | None
    controllers: Mapping[str, Path]

    @property
    def version(self) -> int:
        return 1 if "memory" in self.controllers else 2

    def trees(self) -> tuple[Path, ...]:
        """Every tree once, also where one mount carries two controllers (``cpu,cpuacct``)."""
        unified = () if self.unified is None else (self.unified,)
        return tuple(dict.fromkeys((*self.controllers.values(), *unified)))


def parse_mounts(text: str) -> Hierarchy:
    """Find the trees in the text of /proc/self/mountinfo."""
    unified: Path | None = None
    controllers: dict[str, Path] = {}
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        if not right:
            continue
        kind, _, super_options = right.split(" ", 2)
        root, mountpoint = left.split(" ")[3:5]
        if root != "/" or not kind.startswith("cgroup"):
            continue
        path = Path(mountpoint.replace("\\040", " "))
        if kind == "cgroup2":
            unified = unified or path
        elif kind == "cgroup":
            for option in super_options.split(","):
                if option in _CONTROLLERS or option.startswith("name="):
                    controllers.setdefault(option, path)
    return Hierarchy(unified, controllers)


_CONTROLLERS = frozenset(
    ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "net_cls", "net_prio", "blkio",
     "perf_event", "hugetlb", "pids", "rdma", "misc")
)  # fmt: skip


def parse_flat(text: str) -> dict[str, int]:
    """``name value`` lines, as in cpu.stat, memory.events, memory.oom_control."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def parse_limit(text: str) -> int | None:
    """``max``, or version 1's number near 2^63, mean: no limit."""
    text = text.strip()
    return None if text == "max" or int(text) >= 1 << 62 else int(text)


def io_weights(version: int, weight: int) -> dict[str, str]:
    """What is written where, whichever of it a kernel has; any cgroup begins with a ``weight`` of 100."""
    if version == 2:
        return {"io.weight": f"default {max(1, weight)}", "io.bfq.weight": str(max(1, weight))}
    # CFQ's began with 500 and went down to 10.
    return {"blkio.bfq.weight": str(max(1, weight)), "blkio.weight": str(max(10, weight * 5))}


class Cgroups:
    """The cgroups of one instance: ``/<instance>/<project>/<container>`` and ``/<instance>/shims``."""

    def __init__(self, instance: str, hierarchy: Hierarchy) -> None:
        self.instance = instance
        self.hierarchy = hierarchy
        self._shims: tuple[Path, ...] | None = None

    @classmethod
    def of_this_node(cls, instance: str) -> Cgroups:
        return cls(instance, parse_mounts(Path("/proc/self/mountinfo").read_text()))

    # ------------------------------------------------------------------ names

    def path(self, project: str, container: str) -> str:
        """As the runtime wants it (``linux.cgroupsPath``): absolute, below every tree's root."""
        return f"/{self.instance}/{project}/{container}"

    def _in(self, controller: str, path: str) -> Path:
        tree = self.hierarchy.controllers.get(controller) or self.hierarchy.unified
        if tree is None:
            raise RuntimeFailed(f"No cgroup tree has the {controller} controller: run the doctor")
        return _below(tree, path)

    @cached_property
    def limits_swap(self) -> bool:
        """A kernel that does not account swap refuses a limit on it."""
        if self.hierarchy.version == 2:
            return Path("/proc/swaps").exists()  # there is none without CONFIG_SWAP
        return (self.hierarchy.controllers["memory"] / "memory.memsw.limit_in_bytes").exists()

    # ------------------------------------------------------------------ readings

    def usage(self, path: str) -> Usage:
        """Raise ``FileNotFoundError`` when the cgroup is gone."""
        if self.hierarchy.version == 1:
            memory, pids = self._in("memory", path), self._in("pids", path)
            return Usage(
                cpu_ns=int((self._in("cpuacct", path) / "cpuacct.usage").read_text()),
                memory_bytes=_less_cache(
                    int((memory / "memory.usage_in_bytes").read_text()),
                    parse_flat((memory / "memory.stat").read_text()).get("total_inactive_file", 0),
                ),
                memory_limit=parse_limit((memory / "memory.limit_in_bytes").read_text()),
                pids=int((pids / "pids.current").read_text()),
            )
        directory = self._in("memory", path)
        return Usage(
            cpu_ns=parse_flat((directory / "cpu.stat").read_text())["usage_usec"] * 1000,
            memory_bytes=_less_cache(
                int((directory / "memory.current").read_text()),
                parse_flat((directory / "memory.stat").read_text()).get("inactive_file", 0),
            ),
            memory_limit=parse_limit((directory / "memory.max").read_text()),
            pids=int((directory / "pids.current").read_text()),
        )

    def oom_kills(self, path: str) -> int:
        """How many processes the kernel killed for want of memory; 0 when the cgroup is gone."""
        name = "memory.oom_control" if self.hierarchy.version == 1 else "memory.events"
        try:
            return parse_flat((self._in("memory", path) / name).read_text()).get("oom_kill", 0)
        except FileNotFoundError:
            return 0

    def forks_refused(self, path: str) -> int:
        """How often there was to be a process more than allowed; 0 when the cgroup is gone. Version 1 and
        kernels before 6.11 count it where the process was to be, later ones where the limit is."""
        try:
            return parse_flat((self._in("pids", path) / "pids.events").read_text()).get("max", 0)
        except FileNotFoundError:
            return 0

    def pids(self, path: str) -> set[int]:
        """Every process of the cgroup and those below it, in whatever tree it sits."""
        found: set[int] = set()
        for tree in self.hierarchy.trees():
            for directory, _, _ in os.walk(_below(tree, path)):
                with suppress(FileNotFoundError, OSError):
                    found.update(map(int, Path(directory, "cgroup.procs").read_text().split()))
        return found

    # ------------------------------------------------------------------ effects

    def confine(self, path: str, limits: Limits, *, weight: int) -> None:
        """The cgroup exists; all below it together get no more than ``limits``, and of busy CPUs and disks a
        share of ``weight`` where an ordinary cgroup has 100. Repeatable."""
        period = 100_000
        quota = max(1000, limits.cpu_millis * period // 1000)
        if self.hierarchy.version == 1:
            texts = {
                ("memory", "memory.limit_in_bytes"): str(limits.memory_bytes),
                ("cpu", "cpu.cfs_period_us"): str(period),
                ("cpu", "cpu.cfs_quota_us"): str(quota),
                ("cpu", "cpu.shares"): str(max(2, weight * 1024 // 100)),
                ("pids", "pids.max"): str(limits.pids),
            }
        else:
            texts = {
                ("memory", "memory.max"): str(limits.memory_bytes),
                ("cpu", "cpu.max"): f"{quota} {period}",
                ("cpu", "cpu.weight"): str(weight),
                ("pids", "pids.max"): str(limits.pids),
            }
            self._delegate(path, ("memory", "cpu", "pids"))
        for (controller, name), text in texts.items():
            (_made(self._in(controller, path)) / name).write_text(text)
        self._weigh_io(path, weight)

    def _weigh_io(self, path: str, weight: int) -> None:
        """Where the kernel can weigh: not every kernel and scheduler of disks does."""
        if self.hierarchy.version == 2:
            self._delegate(path, ("io",))  # by itself: one controller that is missing refuses the others
        elif "blkio" not in self.hierarchy.controllers:
            return
        directory = _made(self._in("blkio", path))
        for name, text in io_weights(self.hierarchy.version, weight).items():
            if (directory / name).exists():
                with suppress(OSError):  # the file is there, the scheduler is not
                    (directory / name).write_text(text)

    def _delegate(self, path: str, controllers: Iterable[str]) -> None:
        """Version 2: every cgroup above ``path`` hands the controllers down."""
        assert self.hierarchy.unified is not None  # noqa: S101 - asked on version 2 only
        directory = self.hierarchy.unified
        for part in path.strip("/").split("/"):
            with suppress(OSError):  # handed down already, or by somebody who does not let us change it
                (directory / "cgroup.subtree_control").write_text(
                    " ".join(f"+{each}" for each in controllers)
                )
            directory = _made(directory / part)

    def kill(self, path: str) -> None:
        """SIGKILL everything inside and wait until it is gone. Nothing to do is fine."""
        deadline = time.monotonic() + _KILL_DEADLINE
        while True:
            unified = self.hierarchy.unified
            if unified is not None:
                with suppress(OSError):  # a hybrid tree may hold no processes, an old kernel no such file
                    (_below(unified, path) / "cgroup.kill").write_text("1")
            pids = self.pids(path)
            if not pids:
                return
            for pid in pids:
                _kill(pid)
            if time.monotonic() > deadline:
                raise RuntimeFailed(f"Processes of {path} survive SIGKILL: {sorted(pids)[:5]}")
            time.sleep(0.002)  # a cgroup gives no event for "empty" that every version has

    def remove(self, path: str) -> None:
        """Remove the empty cgroup from every tree; a missing one is fine. ``OSError`` if in use."""
        for tree in self.hierarchy.trees():
            _remove_tree(_below(tree, path))

    def prune(self) -> None:
        """Remove the instance's cgroups that are empty. Not while containers are being started."""
        for tree in self.hierarchy.trees():
            for directory, _, _ in os.walk(_below(tree, f"/{self.instance}"), topdown=False):
                with suppress(OSError):
                    os.rmdir(directory)

    def adopt_shim(self, pid: int) -> None:
        """Move a shim out of its parent's cgroup in every tree, into the instance's ``shims``.

        A service manager that stops the worker kills the worker's whole cgroup: shims must not be
        in it. The process must not have forked yet.
        """
        text = str(pid)
        for procs in self._shim_files():
            procs.write_text(text)

    def _shim_files(self) -> tuple[Path, ...]:
        if self._shims is None or not all(map(Path.exists, self._shims)):
            # A fresh cpuset takes no process before it is given CPUs, and holds nobody back.
            cpuset = self.hierarchy.controllers.get("cpuset")
            trees = [tree for tree in self.hierarchy.trees() if tree != cpuset]
            self._shims = tuple(_made(tree / self.instance / _SHIMS) / "cgroup.procs" for tree in trees)
        return self._shims


def _below(tree: Path, path: str) -> Path:
    return tree / path.lstrip("/")


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _less_cache(used: int, inactive_file: int) -> int:
    """Without page cache the kernel would drop at once: what Docker and kubelet show as used."""
    return max(0, used - inactive_file)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _remove_tree(directory: Path) -> None:
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return
    except OSError:  # cgroups made inside the container, deepest first
        for inner, _, _ in os.walk(directory, topdown=False):
            _retry(partial(os.rmdir, inner))


def _retry(action: Callable[[], None], pauses: Iterable[float] = (0.001, 0.005, 0.02, 0.1)) -> None:
    """The last exiting process may hold a cgroup busy for a moment after its pid is gone."""
    for pause in pauses:
        try:
            action()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(pause)
        else:
            return
    action()
