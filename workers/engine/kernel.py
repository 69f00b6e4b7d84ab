"""The door to the kernel: every privileged call of storage, and a double that remembers instead.

Decisions are made elsewhere, as ``Mount`` and ``Overlay`` values; here they are carried out.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import IO, Protocol, cast

from workers.engine.syscalls import (
    AT_FDCWD,
    AT_NO_AUTOMOUNT,
    AT_SYMLINK_NOFOLLOW,
    ATTR_IDMAP,
    ATTR_NODEV,
    ATTR_NOEXEC,
    ATTR_NOSUID,
    ATTR_RDONLY,
    CLONE_NEWNS,
    CREATE,
    FSMOUNT,
    FSMOUNT_CLOEXEC,
    FSOPEN,
    FSOPEN_CLOEXEC,
    MNT_DETACH,
    MS_NODEV,
    MS_PRIVATE,
    MS_REC,
    SET_FD,
    SET_FLAG,
    SET_STRING,
    STATX_ATTR_MOUNT_ROOT,
    UMOUNT_NOFOLLOW,
    attach,
    become,
    call,
    checked,
    clone_tree,
    closing,
    complaints,
    configure,
    libc,
    set_attributes,
)
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

    def mount_mapped(self, source: Path, target: Path, userns: Path, *, read_only: bool = False) -> None:
        """Bind the tree or file ``source`` as processes of ``userns`` see their own; see ``Overlay``."""

    def unmount(self, target: Path) -> None:
        """Detach lazily whatever is mounted on ``target``; nothing to do is no error."""

    def is_mounted(self, target: Path) -> bool: ...

    def user_namespace(self, target: Path, uid_base: int, count: int) -> None:
        """Bind a new user namespace on the file ``target``: ids 0…count-1 are uid_base… outside."""

    def pidfd_open(self, pid: int) -> int: ...

    def sync_filesystem(self, directory: Path) -> None:
        """All that was written to the filesystem of ``directory`` is on the disk on return."""


# --------------------------------------------------------------------------- the real one


class LinuxKernel:
    """Safe to share between threads. ``detached`` False forces the way older kernels need."""

    def __init__(self, *, detached: bool = True) -> None:
        self._detached = detached

    def mount(self, mount: Mount, target: Path) -> None:
        attributes = (
            (ATTR_RDONLY if mount.read_only else 0)
            | (ATTR_NOSUID if mount.nosuid else 0)
            | (ATTR_NODEV if mount.nodev else 0)
            | (ATTR_NOEXEC if mount.noexec else 0)
        )
        if mount.kind == "bind":
            with closing(clone_tree(Path(mount.source))) as tree:
                set_attributes(tree, attributes)
                attach(tree, target)
            return
        with closing(call(FSOPEN, "fsopen", mount.kind.encode(), FSOPEN_CLOEXEC)) as context:
            configure(context, SET_STRING, "source", mount.source)
            for key, value in mount.options:
                configure(context, SET_STRING, key, value)
            configure(context, CREATE)
            with closing(call(FSMOUNT, "fsmount", context, FSMOUNT_CLOEXEC, attributes)) as tree:
                attach(tree, target)

    def mount_overlay(self, overlay: Overlay, target: Path) -> None:
        with closing(self._assemble(overlay)) as tree:
            # An overlay whose work directory could not be made comes out read-only, without an error.
            if os.fstatvfs(tree).f_flag & os.ST_RDONLY:
                raise NodeError(
                    f"The overlay for {target} came out read-only: its work directory could not be made "
                    f"by id {overlay.uid_base}; see the kernel's log",
                    target=str(target),
                )
            attach(tree, target)

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

    def mount_mapped(self, source: Path, target: Path, userns: Path, *, read_only: bool = False) -> None:
        with ExitStack() as stack:
            mapping = stack.enter_context(closing(os.open(userns, os.O_RDONLY | os.O_CLOEXEC)))
            tree = stack.enter_context(closing(clone_tree(source)))
            set_attributes(tree, ATTR_IDMAP | ATTR_NODEV | (ATTR_RDONLY if read_only else 0), mapping)
            attach(tree, target)

    def unmount(self, target: Path) -> None:
        try:
            checked(libc.umount2(os.fsencode(target), MNT_DETACH | UMOUNT_NOFOLLOW), f"umount {target}")
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT):  # no mountpoint, no such place
                raise

    def is_mounted(self, target: Path) -> bool:
        answer = ctypes.create_string_buffer(256)
        flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT
        try:
            checked(libc.statx(AT_FDCWD, os.fsencode(target), flags, 0, answer), f"statx {target}")
        except OSError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return bool(struct.unpack_from("Q", answer, 8)[0] & STATX_ATTR_MOUNT_ROOT)

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
            with closing(clone_tree(Path(f"/proc/{holder.pid}/ns/user"))) as tree:
                attach(tree, target)

    def pidfd_open(self, pid: int) -> int:
        return os.pidfd_open(pid)

    def sync_filesystem(self, directory: Path) -> None:
        with closing(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as descriptor:
            checked(libc.syncfs(descriptor), f"syncfs {directory}")


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
    userns = stack.enter_context(closing(os.open(overlay.userns, os.O_RDONLY | os.O_CLOEXEC)))

    def clone(path: Path) -> int:
        tree = stack.enter_context(closing(clone_tree(path)))
        try:
            set_attributes(tree, ATTR_IDMAP, userns)
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
        become(overlay.uid_base)
        upper, work = (
            stack.enter_context(closing(os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=writable)))
            for name in ("upper", "work")
        )
        context = stack.enter_context(closing(call(FSOPEN, "fsopen", b"overlay", FSOPEN_CLOEXEC)))
        try:
            for tree in lowers:
                configure(context, SET_FD, "lowerdir+", fd=tree)
            configure(context, SET_FD, "upperdir", fd=upper)
            configure(context, SET_FD, "workdir", fd=work)
        except OSError as error:
            raise _LayersNotAccepted from error
        try:
            for key, value in overlay.options:
                configure(context, SET_STRING, key, value)
            for key in overlay.flags:
                configure(context, SET_FLAG, key)
            configure(context, CREATE)
        except OSError as error:
            raise NodeError(f"Overlay refused: {complaints(context) or error.strerror}") from error
        return call(FSMOUNT, "fsmount", context, FSMOUNT_CLOEXEC, ATTR_NODEV)


def _in_private_namespace(overlay: Overlay) -> int:
    """Linux 5.19 to 6.14: layers must be mounted somewhere, so do it where nobody else looks.

    The thread's own mount namespace ends with it; whenever we are killed, no helper mount is left.
    Names are one or two digits each because the options must fit into one page.
    """
    with ExitStack() as stack:
        lowers, writable = _mapped_trees(overlay, stack)
        checked(libc.unshare(CLONE_NEWNS), "unshare mounts")
        checked(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "mount private")
        checked(libc.mount(b"tmpfs", os.fsencode(overlay.writable), b"tmpfs", 0, None), "mount tmpfs")
        os.chdir(overlay.writable)  # unshare gave this thread a working directory of its own
        for position, tree in enumerate([*lowers, writable]):
            name = str(position)
            os.mkdir(name)
            attach(tree, name)
        os.mkdir("merged")
        become(overlay.uid_base)
        checked(
            libc.mount(b"overlay", b"merged", b"overlay", MS_NODEV, _page_of_options(overlay)),
            "mount overlay",
        )
        return clone_tree(Path("merged"))


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

    def mount_mapped(self, source: Path, target: Path, userns: Path, *, read_only: bool = False) -> None:
        self.calls.append(("mount_mapped", str(source), str(target), "ro" if read_only else "rw"))
        self.mounts[target] = Mount("bind", str(source), read_only=read_only)

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
