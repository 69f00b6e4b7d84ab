#!/usr/bin/env python
"""Stop the whole instance, containers too; data stays. `make down` calls this; nothing to stop is fine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from stack import cgroups, pidfiles
from stack.settings import Stack, read_stack
from stack.terminal import Terminal
from workers.errors import SlipwayError

SUPERVISOR_SECONDS = 45.0


def main() -> int:
    terminal = Terminal()
    if os.geteuid() != 0:
        terminal.problem("`make down` stops containers and removes networks: run it with sudo.")
        return 1
    try:
        stack = read_stack(os.environ)
        stop_processes(stack, terminal)
        if (stack.data / "node").is_dir():
            stop_node(terminal)
        cgroups.remove(stack.instance)
    except (ValueError, SlipwayError) as error:
        terminal.problem(str(error))
        return 1
    return 0


def stop_processes(stack: Stack, terminal: Terminal) -> None:
    alive = pidfiles.alive(stack.pids)
    supervisor = alive.pop("supervisor", None)
    if supervisor is None and not alive:
        terminal.line("  · No process of this instance runs")
        return
    with terminal.step("Stopping the processes"):
        if supervisor is not None:  # it stops the others in order
            pidfiles.end([supervisor], grace=SUPERVISOR_SECONDS)
        pidfiles.end(pidfiles.alive(stack.pids).values(), grace=5.0)
    for path in stack.pids.glob("*"):
        path.unlink()


def stop_node(terminal: Terminal) -> None:
    # Imported here: the engine's collaborators load native libraries, of no use when there is no node yet.
    from stack import teardown
    from workers.engine import host
    from workers.node import open_node, read_environment

    node = open_node(read_environment(os.environ))
    with terminal.step("Stopping containers") as step:
        count = teardown.stop_containers(node)
        step.title = f"Stopped {count} container{'' if count == 1 else 's'}" if count else "No container ran"
    with terminal.step("Removing networks, firewall table and control groups"):
        host.teardown(node.engine)


if __name__ == "__main__":
    sys.exit(main())
