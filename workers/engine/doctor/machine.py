"""The kernel's own abilities, the clock, and what this process may use."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import resource
from pathlib import Path

from workers.checks import Check
from workers.engine.kernel import LinuxKernel
from workers.engine.places import Places
from workers.errors import NodeError

_OLDEST = (5, 19)
"""The first kernel that stacks an overlay on idmapped mounts."""
_UID_BASE, _UID_COUNT = 1_000_000, 65536
_DESCRIPTORS = 8192
"""The agent holds three for each running container, and Redis and clients need theirs."""
_UNSYNCHRONISED = 5


def kernel() -> list[Check]:
    release = platform.release()
    version = tuple(int(number) for number in re.findall(r"\d+", release)[:2])
    seen = f"Linux {release} on {platform.machine()}"
    if version >= _OLDEST:
        return [Check("kernel", "ok", seen)]
    return [Check("kernel", "missing", seen, "boot Linux 5.19 or newer; Debian 12 brings 6.1")]


def user_namespaces(scratch: Places) -> list[Check]:
    """Really makes one with a range of ids, as every project gets it."""
    target = scratch.namespace(_UID_BASE)
    try:
        LinuxKernel().user_namespace(target, _UID_BASE, _UID_COUNT)
    except (OSError, NodeError) as error:
        fix = "sysctl user.max_user_namespaces=15000, and allow them to root if the distribution forbids it"
        return [Check("user namespaces", "missing", str(error), fix)]
    finally:
        LinuxKernel().unmount(target)
    return [Check("user namespaces", "ok", f"made one with {_UID_COUNT} ids")]


def pidfd() -> list[Check]:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        return [Check("pidfd", "missing", str(error), "boot Linux 5.3 or newer")]
    return [Check("pidfd", "ok", "opened one")]


def seccomp() -> list[Check]:
    actions = Path("/proc/sys/kernel/seccomp/actions_avail")
    if not actions.exists() or "errno" not in actions.read_text():
        fix = "boot a kernel with CONFIG_SECCOMP_FILTER"
        return [Check("seccomp", "missing", "the kernel filters no system calls", fix)]
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return [
            Check("seccomp", "missing", "libseccomp.so.2 is not installed", "apt-get install libseccomp2")
        ]
    library.seccomp_version.restype = ctypes.POINTER(ctypes.c_uint * 3)
    version = tuple(library.seccomp_version().contents)
    seen = "libseccomp " + ".".join(map(str, version))
    if version < (2, 5):
        return [
            Check("seccomp", "degraded", f"{seen} does not know newer system calls", "upgrade libseccomp2")
        ]
    return [Check("seccomp", "ok", seen)]


def apparmor() -> list[Check]:
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    if enabled.exists() and enabled.read_text().startswith("Y"):
        return [Check("AppArmor", "ok", "enabled in the kernel")]
    why = "off: containers are held by user namespaces, seccomp and capabilities alone"
    return [Check("AppArmor", "degraded", why, "boot with apparmor=1 security=apparmor")]


class _Timex(ctypes.Structure):
    _fields_ = (("modes", ctypes.c_uint), ("rest", ctypes.c_char * 252))


def clock() -> list[Check]:
    """Sealed commands expire and tokens do: a clock that is off breaks both."""
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(_Timex(0)))
    if state < 0:
        return [
            Check(
                "clock",
                "degraded",
                f"its state is unknown: {os.strerror(ctypes.get_errno())}",
                "allow adjtimex to read it",
            )
        ]
    if state == _UNSYNCHRONISED:
        fix = "apt-get install systemd-timesyncd, or chrony"
        return [Check("clock", "degraded", "nothing keeps it synchronised, as far as the kernel knows", fix)]
    return [Check("clock", "ok", "synchronised")]


def limits() -> list[Check]:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY or hard >= _DESCRIPTORS:
        return [Check("limits", "ok", f"{hard} open files")]
    why = f"{hard} open files, enough for about {max(hard // 3 - 50, 0)} running containers"
    return [
        Check("limits", "degraded", why, f"LimitNOFILE=65536 in the service, or ulimit -n {_DESCRIPTORS}")
    ]
