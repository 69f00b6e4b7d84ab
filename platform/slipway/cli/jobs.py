"""Following a job to its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from slipway.cli.client import Client
from slipway.cli.errors import CliError, Unreachable
from slipway.cli.output import clean
from slipway.cli.progress import bar

ENDED = ("succeeded", "failed", "cancelled")
PAUSES = (0.1, 0.2, 0.3, 0.5, 1.0)
ATTEMPTS = 60


def follow(client: Client, path: str, *, quiet: bool) -> dict[str, Any]:
    """The job once it has ended; a server away for a moment is waited for."""
    with bar("Waiting", quiet=quiet) as shown:
        return _poll(client, path, lambda job: shown.show(describe(job), job["done"], job["total"]))


def _poll(client: Client, path: str, show: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    looks = failures = 0
    while True:
        try:
            job: dict[str, Any] = client.get(path)
            failures = 0
        except Unreachable:
            failures += 1
            if failures > ATTEMPTS:
                raise
        else:
            if job["state"] in ENDED:
                return job
            show(job)
        time.sleep(PAUSES[min(looks, len(PAUSES) - 1)])
        looks += 1


def follow_layers(client: Client, path: str, *, quiet: bool) -> dict[str, Any]:
    """As ``follow``, with a bar per layer, and what came of each afterwards."""
    from slipway.cli.layers import is_watched, layer_bars, told

    with layer_bars(quiet=quiet) as shown:
        job = _poll(client, path, lambda job: shown.show(describe(job), job.get("layers") or ()))
    if is_watched(quiet):
        for line in told(job.get("layers") or ()):
            print(clean(line), file=sys.stderr)
    return job


def describe(job: dict[str, Any]) -> str:
    """What it does, or what it waits for."""
    waits = f"waits for {job['waits_for']}" if job.get("waits_for") else ""
    return str(job["detail"] or waits or job["state"])


def check(job: dict[str, Any]) -> None:
    """Raise ``CliError`` unless the job succeeded."""
    cause = job["cause"]
    if job["state"] == "failed":
        message = cause["message"] if cause else f"The job {job['id']} failed."
        raise CliError(message, code=cause["code"] if cause else "JOB_FAILED")
    if job["state"] == "cancelled":
        raise CliError(f"The job {job['id']} was cancelled.", code="JOB_CANCELLED")
