#!/usr/bin/env python
"""Pushes and pulls of Slipway's registry beside Debian's docker-registry, in one run over loopback.

Both keep their bytes on the same file system; contestants take turns, each with blobs it has not seen. Needs
root and the package docker-registry. Writes the registry's figures into performance.md and
performance-registry.json, and prints them.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import memory, tables
from benchmarks.wire import Wire
from tests import stacks

ROOT = Path(__file__).resolve().parent.parent
OURS, THEIRS = "Slipway", "docker-registry"
BIG = 300 << 20
SMALL, SMALL_COUNT, CLIENTS = 1 << 20, 200, 8
HEADS = 2000
CROWD, CROWD_BYTES = 20, 1 << 30


@dataclass
class Contestant:
    name: str
    port: int
    repository: str
    token: Callable[[], str]
    pid: int

    def wire(self) -> Wire:
        return Wire(self.port, self.token())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=ROOT / "docs")
    options = parser.parse_args()
    with contestants() as (ours, theirs):
        grown = crowd(ours)  # first: later pushes would find the memory of earlier ones
        results = measure([ours, theirs], options.rounds)
        results["crowd"] = grown
    (options.output / "performance-registry.json").write_text(json.dumps(results, indent=2) + "\n")
    text = render(results)
    tables.replace(options.output / "performance.md", text, "registry")
    print(text)
    return 0


def measure(both: list[Contestant], rounds: int) -> dict[str, Any]:
    found: dict[str, dict[str, list[float]]] = {name: {OURS: [], THEIRS: []} for name in MEASURED}
    for turn in range(rounds + 1):
        for contestant in both if turn % 2 else reversed(both):
            for name, seconds in one_turn(contestant):
                if turn:  # the first warms up
                    found[name][contestant.name].append(seconds)
    return {
        "seconds": {
            name: {who: round(median(times), 3) for who, times in by.items()} for name, by in found.items()
        }
    }


MEASURED = (
    "push one blob of 300 MB",
    "pull it",
    "push 200 × 1 MB, 8 clients",
    "pull them",
    "2,000 manifest HEADs",
)


def one_turn(contestant: Contestant) -> Iterator[tuple[str, float]]:
    big = memoryview(os.urandom(SMALL) * (BIG // SMALL))
    digest = f"sha256:{hashlib.sha256(big).hexdigest()}"
    wire, repository = contestant.wire(), contestant.repository
    yield MEASURED[0], timed(lambda: wire.push(repository, digest, big))
    yield MEASURED[1], timed(lambda: wire.pull(repository, digest, BIG))
    blobs = [os.urandom(SMALL) for _ in range(SMALL_COUNT)]
    named = [(f"sha256:{hashlib.sha256(data).hexdigest()}", data) for data in blobs]
    yield MEASURED[2], timed(lambda: in_parallel(contestant, named, lambda w, d, b: w.push(repository, d, b)))
    yield (
        MEASURED[3],
        timed(lambda: in_parallel(contestant, named, lambda w, d, b: w.pull(repository, d, len(b)))),
    )
    wire.close()  # idle for long
    wire = contestant.wire()
    tag = push_image(contestant, wire)
    yield MEASURED[4], timed(lambda: [wire.ask("HEAD", tag) for _ in range(HEADS)])
    wire.close()


def push_image(contestant: Contestant, wire: Wire) -> str:
    """The address of a manifest that is there now."""
    config = json.dumps({"salt": os.urandom(8).hex()}).encode()
    digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    wire.push(contestant.repository, digest, config)
    kind = "application/vnd.oci.image.manifest.v1+json"
    described = {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": digest,
        "size": len(config),
    }
    body = {"schemaVersion": 2, "mediaType": kind, "config": described, "layers": []}
    address = f"/v2/{contestant.repository}/manifests/bench"
    request = urllib.request.Request(
        f"http://127.0.0.1:{contestant.port}{address}",
        json.dumps(body).encode(),
        {"Content-Type": kind, "Authorization": f"Bearer {contestant.token()}"},
        method="PUT",
    )
    with urllib.request.urlopen(request, timeout=60):
        return address


def in_parallel(
    contestant: Contestant, named: list[tuple[str, bytes]], act: Callable[[Wire, str, bytes], None]
) -> None:
    def client(number: int) -> None:
        wire = contestant.wire()
        for digest, data in named[number::CLIENTS]:
            act(wire, digest, data)
        wire.close()

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))


def timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def crowd(ours: Contestant) -> dict[str, float]:
    """By how much the web process grows while twenty clients push a gibibyte in all; in MiB."""
    size = CROWD_BYTES // CROWD
    data = memoryview(os.urandom(size))
    before = peak = memory.pss(ours.pid)

    def client(number: int) -> None:
        own = bytes(8 - len(str(number))) + str(number).encode() + data
        wire = ours.wire()
        wire.push(ours.repository, f"sha256:{hashlib.sha256(own).hexdigest()}", own)
        wire.close()

    with ThreadPoolExecutor(CROWD) as pool:
        running = [pool.submit(client, number) for number in range(CROWD)]
        while not all(each.done() for each in running):
            peak = max(peak, memory.pss(ours.pid))
            time.sleep(0.02)  # between two looks
        for each in running:
            each.result()
    return {"before": round(before / (1 << 20), 1), "grown": round((peak - before) / (1 << 20), 1)}


# --------------------------------------------------------------------------- the two


@contextlib.contextmanager
def contestants() -> Iterator[tuple[Contestant, Contestant]]:
    with contextlib.ExitStack() as cleanup:
        yield slipway(cleanup), docker_registry(cleanup)


def slipway(cleanup: contextlib.ExitStack) -> Contestant:
    running = stacks.start()
    cleanup.callback(running.stop)
    port = int(running.environment["SLIPWAY_PORT"])
    repository = f"{running.project}/bench"
    credentials = b64encode(f"{running.admin}:{running.token}".encode()).decode()

    def token() -> str:
        request = urllib.request.Request(
            f"{running.url.rstrip('/')}/auth/token?scope=repository:{repository}:pull,push",
            headers={"Authorization": f"Basic {credentials}"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return str(json.load(answer)["token"])

    return Contestant(OURS, port, repository, token, running.pid("web") or 0)


def docker_registry(cleanup: contextlib.ExitStack) -> Contestant:
    """With its defaults, but for the place of its bytes and a log that is as quiet as ours."""
    directory = Path(tempfile.mkdtemp(prefix="slipway-bench-", dir="/var/tmp"))
    cleanup.callback(shutil.rmtree, directory)
    port = stacks.free_port()
    config = {
        "version": "0.1",
        "log": {"accesslog": {"disabled": True}, "level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(directory)}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    file = directory / "config.yml"
    file.write_text(json.dumps(config))  # YAML enough
    process = subprocess.Popen(
        ["docker-registry", "serve", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    cleanup.callback(process.wait)
    cleanup.callback(process.terminate)
    deadline = time.monotonic() + 20
    while True:
        try:
            Wire(port).ask("GET", "/v2/")
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)  # between two looks
    return Contestant(THEIRS, port, "tests/playground/bench", str, process.pid)


def render(results: dict[str, Any]) -> str:
    rows = [
        (name, f"{by[OURS]:.2f} s", f"{by[THEIRS]:.2f} s", f"{by[THEIRS] / by[OURS]:.2f}")
        for name, by in results["seconds"].items()
    ]
    lines = [
        "| registry, over loopback | Slipway | docker-registry | times as fast |",
        "| --- | ---: | ---: | ---: |",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    grown = results["crowd"]["grown"]
    return (
        "\n".join(lines)
        + f"\n\nTwenty clients pushing 1 GiB in all made the web process grow by {grown:.0f} MiB."
    )


if __name__ == "__main__":
    sys.exit(main())
