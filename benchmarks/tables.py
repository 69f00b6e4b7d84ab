"""The figures of one run as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

BASELINE = "docker run --rm, runc"
BEGIN, END = "<!-- figures: written by make bench -->", "<!-- end of figures -->"


def render(results: dict[str, Any]) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    return "\n\n".join([f"Machine: {machine}.", _turns(results), _burst(results), _memory(results)])


def replace(document: Path, text: str, name: str = "figures") -> None:
    """Put the figures between the document's markers, in place of those of the run before."""
    first, last = (marker.replace("figures", name) for marker in (BEGIN, END))
    before, begin, rest = document.read_text().partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"{document} has no place for figures: {first} … {last}")
    document.write_text(f"{before}{first}\n\n{text}\n\n{last}{after}")


def _turns(results: dict[str, Any]) -> str:
    baseline = results["turns"][BASELINE]["median"]
    rows = [
        (
            name,
            f"{found['median']:.0f}",
            f"{found['p10']:.0f}–{found['p90']:.0f}",
            f"{found['median'] / baseline:.2f}",
        )
        for name, found in results["turns"].items()
    ]
    return table(("busybox `true`, to its end and cleaned up", "median ms", "p10–p90", f"× {BASELINE}"), rows)


def _burst(results: dict[str, Any]) -> str:
    rows = [(f"engine, {name}", f"{speed:.0f}") for name, speed in results["burst"].items()]
    return table(("four launchers", "containers/s"), rows)


def _memory(results: dict[str, Any]) -> str:
    idle, running = results["idle"], results["running"]
    rows = [(name, f"{size:.0f} MiB") for name, size in idle.items()]
    rows.append(("idle, all", f"{sum(idle.values()):.0f} MiB"))
    both = running["shim"] + running["processes"]
    rows.append((f"each of {running['containers']:.0f} running containers", f"{both:.0f} KiB"))
    rows.append(("of it the shim", f"{running['shim']:.0f} KiB"))
    return table(("memory (proportional set size)", ""), rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
