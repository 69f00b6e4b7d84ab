"""Removing directory trees that strangers made."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from workers.errors import NodeError


def remove_tree(path: Path) -> None:
    """Nothing is at ``path`` afterwards; no link is followed; repeatable.

    A container can nest directories deeper than Python's stack, open files and path names go:
    the common case is done here without a process, the rest by ``rm``, which has no such limits.
    """
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        pass
    except (OSError, RecursionError):
        command = ["rm", "--recursive", "--force", "--one-file-system", "--", os.fspath(path)]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if result.returncode != 0:
            raise NodeError(
                f"{path} could not be removed: {result.stderr.strip()[:300]}", path=str(path)
            ) from None
