"""The data directory: overlays by a real mount, space, and whether the filesystem can hold quotas."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from workers.checks import Check
from workers.engine.kernel import LinuxKernel
from workers.engine.places import Places
from workers.engine.snapshots import overlay as overlay_of
from workers.errors import NodeError

_UID_BASE, _UID_COUNT = 1_000_000, 65536
_GIB = 1 << 30
_SPACE_NEEDED, _SPACE_WANTED = 1 * _GIB, 10 * _GIB
_INODES_WANTED = 0.05


def overlay(scratch: Places) -> list[Check]:
    """Mounts two idmapped layers and writes through them as a container's root would."""
    kernel = LinuxKernel()
    userns, rootfs = scratch.namespace(_UID_BASE), scratch.run / "rootfs"
    writable = scratch.snapshots / "probe"
    lowers = [scratch.layers / name for name in ("upper-layer", "lower-layer")]
    for directory in (*lowers, writable / "upper", writable / "work", rootfs):
        directory.mkdir(parents=True)
    try:
        kernel.user_namespace(userns, _UID_BASE, _UID_COUNT)
        kernel.mount_overlay(overlay_of(lowers, writable, userns, _UID_BASE), rootfs)
        _write_as(_UID_BASE, rootfs)
        owner = (writable / "upper" / "written").stat().st_uid
    except (OSError, NodeError) as error:
        fix = "put the data directory on ext4, xfs or btrfs; boot Linux 5.19 or newer"
        return [Check("overlay", "missing", f"on {scratch.data.parent}: {error}", fix)]
    finally:
        kernel.unmount(rootfs)
        kernel.unmount(userns)
    if owner != 0:
        why = f"ids are not mapped: a file of the container's root belongs to {owner} on disk"
        return [Check("overlay", "missing", why, "boot Linux 5.19 or newer")]
    return [Check("overlay", "ok", f"mounted two idmapped layers on {scratch.data.parent} and wrote to them")]


def _write_as(uid: int, directory: Path) -> None:
    done = subprocess.run(
        ["touch", "written"],
        cwd=directory,
        user=uid,
        group=uid,
        extra_groups=(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NodeError(f"the mounted overlay takes no file: {done.stderr.strip()}")


def disk(data: Path) -> list[Check]:
    place = next(each for each in (data, *data.parents) if each.is_dir())
    stat = os.statvfs(place)
    free = stat.f_bavail * stat.f_frsize
    seen = f"{free / _GIB:.1f} GiB of {stat.f_blocks * stat.f_frsize / _GIB:.1f} GiB free on {place}"
    fix = "make room, or put SLIPWAY_DATA on a larger disk"
    if free < _SPACE_NEEDED:
        return [Check("disk", "missing", seen, fix)]
    if free < _SPACE_WANTED:
        return [Check("disk", "degraded", seen, fix)]
    if stat.f_files and stat.f_favail < stat.f_files * _INODES_WANTED:
        return [Check("disk", "degraded", f"{stat.f_favail} of {stat.f_files} inodes free on {place}", fix)]
    return [Check("disk", "ok", seen)]


@dataclass(frozen=True)
class Filesystem:
    mountpoint: str
    kind: str
    device: str
    options: frozenset[str]


def filesystem_of(path: Path, mountinfo: str) -> Filesystem:
    """The mounted filesystem that holds ``path`` (resolved), by the text of /proc/self/mountinfo. Pure."""
    found: Filesystem | None = None
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        mountpoint = left.split(" ")[4].replace("\\040", " ")
        kind, device, options = right.split(" ", 2)
        inside = path == Path(mountpoint) or Path(mountpoint) in path.parents
        if inside and (found is None or len(mountpoint) >= len(found.mountpoint)):
            found = Filesystem(mountpoint, kind, device, frozenset(options.split(",")))
    if found is None:
        raise NodeError(f"No mounted filesystem holds {path}")
    return found


def quota(data: Path) -> list[Check]:
    """Whether the disk itself could limit what a project writes."""
    place = next(each for each in (data, *data.parents) if each.is_dir()).resolve()
    filesystem = filesystem_of(place, Path("/proc/self/mountinfo").read_text())
    seen = f"{filesystem.kind} on {filesystem.mountpoint}"
    if filesystem.options & {"prjquota", "pquota"}:
        return [Check("disk quota", "ok", f"{seen}, mounted with project quotas")]
    lead = f"{seen} has no project quotas: what containers write is measured, but the disk sets no limit"
    if filesystem.kind == "xfs":
        return [Check("disk quota", "degraded", lead, f"mount {filesystem.mountpoint} with -o prjquota")]
    if filesystem.kind == "ext4":
        return [Check("disk quota", "degraded", lead, _ext4_fix(filesystem))]
    return [Check("disk quota", "degraded", lead, "put SLIPWAY_DATA on ext4 or xfs")]


def _ext4_fix(filesystem: Filesystem) -> str:
    mount = f"mount {filesystem.mountpoint} with -o prjquota"
    if "project" in _ext4_features(filesystem.device):
        return mount
    return f"unmounted: tune2fs -O project,quota -Q prjquota {filesystem.device}; then {mount}"


def _ext4_features(device: str) -> list[str]:
    if shutil.which("dumpe2fs") is None or not Path(device).exists():
        return []
    done = subprocess.run(["dumpe2fs", "-h", device], capture_output=True, text=True, timeout=20, check=False)
    lines = (line.partition(":") for line in done.stdout.splitlines())
    return next((value.split() for key, _, value in lines if key == "Filesystem features"), [])
