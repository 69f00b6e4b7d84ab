"""The door to the kernel: every privileged call of storage, and a double that remembers instead.

Decisions are made elsewhere, as ``Mount`` and ``Overlay`` values; here they are carried out.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import IO, Protocol, cast

from workers.errors import KernelTooOld, NodeError

MAX_LOWERS = 500
"""The kernel's own limit on the layers of one overlay."""


@dataclass(frozen=True)
class Mount:
    """A filesystem of its own (``kind`` names its type) or, as ``bind``, another place's tree."""

    kind: str
    source: str
    options: tuple[tuple[str, str], ...] = ()
    read_only: bool = False
    nosuid: bool = True
    nodev: bool = True
    noexec: bool = True


@dataclass(frozen=True)
class Overlay:
    """A writable stack seen through the id map of a user namespace.

    Ids on disk are those of the layers (0 is 0); a process of ``userns`` sees them as its own. Device
    files never work on it. setuid does, or no container could use it: it stays harmless because
    such a file's owner is an id of the project's range.
    """

    lowers: tuple[Path, ...]
    """Topmost first, at least one, none twice."""
    writable: Path
    """Holds ``upper`` and a fresh, empty ``work``."""
    userns: Path
    uid_base: int
    """What id 0 of ``userns`` is on the node; whoever mounts must look like it to the upper."""
    options: tuple[tuple[str, str], ...]
    flags: tuple[str, ...]


class Kernel(Protocol):
    def mount(self, mount: Mount, target: Path) -> None: ...

    def mount_overlay(self, overlay: Overlay, target: Path) -> None:
        """Mounted and writable on return; otherwise ``NodeError`` and nothing is mounted."""

    def unmount(self, target: Path) -> None:
        """Detach lazily whatever is mounted on ``target``; nothing to do is no error."""

    def is_mounted(self, target: Path) -> bool: ...

    def user_namespace(self, target: Path, uid_base: int, count: int) -> None:
        """Bind a new user namespace on the file ``target``: ids 0…count-1 are uid_base… outside."""

    def pidfd_open(self, pid: int) -> int: ...

    def sync_filesystem(self, directory: Path) -> None:
        """All that was written to the filesystem of ``directory`` is on the disk on return."""


# --------------------------------------------------------------------------- calls

_libc = ctypes.CDLL(None, use_errno=True)

# These numbers are the same on every architecture; glibc 2.31 has no wrappers for them.
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _MOUNT_SETATTR = 428, 429, 430, 431, 432, 442

_AT_FDCWD = -100
_AT_EMPTY_PATH, _AT_SYMLINK_NOFOLLOW, _AT_NO_AUTOMOUNT = 0x1000, 0x100, 0x800
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 4
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = 1
_SET_FLAG, _SET_STRING, _SET_FD, _CREATE = 0, 1, 5, 6
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV, _ATTR_NOEXEC, _ATTR_IDMAP = 1, 2, 4, 8, 0x100000
_MS_NODEV, _MS_REC, _MS_PRIVATE = 4, 0x4000, 1 << 18
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_CLONE_NEWNS = 0x20000
_CAPABILITY_VERSION_3 = 0x20080522
_STATX_ATTR_MOUNT_ROOT = 0x2000


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _call(number: int, what: str, *arguments: int | bytes | None) -> int:
    """A raw system call; bytes are passed as pointers."""
    converted = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return _checked(int(_libc.syscall(ctypes.c_long(number), *converted)), what)


@contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _clone_tree(path: Path) -> int:
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC
    return _call(_OPEN_TREE, f"open_tree {path}", _AT_FDCWD, os.fsencode(path), flags)


def _set_attributes(tree: int, attributes: int, userns: int = 0, what: str = "mount_setattr") -> None:
    request = struct.pack("QQQQ", attributes, 0, 0, userns)
    _call(_MOUNT_SETATTR, what, tree, b"", _AT_EMPTY_PATH, request, len(request))


def _attach(tree: int, target: Path | str) -> None:
    name = os.fsencode(target)
    _call(_MOVE_MOUNT, f"move_mount {target}", tree, b"", _AT_FDCWD, name, _MOVE_MOUNT_F_EMPTY_PATH)


def _configure(context: int, command: int, key: str = "", value: str | None = None, fd: int = 0) -> None:
    name = key.encode() if key else None
    text = value.encode() if value is not None else None
    _call(_FSCONFIG, f"fsconfig {key}", context, command, name, text, fd)


def _complaints(context: int) -> str:
    """What the filesystem itself says about the configuration it refused."""
    lines = []
    try:
        while line := os.read(context, 4096):
            lines.append(line.decode(errors="replace").strip())
    except OSError:
        pass  # ENODATA: all was read
    return "; ".join(lines)


def _become(uid: int) -> None:
    """Give this thread the filesystem ids of ``uid``; keep the capabilities setfsuid takes away."""
    _libc.setfsgid(uid)
    _libc.setfsuid(uid)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice, for 64 bits
    _checked(_libc.capget(header, sets), "capget")
    sets[0], sets[3] = sets[1], sets[4]
    _checked(_libc.capset(header, sets), "capset")


# --------------------------------------------------------------------------- the real one


class LinuxKernel:
    """Safe to share between threads. ``detached`` False forces the way older kernels need."""

    def __init__(self, *, detached: bool = True) -> None:
        self._detached = detached

    def mount(self, mount: Mount, target: Path) -> None:
        attributes = (
            (_ATTR_RDONLY if mount.read_only else 0)
            | (_ATTR_NOSUID if mount.nosuid else 0)
            | (_ATTR_NODEV if mount.nodev else 0)
            | (_ATTR_NOEXEC if mount.noexec else 0)
        )
        if mount.kind == "bind":
            with _closing(_clone_tree(Path(mount.source))) as tree:
                _set_attributes(tree, attributes)
                _attach(tree, target)
            return
        with _closing(_call(_FSOPEN, "fsopen", mount.kind.encode(), _FSOPEN_CLOEXEC)) as context:
            _configure(context, _SET_STRING, "source", mount.source)
            for key, value in mount.options:
                _configure(context, _SET_STRING, key, value)
            _configure(context, _CREATE)
            with _closing(_call(_FSMOUNT, "fsmount", context, _FSMOUNT_CLOEXEC, attributes)) as tree:
                _attach(tree, target)

    def mount_overlay(self, overlay: Overlay, target: Path) -> None:
        with _closing(self._assemble(overlay)) as tree:
            # An overlay whose work directory could not be made comes out read-only, without an error.
            if os.fstatvfs(tree).f_flag & os.ST_RDONLY:
                raise NodeError(
                    f"The overlay for {target} came out read-only: its work directory could not be made "
                    f"by id {overlay.uid_base}; see the kernel's log",
                    target=str(target),
                )
            _attach(tree, target)

    def _assemble(self, overlay: Overlay) -> int:
        """The overlay as a detached mount."""
        if not 0 < len(overlay.lowers) <= MAX_LOWERS:
            raise NodeError(f"An overlay takes 1 to {MAX_LOWERS} layers, not {len(overlay.lowers)}")
        if self._detached:
            try:
                return _in_thread(lambda: _by_descriptors(overlay))
            except _LayersNotAccepted:
                self._detached = False  # before Linux 6.15; it will not change while we run
        return _in_thread(lambda: _in_private_namespace(overlay))

    def unmount(self, target: Path) -> None:
        try:
            _checked(_libc.umount2(os.fsencode(target), _MNT_DETACH | _UMOUNT_NOFOLLOW), f"umount {target}")
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT):  # no mountpoint, no such place
                raise

    def is_mounted(self, target: Path) -> bool:
        answer = ctypes.create_string_buffer(256)
        flags = _AT_SYMLINK_NOFOLLOW | _AT_NO_AUTOMOUNT
        try:
            _checked(_libc.statx(_AT_FDCWD, os.fsencode(target), flags, 0, answer), f"statx {target}")
        except OSError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return bool(struct.unpack_from("Q", answer, 8)[0] & _STATX_ATTR_MOUNT_ROOT)

    def user_namespace(self, target: Path, uid_base: int, count: int) -> None:
        # A process with threads must not fork and go on in Python, and cannot unshare its own ids:
        # a small program holds the new namespace until it is bound. `cat` answering proves that
        # `unshare` is done.
        command = ["unshare", "--user", "--", "cat"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            question, answer = cast(IO[bytes], holder.stdin), cast(IO[bytes], holder.stdout)
            question.write(b"\n")
            question.flush()
            if not answer.readline():
                raise KernelTooOld(
                    "A user namespace could not be made; check user.max_user_namespaces and the kernel",
                    uid_base=uid_base,
                )
            for kind in ("uid_map", "gid_map"):
                Path(f"/proc/{holder.pid}/{kind}").write_text(f"0 {uid_base} {count}\n")
            target.touch()
            with _closing(_clone_tree(Path(f"/proc/{holder.pid}/ns/user"))) as tree:
                _attach(tree, target)

    def pidfd_open(self, pid: int) -> int:
        return os.pidfd_open(pid)

    def sync_filesystem(self, directory: Path) -> None:
        with _closing(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as descriptor:
            _checked(_libc.syncfs(descriptor), f"syncfs {directory}")


# --------------------------------------------------------------------------- overlays


class _LayersNotAccepted(Exception):
    """This kernel takes no detached mounts as layers."""


def _in_thread(work: Callable[[], int]) -> int:
    """Run ``work`` in a thread of its own: ids and namespaces it takes on die with the thread."""
    results: list[int] = []
    failures: list[BaseException] = []

    def body() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread
            failures.append(error)

    thread = Thread(target=body, name="overlay")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def _mapped_trees(overlay: Overlay, stack: ExitStack) -> tuple[list[int], int]:
    """Detached clones of the lowers and of the writable directory, seen through the id map."""
    userns = stack.enter_context(_closing(os.open(overlay.userns, os.O_RDONLY | os.O_CLOEXEC)))

    def clone(path: Path) -> int:
        tree = stack.enter_context(_closing(_clone_tree(path)))
        try:
            _set_attributes(tree, _ATTR_IDMAP, userns)
        except OSError as error:
            raise KernelTooOld(
                f"{path} cannot be mounted with mapped ids ({error.strerror}): the data directory needs "
                "ext4, xfs or btrfs and Linux 5.19 or newer",
                path=str(path),
            ) from error
        return tree

    return [clone(path) for path in overlay.lowers], clone(overlay.writable)


def _by_descriptors(overlay: Overlay) -> int:
    """Linux 6.15 and newer: layers are handed over as descriptors, nothing is ever visible."""
    with ExitStack() as stack:
        lowers, writable = _mapped_trees(overlay, stack)
        _become(overlay.uid_base)
        upper, work = (
            stack.enter_context(_closing(os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=writable)))
            for name in ("upper", "work")
        )
        context = stack.enter_context(_closing(_call(_FSOPEN, "fsopen", b"overlay", _FSOPEN_CLOEXEC)))
        try:
            for tree in lowers:
                _configure(context, _SET_FD, "lowerdir+", fd=tree)
            _configure(context, _SET_FD, "upperdir", fd=upper)
            _configure(context, _SET_FD, "workdir", fd=work)
        except OSError as error:
            raise _LayersNotAccepted from error
        try:
            for key, value in overlay.options:
                _configure(context, _SET_STRING, key, value)
            for key in overlay.flags:
                _configure(context, _SET_FLAG, key)
            _configure(context, _CREATE)
        except OSError as error:
            raise NodeError(f"Overlay refused: {_complaints(context) or error.strerror}") from error
        return _call(_FSMOUNT, "fsmount", context, _FSMOUNT_CLOEXEC, _ATTR_NODEV)


def _in_private_namespace(overlay: Overlay) -> int:
    """Linux 5.19 to 6.14: layers must be mounted somewhere, so do it where nobody else looks.

    The thread's own mount namespace ends with it; whenever we are killed, no helper mount is left.
    Names are one or two digits each because the options must fit into one page.
    """
    with ExitStack() as stack:
        lowers, writable = _mapped_trees(overlay, stack)
        _checked(_libc.unshare(_CLONE_NEWNS), "unshare mounts")
        _checked(_libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "mount private")
        _checked(_libc.mount(b"tmpfs", os.fsencode(overlay.writable), b"tmpfs", 0, None), "mount tmpfs")
        os.chdir(overlay.writable)  # unshare gave this thread a working directory of its own
        for position, tree in enumerate([*lowers, writable]):
            name = str(position)
            os.mkdir(name)
            _attach(tree, name)
        os.mkdir("merged")
        _become(overlay.uid_base)
        _checked(
            _libc.mount(b"overlay", b"merged", b"overlay", _MS_NODEV, _page_of_options(overlay)),
            "mount overlay",
        )
        return _clone_tree(Path("merged"))


def _page_of_options(overlay: Overlay) -> bytes:
    count = len(overlay.lowers)
    stack = ":".join(str(position) for position in range(count))
    places = [f"lowerdir={stack}", f"upperdir={count}/upper", f"workdir={count}/work"]
    return ",".join([*places, *(f"{k}={v}" for k, v in overlay.options), *overlay.flags]).encode()


# --------------------------------------------------------------------------- the double


@dataclass
class RecordingKernel:
    """Remembers what it was asked for, and what would be mounted now."""

    calls: list[tuple[str, ...]] = field(default_factory=list)
    mounts: dict[Path, Mount | Overlay] = field(default_factory=dict)

    def mount(self, mount: Mount, target: Path) -> None:
        self.calls.append(("mount", mount.kind, str(target)))
        self.mounts[target] = mount

    def mount_overlay(self, overlay: Overlay, target: Path) -> None:
        self.calls.append(("mount_overlay", str(target)))
        self.mounts[target] = overlay

    def unmount(self, target: Path) -> None:
        self.calls.append(("unmount", str(target)))
        self.mounts.pop(target, None)

    def is_mounted(self, target: Path) -> bool:
        return target in self.mounts

    def user_namespace(self, target: Path, uid_base: int, count: int) -> None:
        self.calls.append(("user_namespace", str(target), str(uid_base), str(count)))
        self.mounts[target] = Mount("bind", f"user:[{uid_base}]")

    def pidfd_open(self, pid: int) -> int:
        self.calls.append(("pidfd_open", str(pid)))
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def sync_filesystem(self, directory: Path) -> None:
        self.calls.append(("sync_filesystem", str(directory)))
