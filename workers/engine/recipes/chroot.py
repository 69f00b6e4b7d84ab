"""The installer: a small process in namespaces of its own, chrooted into an overlay it mounts itself.

``python -I -S chroot.py`` reads a JSON document on stdin: ``lowers`` (topmost first), ``upper``, ``work``,
``root`` (an empty directory), ``environment``, and ``steps``, each one of ``{"run": argv}``, ``{"write":
path, "text", "mode"}``, ``{"link": path, "to"}``, ``{"remove": [patterns]}``. Paths are those of the new
root. What the steps say goes to stdout, what they changed lies in ``upper``; it exits with the status of the
first that failed.

Mounts are its own and go with it, however it ends. It is for packages the node itself would install: its
programs run as the node's root, with Docker's default capabilities less CAP_MKNOD and CAP_NET_RAW.
"""

from __future__ import annotations

import ctypes
import glob
import json
import os
import shutil
import subprocess
import sys
from typing import Any

_NOSUID, _NODEV, _NOEXEC, _BIND = 2, 4, 8, 4096
_PR_CAPBSET_DROP = 24
_LAST_CAPABILITY = 63
_CAPABILITIES = {0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 29, 31}
"""chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service sys_chroot audit_write
setfcap."""
_DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    order = json.load(sys.stdin)
    _mount_all(order)
    resolver = _read("/etc/resolv.conf")
    os.chroot(order["root"])
    os.chdir("/")
    with open("/run/resolv.conf", "wb") as file:
        file.write(resolver)
    if not os.path.exists("/etc/resolv.conf"):
        os.close(os.open("/etc/resolv.conf", os.O_CREAT | os.O_WRONLY, 0o644))
    _mount("/run/resolv.conf", "/etc/resolv.conf", "", _BIND)
    for capability in set(range(_LAST_CAPABILITY + 1)) - _CAPABILITIES:
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.umask(0o022)
    _libc.sethostname(b"localhost", 9)  # or the node's name would be found in what packages write
    for step in order["steps"]:
        _do(step, order["environment"])


def _mount_all(order: dict[str, Any]) -> None:
    root = order["root"]
    options = [
        f"lowerdir={':'.join(order['lowers'])}", f"upperdir={order['upper']}", f"workdir={order['work']}",
        "redirect_dir=off", "metacopy=off", "index=off", "volatile",
    ]  # fmt: skip
    _mount("overlay", root, "overlay", _NODEV, ",".join(options))
    for name in ("proc", "run", "tmp", "dev"):
        os.makedirs(f"{root}/{name}", mode=0o755, exist_ok=True)
    _mount("proc", f"{root}/proc", "proc", _NOSUID | _NODEV | _NOEXEC)
    _mount("tmpfs", f"{root}/run", "tmpfs", _NOSUID | _NODEV, "mode=755")
    _mount("tmpfs", f"{root}/tmp", "tmpfs", _NOSUID | _NODEV, "mode=1777")  # noqa: S108 - the image's own
    _mount("tmpfs", f"{root}/dev", "tmpfs", _NOSUID | _NOEXEC, "mode=755")
    os.umask(0)
    for name, (major, minor) in _DEVICES.items():
        os.mknod(f"{root}/dev/{name}", 0o666 | 0o020000, os.makedev(major, minor))
    for name, target in _LINKS.items():
        os.symlink(target, f"{root}/dev/{name}")


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    texts = [os.fsencode(text) for text in (source, target, kind)]
    if _libc.mount(*texts, ctypes.c_ulong(flags), os.fsencode(options)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def _do(step: dict[str, Any], environment: dict[str, str]) -> None:
    if "run" in step:
        done = subprocess.run(step["run"], env=environment, stdin=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            raise SystemExit(done.returncode if done.returncode > 0 else 128 - done.returncode)
    elif "write" in step:
        os.makedirs(os.path.dirname(step["write"]), exist_ok=True)
        with open(step["write"], "w", encoding="utf-8") as file:
            file.write(step["text"])
        os.chmod(step["write"], step["mode"])
    elif "link" in step:
        if os.path.lexists(step["link"]):
            os.unlink(step["link"])
        os.symlink(step["to"], step["link"])
    else:
        for path in [path for pattern in step["remove"] for path in glob.glob(pattern)]:
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


if __name__ == "__main__":
    main()
