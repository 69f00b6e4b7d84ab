"""The extractor: a small process, chrooted into the directory a layer is unpacked in.

``python -I -S -c … TARGET MAX_ENTRIES STRICT FRAMES KEPT`` reads the tar on stdin, notes on the descriptors
FRAMES and KEPT what gives the tar back (``splitting``), and answers on stdout with lines:
``skipped <name>`` for device nodes left out, then one of ``done``, ``bad <why>``, ``space <where>``,
``fault <why>``. Whatever a hostile archive plays with links, it plays inside the chroot.

Taken over: names, modes, owners, times, ``user.*`` attributes, file capabilities and ACLs. Whiteouts
become what overlayfs knows: 0:0 character devices and the opaque mark. No other device node is ever
made: those below a ``dev`` directory are left out (a container's /dev is the runtime's), others refused.

Starts in milliseconds because it imports nothing but ``os`` and built-in modules: keep it so.
"""

from __future__ import annotations

import errno
import os
import stat
import sys

from workers.engine.splitting import Splitter
from workers.engine.tar import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    FILE,
    HARD_LINK,
    SYMLINK,
    BadTar,
    Entry,
    TarStream,
    read_descriptor,
    shown,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

OPAQUE = "trusted.overlay.opaque"
_WHITEOUT = b".wh."
_OPAQUE_MARK = b".wh..wh..opq"
_AUFS = b".wh..wh."
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_KEPT_SYSTEM = (b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default")
_ARCHIVE_FAULTS = {
    errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.EMLINK, errno.ENOENT, errno.EEXIST,
}  # fmt: skip
_FULL = (errno.ENOSPC, errno.EDQUOT)
_MAX_SKIPPED = 20


class Extractor:
    """Unpacks into ``/`` of the process, which must be chrooted; works in the current directory."""

    def __init__(self, tar: TarStream, splitter: Splitter, max_entries: int) -> None:
        self._tar, self._splitter, self._max_entries = tar, splitter, max_entries
        self._made = 0
        self._here: bytes | None = None
        self._at = b""
        """Where the current directory really is, with a slash at the end unless it is the root."""
        self._directories: dict[bytes, Entry] = {}
        self._real: set[bytes] = set()
        self.skipped: list[bytes] = []

    def run(self) -> None:
        while (entry := self._tar.next_entry()) is not None:
            try:
                self._place(entry)
            except OSError as error:
                if error.errno not in _ARCHIVE_FAULTS:
                    raise
                raise BadTar(f"{shown(entry.name)}: {error.strerror}") from error
        self._finish_directories()
        self._tar.drain()
        self._splitter.finish()

    def _place(self, entry: Entry) -> None:
        parts = _parts(entry.name, entry.name)
        if not parts:
            return  # the root: always root's, 0755
        if _WHITEOUT in entry.name and self._whiteout(entry, parts):
            return
        self._count(entry)
        self._enter(b"/".join(parts[:-1]), entry)
        base = parts[-1]
        if entry.kind == FILE:
            self._file(base, entry)
        elif entry.kind == DIRECTORY:
            self._directory(base, b"/".join(parts), entry)
        elif entry.kind == SYMLINK:
            self._fresh(base, lambda: os.symlink(entry.link, base))
            _dress_link(base, entry)
        elif entry.kind == HARD_LINK:
            self._hard_link(base, b"/".join(parts), entry)
        elif entry.kind == FIFO:
            self._fresh(base, lambda: os.mkfifo(base, 0o600))
            _dress_link(base, entry)
            os.chmod(base, entry.mode)
        elif entry.kind in (CHARACTER, BLOCK_DEVICE):
            self._device(parts, entry)
        else:
            raise BadTar(f"{shown(entry.name)}: entries of type {entry.kind!r} are not taken")

    def _count(self, entry: Entry) -> None:
        self._made += 1
        if self._made > self._max_entries:
            raise BadTar(f"{shown(entry.name)}: more than {self._max_entries} entries")

    # ------------------------------------------------------------------ places

    def _enter(self, parent: bytes, entry: Entry) -> None:
        """Make ``parent`` the current directory, creating what of it is missing."""
        if parent == self._here:
            return
        self._here = None
        try:
            os.chdir(b"/" + parent)
        except FileNotFoundError:
            path = b""
            for part in parent.split(b"/"):
                path += b"/" + part
                try:
                    os.mkdir(path, 0o755)
                    self._count(entry)
                except FileExistsError:
                    continue
            os.chdir(path)
        # The name may have led through links, and names may mean something else later on.
        self._at = os.getcwdb()[1:]
        if self._at:
            self._at += b"/"
        self._here = parent

    def _fresh(self, base: bytes, make: Callable[[], int | None]) -> int | None:
        """Do ``make``, in place of what an earlier entry of the same name made."""
        try:
            return make()
        except FileExistsError:
            self._remove(base)
            return make()

    def _remove(self, base: bytes) -> None:
        # Whatever was remembered about directories may have gone with this one.
        self._here = None
        self._real.clear()
        if not stat.S_ISDIR(os.lstat(base).st_mode):
            self._unlink(base)
            return
        for directory, names, files in os.walk(base, topdown=False):
            for name in files:
                self._unlink(os.path.join(directory, name))
            for name in names:
                path = os.path.join(directory, name)
                (os.unlink if os.path.islink(path) else os.rmdir)(path)
        os.rmdir(base)

    def _unlink(self, path: bytes) -> None:
        if stat.S_ISREG(os.lstat(path).st_mode):
            self._splitter.leaving(path, self._at + path)
        os.unlink(path)

    # ------------------------------------------------------------------ kinds

    def _file(self, base: bytes, entry: Entry) -> None:
        # Without special bits or a foreign owner, the mode given at creation is the final one.
        plain = entry.mode <= 0o777 and not (entry.uid or entry.gid)
        mode = entry.mode if plain else 0o600
        descriptor = self._fresh(base, lambda: os.open(base, _CREATE, mode))
        assert descriptor is not None  # noqa: S101 - os.open returns one; os.symlink and others do not
        if entry.size:
            self._splitter.content(entry.size, self._at + base)
        try:
            for piece in self._tar.data():
                written = os.write(descriptor, piece)
                while written < len(piece):
                    written += os.write(descriptor, piece[written:])
            _dress(descriptor, entry, plain=plain)
        finally:
            os.close(descriptor)

    def _directory(self, base: bytes, path: bytes, entry: Entry) -> None:
        hides = False
        try:
            os.mkdir(base, 0o700)
        except FileExistsError:
            found = os.lstat(base)
            if not stat.S_ISDIR(found.st_mode):
                hides = _is_whiteout(found)
                self._remove(base)
                os.mkdir(base, 0o700)
        if hides:  # removed and made anew in one layer: nothing from below may shine through
            os.setxattr(base, OPAQUE, b"y")
        # Its mode and time come last: a read-only directory must be filled, and filling changes the time.
        self._directories[path] = entry

    def _hard_link(self, base: bytes, path: bytes, entry: Entry) -> None:
        if entry.link.startswith(b"/"):
            raise BadTar(f"{shown(entry.name)}: hard link to the absolute path {shown(entry.link)}")
        parts = _parts(entry.link, entry.name)
        target = b"/".join(parts)
        if target == path:
            return
        try:
            self._require_no_symlink(parts[:-1], entry)
            found = os.lstat(b"/" + target).st_mode
        except FileNotFoundError:
            raise BadTar(
                f"{shown(entry.name)}: hard link to {shown(entry.link)}, which comes nowhere before it"
            ) from None
        if not (stat.S_ISREG(found) or stat.S_ISLNK(found) or stat.S_ISFIFO(found)):
            raise BadTar(f"{shown(entry.name)}: hard link to {shown(entry.link)}, which is no file")
        self._fresh(base, lambda: os.link(b"/" + target, base, follow_symlinks=False))
        if stat.S_ISREG(found):
            self._splitter.linked(self._at + base)

    def _require_no_symlink(self, parents: list[bytes], entry: Entry) -> None:
        path = b""
        for part in parents:
            path += b"/" + part
            if path in self._real:
                continue
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise BadTar(
                    f"{shown(entry.name)}: hard link to {shown(entry.link)}, which leads through a link"
                )
            self._real.add(path)

    def _device(self, parts: list[bytes], entry: Entry) -> None:
        if b"dev" not in parts[:-1]:
            raise BadTar(f"{shown(entry.name)}: device nodes are not taken outside of a dev directory")
        if len(self.skipped) < _MAX_SKIPPED:
            self.skipped.append(entry.name)

    # ------------------------------------------------------------------ whiteouts

    def _whiteout(self, entry: Entry, parts: list[bytes]) -> bool:
        """Handle an entry whose name marks a deletion; False if the name only looks a bit like one."""
        if any(part.startswith(_AUFS) for part in parts[:-1]):
            return True  # inside of aufs' own bookkeeping
        if any(part.startswith(_WHITEOUT) for part in parts[:-1]):
            raise BadTar(f"{shown(entry.name)}: a directory with the name of a whiteout")
        base = parts[-1]
        if not base.startswith(_WHITEOUT):
            return False
        self._count(entry)
        if base == _OPAQUE_MARK:
            self._enter(b"/".join(parts[:-1]), entry)
            os.setxattr(b".", OPAQUE, b"y")
        elif not base.startswith(_AUFS):
            self._hide(base[len(_WHITEOUT) :], parts, entry)
        return True

    def _hide(self, name: bytes, parts: list[bytes], entry: Entry) -> None:
        if name in (b"", b".", b".."):
            raise BadTar(f"{shown(entry.name)}: a whiteout of nothing")
        self._enter(b"/".join(parts[:-1]), entry)
        try:
            os.mknod(name, stat.S_IFCHR, 0)
        except FileExistsError:
            # It hides what lies below, not what this layer has; what this layer has hides a file
            # below by itself, a directory only when it is opaque.
            if stat.S_ISDIR(os.lstat(name).st_mode):
                os.setxattr(name, OPAQUE, b"y")

    def _finish_directories(self) -> None:
        os.chdir("/")
        for path, entry in reversed(self._directories.items()):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except (FileNotFoundError, NotADirectoryError):
                continue  # replaced by a later entry
            try:
                _dress(descriptor, entry)
            finally:
                os.close(descriptor)


# --------------------------------------------------------------------------- attributes


def _dress(descriptor: int, entry: Entry, *, plain: bool = False) -> None:
    """Owner before mode and capabilities: a change of owner takes setuid and capabilities away."""
    if not plain:
        os.fchown(descriptor, entry.uid, entry.gid)
        os.fchmod(descriptor, entry.mode)
    if entry.xattrs:
        _set_xattrs(descriptor, entry)
    os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))


def _dress_link(base: bytes, entry: Entry) -> None:
    if entry.uid or entry.gid:
        os.chown(base, entry.uid, entry.gid, follow_symlinks=False)
    os.utime(base, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)


def _set_xattrs(descriptor: int, entry: Entry) -> None:
    for name, value in entry.xattrs.items():
        if not is_kept(name):
            continue
        if name == b"security.capability":
            value = for_any_namespace(value)
        try:
            os.setxattr(descriptor, name, value)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                continue  # the filesystem has no such attributes
            # A filesystem says "no space" for a value too large for its attribute block, too.
            raise BadTar(
                f"{shown(entry.name)}: attribute {shown(name)} cannot be set: {error.strerror}"
            ) from error


def is_kept(name: bytes) -> bool:
    """Neither overlayfs' own marks (they would fake a merge) nor labels of the host's security modules."""
    return name in _KEPT_SYSTEM or (name.startswith(b"user.") and not name.startswith(b"user.overlay."))


def for_any_namespace(capability: bytes) -> bytes:
    """Revision 3 names the root it was set under; revision 2 holds for the root of whoever mounts it."""
    magic = int.from_bytes(capability[:4], "little")
    if magic >> 24 != 3 or len(capability) != 24:
        return capability
    return (magic & 0xFFFFFF | 2 << 24).to_bytes(4, "little") + capability[4:20]


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _parts(path: bytes, name: bytes) -> list[bytes]:
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise BadTar(f"{shown(name)}: '..' in {shown(path)}")
    return parts


# --------------------------------------------------------------------------- the process


def main(target: str, max_entries: str, strict: str, frames: str, kept: str) -> None:
    """Never returns normally with a half-said answer: the last line is the verdict."""
    os.umask(0)
    os.chroot(target)
    os.chdir("/")
    splitter = Splitter(int(frames), int(kept))
    tar = TarStream(read_descriptor(0), strict=strict == "strict", passed=splitter.passed)
    extractor = Extractor(tar, splitter, int(max_entries))
    try:
        extractor.run()
        verdict = "done"
    except BadTar as error:
        verdict = f"bad {error}"
    except RecursionError:
        verdict = "bad directories are nested too deep"
    except OSError as error:
        verdict = f"{'space' if error.errno in _FULL else 'fault'} {error}"
    lines = [f"skipped {shown(name)}" for name in extractor.skipped]
    sys.stdout.buffer.write("\n".join([*lines, verdict, ""]).encode("utf-8", "backslashreplace"))
