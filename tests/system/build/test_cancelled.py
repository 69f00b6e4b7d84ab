"""Cancelling within two seconds, also while one huge file is read; sparse files are huge and cost nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from tests.system.build.rigs import BuildRig

HUGE = "dd if=/dev/zero of=/huge bs=1 count=0 seek=60G"
TEXTS = {
    "hashing the layer": (f"FROM base\nRUN {HUGE}\n", "exporting"),
    "hashing what is copied": (f"FROM base AS a\nRUN {HUGE}\nFROM base\nCOPY --from=a /huge /h\n", "COPY"),
    "writing the files": (f"FROM base\nRUN {HUGE}\n", "exporting"),
}


class Cancelled(Exception):
    pass


def _at(builds: BuildRig, name: str) -> Callable[[], None]:
    """What the build asks; from half a second after the step ``name`` began it is cancelled."""
    wished = threading.Event()

    def cancelled() -> None:
        if wished.is_set():
            raise Cancelled

    def watch() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            others = [step for step in builds.steps if name not in step.name]
            if len(others) < len(builds.steps) and all(step.state in ("done", "cached") for step in others):
                time.sleep(0.5)
                break
            time.sleep(0.01)
        else:
            return  # and the build succeeds, which fails the test
        builds.wished_at = time.monotonic()  # type: ignore[attr-defined]
        wished.set()

    threading.Thread(target=watch, daemon=True).start()
    return cancelled


@pytest.mark.parametrize("what", TEXTS)
def test_one_huge_file_holds_nobody_up(builds: BuildRig, what: str) -> None:
    text, step = TEXTS[what]
    builds.cancelled = _at(builds, step)
    with pytest.raises(Cancelled):
        builds.build(text, output="tar" if what == "writing the files" else "image")
    assert time.monotonic() - builds.wished_at < 2  # type: ignore[attr-defined]
    assert builds.traces() == []
