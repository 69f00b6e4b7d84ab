"""The system calls a container may make: moby's default profile, compiled once.

Compiling costs 18 ms, more than all else of a start, so the filter for a set of capabilities is
kept on disk under the digest of what it was made from, and crun gets it as bytes. runc takes the
OCI form and compiles it itself.
"""

from __future__ import annotations

import base64
import ctypes
import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from workers.errors import RuntimeFailed

ANNOTATION = "run.oci.seccomp_bpf_data"
"""crun: the filter as base64 of struct sock_filter[]; replaces ``linux.seccomp``."""

_PROFILE = Path(__file__).with_name("seccomp-default.json")
_ARCHES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
    "s390x": ("s390x", "SCMP_ARCH_S390X"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
}

Rules = dict[str, Any]
"""An OCI ``linux.seccomp`` object."""


@cache
def default_profile() -> Mapping[str, Any]:
    profile: Mapping[str, Any] = json.loads(_PROFILE.read_text())
    return profile


def resolve(
    profile: Mapping[str, Any],
    capabilities: Iterable[str],
    *,
    machine: str = platform.machine(),
    release: str = platform.release(),
) -> Rules:
    """The profile's rules that hold for these capabilities, this machine and this kernel. Pure."""
    if machine not in _ARCHES:
        raise RuntimeFailed(f"The seccomp profile has no rules for machine {machine!r}")
    arch, token = _ARCHES[machine]
    held, kernel = frozenset(capabilities), _version(release)
    architectures = [token]
    for entry in profile.get("archMap") or ():
        if entry["architecture"] == token:
            architectures += entry.get("subArchitectures") or []
    rules: Rules = {"defaultAction": profile["defaultAction"], "architectures": architectures}
    if profile.get("defaultErrnoRet") is not None:
        rules["defaultErrnoRet"] = profile["defaultErrnoRet"]
    rules["syscalls"] = [_rule(rule) for rule in profile["syscalls"] if _holds(rule, arch, held, kernel)]
    return rules


def _holds(rule: Mapping[str, Any], arch: str, held: frozenset[str], kernel: tuple[int, ...]) -> bool:
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if "arches" in includes and arch not in includes["arches"]:
        return False
    if "minKernel" in includes and kernel < _version(includes["minKernel"]):
        return False
    if not held.issuperset(includes.get("caps") or ()):
        return False
    if arch in (excludes.get("arches") or ()):
        return False
    if "minKernel" in excludes and kernel >= _version(excludes["minKernel"]):
        return False
    return held.isdisjoint(excludes.get("caps") or ())


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: rule[key] for key in ("names", "action", "args") if rule.get(key)}
    if rule.get("errnoRet") is not None:
        kept["errnoRet"] = rule["errnoRet"]
    return kept


def _version(text: str) -> tuple[int, ...]:
    """``6.18.4-1-amd64`` → (6, 18)."""
    return tuple(int("".join(filter(str.isdigit, part)) or 0) for part in text.split(".")[:2])


# --------------------------------------------------------------------------- compiled filters


class Filters:
    """Compiled filters, kept in ``directory``. Safe to share between threads and processes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._encoded: dict[frozenset[str], str] = {}

    def encoded(self, capabilities: Iterable[str]) -> str:
        """The default profile's filter for these capabilities, as ``ANNOTATION`` takes it."""
        key = frozenset(capabilities)
        if key not in self._encoded:
            self._encoded[key] = base64.b64encode(self._kept(resolve(default_profile(), key))).decode()
        return self._encoded[key]

    def _kept(self, rules: Rules) -> bytes:
        source = json.dumps([rules, _library_version()], sort_keys=True).encode()
        path = self.directory / f"{hashlib.sha256(source).hexdigest()}.bpf"
        with suppress(FileNotFoundError):
            return path.read_bytes()
        compiled = compile_filter(rules)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.directory, delete=False) as aside:
            aside.write(compiled)
            aside.flush()
            os.fsync(aside.fileno())  # kept for good: a torn filter would fail every start
        os.rename(aside.name, path)
        return compiled


class _Compare(ctypes.Structure):
    """struct scmp_arg_cmp"""

    _fields_ = [
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    ]


_OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
_ACTIONS = {
    "SCMP_ACT_ALLOW": 0x7FFF0000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
}
_OPTIMIZE, _BINARY_TREE = 8, 2  # SCMP_FLTATR_CTL_OPTIMIZE: a tree by number instead of a list
_EPERM, _EEXIST = 1, 17
_UNKNOWN_SYSCALL = -1


@cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError as error:
        raise RuntimeFailed("libseccomp.so.2 cannot be loaded: install libseccomp2") from error
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    library.seccomp_arch_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(_Compare),
    ]
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return library


@cache
def _library_version() -> list[int]:
    library = _library()
    library.seccomp_version.restype = ctypes.POINTER(ctypes.c_uint * 3)
    return list(library.seccomp_version().contents)


def compile_filter(rules: Rules) -> bytes:
    """The rules as BPF. Calls the library does not know are left to the default action."""
    library = _library()
    default = _action(rules["defaultAction"], rules.get("defaultErrnoRet"))
    context = library.seccomp_init(default)
    if not context:
        raise RuntimeFailed("libseccomp refused the profile's default action")
    try:
        library.seccomp_attr_set(context, _OPTIMIZE, _BINARY_TREE)  # libseccomp < 2.5: the list, slower
        for name in rules["architectures"]:
            token = library.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode())
            _check(library.seccomp_arch_add(context, token), f"architecture {name}")
        for rule in rules["syscalls"]:
            _add(library, context, rule, default)
        with tempfile.TemporaryFile(buffering=0) as file:
            _check(library.seccomp_export_bpf(context, file.fileno()), "export")
            file.seek(0)
            return file.read()
    finally:
        library.seccomp_release(context)


def _add(library: ctypes.CDLL, context: int, rule: Mapping[str, Any], default: int) -> None:
    action = _action(rule["action"], rule.get("errnoRet"))
    if action == default:
        return
    for name in rule["names"]:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number == _UNKNOWN_SYSCALL:
            continue
        for group in _alternatives(rule.get("args") or []):
            compares = [
                _Compare(arg["index"], _OPERATORS[arg["op"]], arg["value"], arg.get("valueTwo", 0))
                for arg in group
            ]
            array = (_Compare * max(1, len(group)))(*compares)
            _check(library.seccomp_rule_add_array(context, action, number, len(group), array), name)


def _alternatives(args: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Conditions on different arguments must all hold; several on one argument are alternatives.

    libseccomp cannot compare an argument twice in one rule: runc and crun read profiles like this.
    """
    indices = [arg["index"] for arg in args]
    return [args] if len(set(indices)) == len(indices) else [[arg] for arg in args]


def _action(name: str, errno: int | None) -> int:
    number = _ACTIONS[name]
    return number | ((_EPERM if errno is None else errno) & 0xFFFF) if name == "SCMP_ACT_ERRNO" else number


def _check(result: int, what: str) -> None:
    if result not in (0, -_EEXIST):
        raise RuntimeFailed(f"libseccomp: {what}: {os.strerror(-result)}", errno=-result)
