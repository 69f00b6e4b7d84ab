"""What users wish for in the kill matrix, uttered until it is taken, and what must come of it."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.archives import E, tar
from tests.rest import Problem, Rest, Unreachable, until
from tests.stacks import RunningStack

OPERATIONS = ("create", "start", "stop", "remove", "import", "cancel")
ENDED = ("succeeded", "failed", "cancelled")
UNTYPED = ("", "INTERNAL", "INTERNAL_ERROR")
_T = TypeVar("_T")


@dataclass
class Wish:
    """``prepare``, ``utter``, ``settle`` (raises ``AssertionError`` saying what is wrong), ``remove``."""

    stack: RunningStack
    operation: str
    seed: int
    patience: float
    container: str = ""
    """Its id, once it is known."""
    job: str = ""
    name: str = field(init=False)

    def __post_init__(self) -> None:
        rng = random.Random(self.seed)
        self.rest = Rest(self.stack.url, self.stack.token, self.stack.project)
        self.name = f"t{self.seed}-{secrets.token_hex(3)}"
        self.code, self.lines = rng.randrange(1, 120), rng.randrange(1, 400)

    # ------------------------------------------------------------------ before anybody is killed

    def prepare(self) -> None:
        if self.operation == "start":
            self._insist(lambda: self._made(self._script(), start=False))
        elif self.operation in ("stop", "remove"):
            self._insist(lambda: self._made(self._service(), start=True))
            until(self._has_begun, self.patience, f"{self.name} did not begin")
        elif self.operation == "cancel":
            self._insist(self._import)

    def _made(self, command: str, *, start: bool) -> bool:
        self.container = self.rest.create(self.name, "sh", "-c", command, start=start)["id"]
        return True

    def _script(self) -> str:
        return (
            f"i=0; while [ $i -lt {self.lines} ]; do i=$((i+1)); echo line $i; done;"
            f" sleep 0.5; echo last; exit {self.code}"
        )

    def _service(self) -> str:
        return f"trap 'echo last; exit {self.code}' TERM; echo begun; while :; do sleep 0.1; done"

    def _has_begun(self) -> bool | None:
        return True if tried(lambda: self.rest.log(self.name)) == ["begun"] else None

    # ------------------------------------------------------------------ while somebody is

    def utter(self) -> None:
        action = {
            "create": lambda: self._made(self._script(), start=False),
            "start": lambda: self._act("start"),
            "stop": lambda: self._act("stop"),
            "remove": self._remove,
            "import": self._import,
            "cancel": self._cancel,
        }[self.operation]
        self._insist(action)

    def _act(self, action: str) -> bool:
        """What was taken is not asked for again when only its answer was lost."""
        try:
            self.rest.call("POST", self.rest.containers(self.name, action))
        except Unreachable:
            found = until(self._seen, self.patience, f"{self.name} is not there")
            return (
                bool(found["pending"])
                or found["state"] == "exited"
                or (action == "start" and found["run"] > 0)
            )
        except Problem as problem:
            if problem.status != 409:
                raise
        return True

    def _import(self) -> bool:
        archive = tar([E(f"file{n}", random.Random(self.seed + n).randbytes(200_000)) for n in range(10)])
        path = f"/projects/{self.rest.project}/images?name={self.name}&tag=1"
        answer = self.rest.send("POST", path, archive, **{"Content-Type": "application/x-tar"})
        self.job = json.loads(answer)["id"]
        return True

    def _cancel(self) -> bool:
        try:
            self.rest.call("POST", f"{self._job_path()}/cancel")
        except Problem as problem:
            if problem.status != 409:  # it has ended already
                raise
        return True

    def remove(self) -> None:
        """Wish it gone, and wait until it is."""
        self._insist(self._remove)
        until(self._is_gone, self.patience, f"{self.name} was not removed")

    def _remove(self) -> bool:
        try:
            self.rest.call("DELETE", f"{self.rest.containers(self.name)}?force=true")
        except Problem as problem:
            if problem.status not in (404, 409):  # it has gone, or is going
                raise
        return True

    def _is_gone(self) -> bool | None:
        try:
            self.rest.inspect(self.name)
        except Problem as problem:
            return True if problem.status == 404 else None
        return None

    def _insist(self, action: Callable[[], bool]) -> None:
        until(lambda: tried(action) or None, self.patience, f"{self.operation} of {self.name} was not taken")

    # ------------------------------------------------------------------ afterwards

    def settle(self, victim: str) -> None:
        if self.operation == "create":
            found = until(self._seen, self.patience, f"{self.name} is not there")
            assert found["state"] == "created", found["state"]
        elif self.operation in ("import", "cancel"):
            self._settle_job(victim)
        elif self.operation == "remove":
            until(self._is_gone, self.patience, f"{self.name} was not removed")
        else:
            self._settle_container(victim)

    def _seen(self) -> dict[str, Any] | None:
        return tried(lambda: self.rest.inspect(self.name))

    def _job_path(self) -> str:
        return f"/projects/{self.rest.project}/jobs/{self.job}"

    def _settle_job(self, victim: str) -> None:
        def ended() -> dict[str, Any] | None:
            found: dict[str, Any] | None = tried(lambda: self.rest.call("GET", self._job_path()))
            return found if found and found["state"] in ENDED else None

        job = until(ended, self.patience, f"job {self.job} has not ended")
        allowed = ("succeeded", "cancelled") if self.operation == "cancel" else ("succeeded",)
        assert job["state"] in allowed, f"the job has {job['state']}: {job['cause']}"
        if job["state"] == "succeeded":
            path = f"/projects/{self.rest.project}/images/{self.name}:1"
            image = until(lambda: tried(lambda: self.rest.call("GET", path)), self.patience, "no image")
            assert len(image["layers"]) == 1

    def _settle_container(self, victim: str) -> None:
        def stable() -> dict[str, Any] | None:
            found = self._seen()
            if found is None or found["pending"] or found["state"] not in ("exited", "created"):
                return None
            return found

        found = until(stable, self.patience, f"{self.name} does not settle ({self._seen()})")
        cause = found["cause"] or {}
        outcome = f"{found['state']}, exit code {found['exit_code']}, cause {cause}"
        if victim == "runtime" and found["state"] == "created":
            assert cause.get("code", "") not in UNTYPED, outcome
            return
        if victim == "conmon" and found["exit_code"] != self.code:
            assert found["exit_code"] is None or found["state"] == "created", outcome
            assert cause.get("code", "") not in UNTYPED, outcome
            return
        assert (found["state"], found["exit_code"]) == ("exited", self.code), outcome
        assert not cause, outcome
        self._check_log()

    def _check_log(self) -> None:
        numbered = [f"line {number}" for number in range(1, self.lines + 1)]
        wanted = [*(numbered if self.operation == "start" else ["begun"]), "last"]
        log = until(lambda: tried(lambda: self.rest.log(self.name)), self.patience, "no log")
        assert log == wanted, f"a log of {len(log)} lines, not {len(wanted)}: …{log[-3:]}"


def tried(look: Callable[[], _T]) -> _T | None:
    """None when the server, or the node behind it, is away for a moment."""
    try:
        return look()
    except Unreachable:
        return None
    except Problem as problem:
        if problem.status < 500:
            raise
        return None
