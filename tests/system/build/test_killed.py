"""A worker killed in the middle of a step: its containers end with it; the next one finds a clean node."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.environment import ROOT
from tests.system.build.rigs import BuildRig
from tests.system.rigs import until
from workers.engine.build import room
from workers.messages import encode

TEXT = "FROM base\nRUN echo kept > /kept\nRUN --mount=type=cache,target=/c echo up; sleep 1000\n"

WORKER = """
import io, sys
from pathlib import Path
from tests.system.build.rigs import BuildRig, _no_pull
from workers.engine.build import builder as builders
from workers.engine.build.builder import Builder, Doors
from workers.engine.host import open_engine
from workers.engine.logwriting import LogWriter
from workers.engine.places import Places
from workers.messages import decode_command

data, run, instance, command, archive, log = sys.argv[1:]
engine = open_engine(Places(Path(data), Path(run)), instance=instance)
doors = Doors(
    open_upload=lambda digest: io.BytesIO(Path(archive).read_bytes()),
    pull=lambda reference, platform, note: _no_pull(reference, platform),
    push=lambda scope, image, reference, note: None,
    keep_output=lambda write: "", tell=lambda steps: None, log=LogWriter(Path(log)), cancelled=lambda: None,
)
builders.build(Builder.open(engine), decode_command(Path(command).read_text()), doors)
"""


def test_nothing_is_left_of_a_killed_build_and_its_cache_is_kept(builds: BuildRig, tmp_path: Path) -> None:
    command = builds.command(TEXT)
    (tmp_path / "command").write_text(encode(command))
    (tmp_path / "archive").write_bytes(next(iter(builds.uploads.values())))
    builds.log = tmp_path / "log"
    places, engine = builds.rig.places, builds.rig.engine
    places_given = [places.data, places.run, engine.instance, tmp_path / "command", tmp_path / "archive"]
    worker = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WORKER), *map(str, places_given), str(builds.log)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    until(lambda: "up" in builds.said() or worker.poll() is not None)
    assert worker.poll() is None
    inside = _processes("sleep\x001000")
    assert inside

    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()

    until(lambda: not _processes("sleep\x001000"))  # its reaper saw to that
    assert builds.traces() != []
    assert room.recover(engine) == 1
    assert builds.traces() == []

    builds.cancelled = _soon(builds)
    with suppress(_Enough):
        builds.run(command)
    assert builds.state("echo kept") == "cached"


class _Enough(Exception):
    pass


def _soon(builds: BuildRig) -> Callable[[], None]:
    def cancelled() -> None:
        if "up" in builds.said():
            raise _Enough

    return cancelled


def test_a_build_at_work_is_not_taken_for_a_killed_one(builds: BuildRig) -> None:
    recovered: list[int] = []

    def cancelled() -> None:
        if "up" in builds.said() and not recovered:
            recovered.append(room.recover(builds.rig.engine))

    builds.cancelled = cancelled
    built = builds.build("FROM base\nRUN echo up; sleep 0.5; echo whole > /whole\n")

    assert recovered == [0]
    assert builds.text(built, "/whole") == "whole\n"


def _processes(command: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if command.encode() in (path / "cmdline").read_bytes():
                found.append(path.name)
        except OSError:
            continue
    return found
