"""A container as the OCI runtime wants it: image defaults, the user's wishes and what this node
resolved, made into ``config.json``. Pure.

docs: OCI runtime-spec; where it leaves a choice, Docker's.
"""

from __future__ import annotations

import resource
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.engine.runtime import seccomp
from workers.engine.runtime.users import User
from workers.errors import InvalidSpec
from workers.messages import ContainerSpec, Limits, ProjectSlice
from workers.oci.config import ImageConfig

CAPABILITIES = (
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)
"""Docker's default set; inside the container's user namespace only."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NAMESPACES = ("pid", "ipc", "uts", "mount", "cgroup", "network")
_MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_DEVICES = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2))
"""null, zero, full, random, urandom, tty, ptmx."""
_PSEUDO_TERMINALS = 136
FILES = ("hosts", "hostname", "resolv.conf")
"""Made in the bundle, bound over those in /etc."""

_TEXT_LIMIT = 1 << 20
"""Bytes of arguments and environment together; the kernel takes twice that with an 8 MiB stack."""
_STRING_LIMIT = 131072
"""MAX_ARG_STRLEN: one argument or variable, with its NUL."""
_CPU_PERIOD_US = 100_000
_NOFILE = (1024, 524_288)


@dataclass(frozen=True)
class Placement:
    """What this node resolved for one container."""

    bundle: Path
    userns: Path
    cgroup: str
    user: User
    runtime_compiles_seccomp: bool
    filter: str = ""
    """The compiled filter, where the runtime does not compile it."""
    swap_limits: bool = True
    """False on kernels that do not account swap: a limit there fails the start."""
    nofile_hard: int = _NOFILE[1]
    """The node's own hard limit of open files: it cannot be raised for a container."""


def own_nofile_limit() -> int:
    return own_limit("RLIMIT_NOFILE")


def own_limit(kind: str) -> int:
    """The node's own hard limit, which nobody can raise. Raise ``InvalidSpec`` for an unknown kind."""
    number = getattr(resource, kind, None)
    if not isinstance(number, int):
        raise InvalidSpec(f"There is no limit called {kind.removeprefix('RLIMIT_').lower()!r}")
    hard = resource.getrlimit(number)[1]
    if hard != resource.RLIM_INFINITY:
        return hard
    return _NOFILE[1] if kind == "RLIMIT_NOFILE" else 1 << 40


def build(spec: ContainerSpec, image: ImageConfig, project: ProjectSlice, place: Placement) -> dict[str, Any]:
    """Raise ``InvalidSpec`` for what cannot run, with the sizes or values that are wrong."""
    args = arguments(spec, image)
    env = environment(spec, image, place.user.home)
    _check_sizes(args, env)
    config: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "process": _process(spec, image, place, args, env),
        "root": {"path": "rootfs", "readonly": spec.read_only},
        "hostname": _hostname(spec.hostname),
        "mounts": [*_mounts(), *(_bind(place.bundle, name) for name in FILES)],
        "linux": _linux(spec.limits, project, place),
    }
    if not place.runtime_compiles_seccomp:
        config["annotations"] = {seccomp.ANNOTATION: place.filter}
    return config


# --------------------------------------------------------------------------- process


def arguments(spec: ContainerSpec, image: ImageConfig) -> list[str]:
    """Docker's rule: a new entrypoint drops the image's command, a new command keeps its entrypoint."""
    entrypoint = image.entrypoint if spec.entrypoint is None else spec.entrypoint
    defaults = image.command if spec.entrypoint is None else ()
    command = defaults if spec.command is None else spec.command
    args = [*entrypoint, *command]
    if not args or not args[0]:
        raise InvalidSpec("Nothing to run: neither the request nor the image names a command")
    return args


def environment(spec: ContainerSpec, image: ImageConfig, home: str) -> list[str]:
    """Docker's defaults, then the image's variables, then the user's; the last one of a name wins."""
    variables = {"PATH": _PATH, "HOSTNAME": spec.hostname}
    if spec.tty:
        variables["TERM"] = "xterm"
    for entry in (*image.env, *spec.env):
        name, equals, value = entry.partition("=")
        if not equals or not name or "\0" in entry:
            raise InvalidSpec(f"Environment entry {entry[:80]!r} is not NAME=value")
        variables[name] = value
    variables.setdefault("HOME", home)
    return [f"{name}={value}" for name, value in variables.items()]


def _process(
    spec: ContainerSpec, image: ImageConfig, place: Placement, args: list[str], env: list[str]
) -> dict[str, Any]:
    user: dict[str, Any] = {"uid": place.user.uid, "gid": place.user.gid}
    if place.user.groups:
        user["additionalGids"] = list(place.user.groups)
    soft, hard = (min(limit, place.nofile_hard) for limit in _NOFILE)
    return {
        "terminal": spec.tty,
        "user": user,
        "args": args,
        "env": env,
        "cwd": _working_dir(spec.working_dir or image.working_dir or "/"),
        "capabilities": {kind: list(CAPABILITIES) for kind in ("bounding", "effective", "permitted")},
        "noNewPrivileges": spec.no_new_privileges,
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard}],
    }


def _working_dir(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise InvalidSpec(f"Working directory {path[:200]!r} must be an absolute path")
    return path


def _hostname(name: str) -> str:
    allowed = name.replace("-", "").replace(".", "").isalnum() and name.isascii()
    if not allowed or len(name) > 64 or name[0] in "-.":
        raise InvalidSpec(f"Host name {name[:80]!r}: 1 to 64 letters, digits, '-' and '.' were expected")
    return name


def _check_sizes(args: Iterable[str], env: Iterable[str]) -> None:
    total = 0
    for kind, texts in (("argument", args), ("environment variable", env)):
        for text in texts:
            size = len(text.encode(errors="surrogateescape")) + 1
            total += size
            if "\0" in text:
                raise InvalidSpec(f"An {kind} holds a NUL character: {text[:80]!r}")
            if size > _STRING_LIMIT:
                message = f"An {kind} has {size} bytes; the kernel takes {_STRING_LIMIT} ({text[:40]!r}…)"
                raise InvalidSpec(message, size=size, limit=_STRING_LIMIT)
    if total > _TEXT_LIMIT:
        message = f"Arguments and environment have {total} bytes together; {_TEXT_LIMIT} are allowed"
        raise InvalidSpec(message, size=total, limit=_TEXT_LIMIT)


# --------------------------------------------------------------------------- mounts and files


def _mounts() -> list[dict[str, Any]]:
    hardened = ["nosuid", "noexec", "nodev"]
    terminals = ["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
    rows = (
        ("/proc", "proc", "proc", hardened),
        ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        ("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", *terminals]),
        ("/sys", "sysfs", "sysfs", [*hardened, "ro"]),
        ("/sys/fs/cgroup", "cgroup", "cgroup", ["ro", *hardened]),
        ("/dev/mqueue", "mqueue", "mqueue", hardened),
        ("/dev/shm", "tmpfs", "shm", [*hardened, "mode=1777", "size=67108864"]),  # noqa: S108 - the container's own
    )
    return [
        {"destination": target, "type": kind, "source": source, "options": options}
        for target, kind, source, options in rows
    ]


def _bind(bundle: Path, name: str) -> dict[str, Any]:
    return {
        "destination": f"/etc/{name}",
        "type": "bind",
        "source": str(bundle / "etc" / name),
        "options": ["rbind", "rprivate"],
    }


def files(spec: ContainerSpec, address: str, resolv_conf: str) -> Mapping[str, str]:
    """The texts of ``FILES``."""
    short = spec.hostname.partition(".")[0]
    names = spec.hostname if short == spec.hostname else f"{spec.hostname} {short}"
    hosts = (
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::0\tip6-localnet\n"
        "ff00::0\tip6-mcastprefix\n"
        "ff02::1\tip6-allnodes\n"
        "ff02::2\tip6-allrouters\n"
        f"{address}\t{names}\n"
    )
    return {"hosts": hosts, "hostname": f"{spec.hostname}\n", "resolv.conf": resolv_conf}


# --------------------------------------------------------------------------- linux


def _linux(limits: Limits, project: ProjectSlice, place: Placement) -> dict[str, Any]:
    namespaces = [{"type": kind} for kind in _NAMESPACES]
    linux: dict[str, Any] = {
        "namespaces": [*namespaces, {"type": "user", "path": str(place.userns)}],
        "cgroupsPath": place.cgroup,
        "resources": _resources(limits, place.swap_limits),
        "maskedPaths": list(_MASKED),
        "readonlyPaths": list(_READ_ONLY),
        "sysctl": {
            # Groups beyond the range do not exist in the user namespace: the kernel would refuse them.
            "net.ipv4.ping_group_range": f"0 {project.uid_count - 1}",
            "net.ipv4.ip_unprivileged_port_start": "0",
        },
    }
    if place.runtime_compiles_seccomp:  # runc, which also maps ids itself when joining a user namespace
        linux["seccomp"] = seccomp.resolve(seccomp.default_profile(), CAPABILITIES)
        mapping = {"containerID": 0, "hostID": project.uid_base, "size": project.uid_count}
        linux |= {"uidMappings": [mapping], "gidMappings": [mapping]}
    return linux


def _resources(limits: Limits, swap_limits: bool) -> dict[str, Any]:
    memory = {"limit": limits.memory_bytes}
    if swap_limits:
        memory["swap"] = limits.memory_bytes  # memory and swap together: no swapping around the limit
    character = {"allow": True, "type": "c", "access": "rwm"}
    return {
        "memory": memory,
        "cpu": {"quota": max(1000, limits.cpu_millis * _CPU_PERIOD_US // 1000), "period": _CPU_PERIOD_US},
        "pids": {"limit": limits.pids},
        "devices": [
            {"allow": False, "access": "rwm"},
            *({**character, "major": major, "minor": minor} for major, minor in _DEVICES),
            {**character, "major": _PSEUDO_TERMINALS},
        ],
    }
