"""A storm: containers start, run, log and exit while one process after another is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.rest import Problem, Rest, until
from tests.stacks import RunningStack

VICTIMS = ("web", "observer", "worker", "agent", "redis")
COMEBACK_SECONDS = 60
SETTLE_SECONDS = 180
CLIENTS = 4


@dataclass(frozen=True)
class Trial:
    """One container and what must come of it."""

    name: str
    lines: int
    seconds: float
    code: int

    @property
    def command(self) -> tuple[str, ...]:
        script = (
            f"i=0; while [ $i -lt {self.lines} ]; do i=$((i+1)); echo line $i; done;"
            f" sleep {self.seconds}; echo last; exit {self.code}"
        )
        return "sh", "-c", script

    @property
    def log(self) -> list[str]:
        return [*(f"line {number}" for number in range(1, self.lines + 1)), "last"]


@dataclass
class Storm:
    """``run`` raises AssertionError naming each container that came out wrong, and the seed."""

    stack: RunningStack
    containers: int
    rounds: int
    seed: int
    killed: list[str] = field(default_factory=list)

    def run(self) -> None:
        rng = random.Random(self.seed)
        trials = [
            Trial(f"storm-{self.seed}-{n}", rng.randrange(1, 1500), rng.choice((0, 1, 3)), rng.randrange(256))
            for n in range(self.containers)
        ]
        victims = [name for _ in range(self.rounds) for name in rng.sample(VICTIMS, len(VICTIMS))]
        killer = threading.Thread(target=self._kill, args=(victims, random.Random(self.seed)))
        killer.start()
        with ThreadPoolExecutor(CLIENTS) as clients:
            wrong = [line for line in clients.map(self._follow, trials) if line]
            killer.join()
            wrong += [line for line in clients.map(self._remove, trials) if line]
        wrong += leftovers(self.stack)
        assert self.killed == victims, f"killed only {self.killed} of {victims} (seed {self.seed})"
        assert not wrong, f"seed {self.seed}, killed {self.killed}:\n" + "\n".join(wrong)

    def _kill(self, victims: list[str], rng: random.Random) -> None:
        pause = threading.Event()
        for name in victims:
            pid = until(lambda name=name: self.stack.pid(name), COMEBACK_SECONDS, f"{name} did not come back")
            os.kill(pid, signal.SIGKILL)
            self.killed.append(name)
            pause.wait(rng.uniform(0.2, 2.0))

    def _rest(self) -> Rest:
        return Rest(self.stack.url, self.stack.token, self.stack.project)

    def _follow(self, trial: Trial) -> str | None:
        rest = self._rest()
        try:
            until(lambda: _tried(rest, trial), COMEBACK_SECONDS, f"{trial.name} was not taken")
            found = rest.wait(trial.name, seconds=SETTLE_SECONDS)
            log = until(lambda: _log(rest, trial), COMEBACK_SECONDS, f"{trial.name}: log incomplete")
        except (AssertionError, Problem) as error:
            return f"{trial.name}: {error}"
        if found["exit_code"] != trial.code:
            return f"{trial.name}: exit code {found['exit_code']}, not {trial.code} ({found.get('cause')})"
        return None if log == trial.log else f"{trial.name}: a log of {len(log)} lines, not {trial.lines + 1}"

    def _remove(self, trial: Trial) -> str | None:
        rest = self._rest()
        try:
            until(lambda: _removed(rest, trial), SETTLE_SECONDS, f"{trial.name} was not removed")
        except (AssertionError, Problem) as error:
            return str(error)
        return None


def leftovers(stack: RunningStack) -> list[str]:
    """Mounts, control groups, links and shims of this instance's containers; waits for clean-up under way."""
    try:
        until(lambda: True if not _left(stack) else None, 20, "clean-up")
    except AssertionError:
        return _left(stack)
    return []


def _left(stack: RunningStack) -> list[str]:
    bundles = f"{stack.run}/node/containers/"
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if bundles in line]
    found = subprocess.run(["pgrep", "-af", bundles], capture_output=True, text=True, check=False)
    shims = found.stdout.splitlines()
    groups = [
        str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{stack.instance}/**/") if len(path.name) == 64
    ]
    bridges = [
        wire.name
        for bridge in Path("/sys/class/net").glob("sw*")
        if f" {stack.instance} " in (bridge / "ifalias").read_text()
        for wire in bridge.glob("brif/*")
    ]
    addresses = [str(path) for path in (stack.run / "node" / "addresses").glob("*/*.*.*.*")]
    return [*mounts, *shims, *groups, *bridges, *addresses]


def _tried(rest: Rest, trial: Trial) -> bool | None:
    try:
        rest.create(trial.name, *trial.command)
    except Problem as problem:
        if problem.status < 500:
            raise
        return None
    return True


def _log(rest: Rest, trial: Trial) -> list[str] | None:
    try:
        log = rest.log(trial.name)
    except Problem as problem:
        if problem.status < 500:
            raise
        return None
    return log if len(log) > trial.lines else None


def _removed(rest: Rest, trial: Trial) -> bool | None:
    try:
        rest.call("DELETE", rest.containers(trial.name))
    except Problem as problem:
        return True if problem.status == 404 else None
    return None
