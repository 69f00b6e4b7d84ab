"""What to propose for a context without a Dockerfile: its files' names, and the text of those that tell."""

from __future__ import annotations

from itertools import islice

from workers.engine.build.detect import SMALL, WANTED, Project, Proposal, detect
from workers.engine.build.stacks import Stack

FILES_MAX = 20_000


def propose(stack: Stack) -> Proposal | None:
    """None if nothing is known to fit. Nothing of the context is executed."""
    if stack.root is None:
        return None
    files = {path for path, node in islice(stack.walk(stack.root), FILES_MAX) if node.is_file}
    texts = {}
    for name in files & WANTED:
        _, node = stack.resolve(name)
        if node is not None and node.is_file and node.status.st_size <= SMALL:
            with open(node.place, "rb") as file:
                texts[name] = file.read(SMALL).decode(errors="replace")
    return detect(Project(frozenset(files), texts))
