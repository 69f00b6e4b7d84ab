"""The OCI runtimes: finding one that works here, and what we ask of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.engine.places import Places
from workers.engine.runtime.process import boot_id
from workers.engine.runtime.spawn import ENVIRONMENT, run
from workers.errors import CommandNotExecutable, CommandNotFound, InvalidSpec, RuntimeFailed, SlipwayError

PREFERENCE = ("crun", "runc")


@dataclass(frozen=True)
class Runtime:
    name: str
    path: str
    root: Path
    """Where it keeps its own state of our containers."""

    @property
    def globals(self) -> tuple[str, ...]:
        return ("--root", str(self.root))

    @property
    def compiles_seccomp(self) -> bool:
        """False for crun, which takes the compiled filter."""
        return self.name != "crun"

    def start(self, container: str) -> None:
        """Let a created container go. Raise as ``failure`` says."""
        done = run([self.path, *self.globals, "start", container])
        if done.code:
            raise failure(done.errors)

    def state(self, container: str) -> str | None:
        """``created``, ``running`` or ``stopped``; None when the runtime does not know it."""
        done = run([self.path, *self.globals, "state", container])
        if done.code:
            return None
        return str(json.loads(done.output)["status"])

    def delete(self, container: str) -> None:
        """Kill whatever runs and forget the container; safe to repeat."""
        if not (self.root / container).exists():
            return
        done = run([self.path, *self.globals, "delete", "--force", container])
        if done.code and (self.root / container).exists():
            raise failure(done.errors)


def forget(places: Places, container: str) -> None:
    """Drop what any runtime keeps of a container whose processes and cgroup are gone. Repeatable."""
    for name in PREFERENCE:
        shutil.rmtree(places.runtime_state(name) / container, ignore_errors=True)


# --------------------------------------------------------------------------- what it says

_NOT_FOUND = re.compile(
    r"executable file .*not found|open executable: (?:No such file|Not a directory)"
    r"|exec: .*: (?:no such file or directory|not a directory)",
)
_NOT_EXECUTABLE = re.compile(
    r"open executable: "
    r"|exec: .*: (?:permission denied|operation not permitted|is a directory|too many levels of symbolic)"
)
_BAD_DIRECTORY = re.compile(r"chdir `|mkdir .*: not a directory|chdir to cwd")
_LOGRUS = re.compile(r'level=(?:error|fatal) msg="((?:[^"\\]|\\.)*)"')


def failure(said: str, program: str = "") -> SlipwayError:
    """What a runtime wrote to stderr, as an error of ours that says whose problem it is.

    ``program`` is the first word of the container's command, as the runtime does not always name it.
    """
    line = _last_line(said)
    command = f"The command {program!r}" if program else "The command"
    facts = {"runtime": line[:500]}
    if _BAD_DIRECTORY.search(line):
        return InvalidSpec(f"The working directory cannot be used: {line}", **facts)
    if _NOT_FOUND.search(line):
        return CommandNotFound(f"{command} was not found in the image: {line}", **facts)
    if _NOT_EXECUTABLE.search(line):
        return CommandNotExecutable(f"{command} cannot be executed: {line}", **facts)
    return RuntimeFailed(f"The runtime refused the container: {line or 'it gave no reason'}", **facts)


def _last_line(said: str) -> str:
    """runc logs ``time=… level=error msg="…"``; crun writes plain text."""
    entries = _LOGRUS.findall(said)
    if entries:
        return str(entries[-1]).replace('\\"', '"').replace("\\\\", "\\").strip()
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else ""


# --------------------------------------------------------------------------- finding one


def installed(places: Places) -> list[Runtime]:
    """In the order of preference."""
    found = ((name, shutil.which(name, path=ENVIRONMENT["PATH"])) for name in PREFERENCE)
    return [Runtime(name, path, places.runtime_state(name)) for name, path in found if path]


def choose(places: Places, cgroup: str, *, only: str | None = None) -> Runtime:
    """The first runtime that starts a container here; ``only`` allows no other.

    What worked is kept in the run directory for this boot and these very programs; what did not is
    tried again, as somebody may have repaired the node. ``RuntimeFailed`` when none works.
    """
    present = installed(places)
    proven = _proven(places, present)
    reasons: dict[str, str] = {}
    for runtime in present:
        if only not in (None, runtime.name):
            continue
        if runtime.name in proven:
            return runtime
        reasons[runtime.name] = probe(runtime, places, cgroup)
        if not reasons[runtime.name]:
            _keep(places, present, {*proven, runtime.name})
            return runtime
    said = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    named = only or " or ".join(PREFERENCE)
    raise RuntimeFailed(f"No runtime works on this node ({said or f'install {named}'})")


def probe(runtime: Runtime, places: Places, cgroup: str) -> str:
    """Start a container for real, with every kind of namespace; empty when it works, else why not."""
    name = f"probe-{os.getpid()}-{time.monotonic_ns()}"
    bundle = places.node_run / name
    try:
        _write_probe(bundle, f"{cgroup}/{name}")
        runtime.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        done = run([runtime.path, *runtime.globals, "run", "--bundle", str(bundle), name], timeout=20.0)
        return _last_line(done.errors) or f"exit code {done.code}" if done.code else ""
    except RuntimeFailed as error:
        return error.message
    finally:
        with suppress(SlipwayError):
            runtime.delete(name)
        shutil.rmtree(bundle, ignore_errors=True)


def _write_probe(bundle: Path, cgroup: str) -> None:
    """A bundle of the node's own /usr, read-only, that runs ``true``."""
    rootfs = bundle / "rootfs"
    rootfs.mkdir(parents=True)
    bundle.chmod(0o711)
    rootfs.chmod(0o755)  # runc opens it as the container's root
    binds = []
    for name in ("usr", "bin", "lib", "lib32", "lib64"):
        source = Path("/", name)
        if source.is_symlink():
            (rootfs / name).symlink_to(os.readlink(source))
        elif source.is_dir():
            binds.append({"destination": f"/{name}", "source": f"/{name}", "options": ["rbind", "ro"]})
            (rootfs / name).mkdir()
    for name in ("proc", "sys", "dev"):
        (rootfs / name).mkdir()
    (bundle / "config.json").write_text(json.dumps(_probe_spec(binds, cgroup)))


def _probe_spec(binds: list[dict[str, Any]], cgroup: str) -> dict[str, Any]:
    ids = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    kinds = ("pid", "ipc", "uts", "mount", "cgroup", "network", "user")
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/usr/bin/true"],
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "mounts": [
            *({**bind, "type": "bind"} for bind in binds),
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro", "nosuid"]},
        ],
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": [{"type": kind} for kind in kinds],
            "uidMappings": ids,
            "gidMappings": ids,
            "resources": {"memory": {"limit": 64 << 20}, "pids": {"limit": 16}},
        },
    }


# --------------------------------------------------------------------------- the finding, kept


def _proven(places: Places, present: list[Runtime]) -> set[str]:
    try:
        finding = json.loads(places.runtime_finding.read_text())
        if (finding["boot"], finding["programs"]) == (boot_id(), _programs(present)):
            return set(finding["proven"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass
    return set()


def _keep(places: Places, present: list[Runtime], proven: set[str]) -> None:
    finding = {"boot": boot_id(), "programs": _programs(present), "proven": sorted(proven)}
    aside = places.runtime_finding.with_suffix(f".{os.getpid()}")
    aside.write_text(json.dumps(finding))
    aside.rename(places.runtime_finding)


def _programs(present: list[Runtime]) -> dict[str, list[int]]:
    """Changes when a program is installed, upgraded or removed."""
    status = {runtime.name: os.stat(runtime.path) for runtime in present}
    return {name: [each.st_ino, each.st_mtime_ns, each.st_size] for name, each in status.items()}
