"""The machine goes down without a word and comes up again; Redis is emptied while things run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import reboots, stacks, traces
from tests.killing import leftovers
from tests.matrix import everybody_is_back, unfinished
from tests.rest import Rest, until
from tests.stacks import RunningStack
from tests.wishes import Wish

SERVICE = ("sh", "-c", "trap 'exit 3' TERM; echo begun; while :; do sleep 0.1; done")


@pytest.fixture
def own() -> Iterator[RunningStack]:
    """One that the test may take down."""
    running = stacks.start()
    yield running
    running.stop()


@pytest.mark.timeout(180)
def test_after_a_reboot_every_row_says_what_became_of_its_container(own: RunningStack) -> None:
    rest = Rest(own.url, own.token, own.project)
    ran = rest.create("ran", *SERVICE)["id"]
    rest.create("ended", "sh", "-c", "echo done; exit 5")
    rest.create("never", *SERVICE, start=False)
    going = rest.create("going", *SERVICE)["id"]
    rest.wait("ended")
    until(lambda: True if rest.log("ran") == rest.log("going") == ["begun"] else None, 20, "not begun")
    # Wished as the lights go out: nobody knows whether the node has heard of it.
    rest.call("DELETE", f"{rest.containers('going')}?force=true")
    importing = Wish(own, "import", seed=7, patience=60)
    importing.utter()

    reboots.power_off(own)
    own = reboots.power_on(own)

    rest = Rest(own.url, own.token, own.project)
    everybody_is_back(own)
    lost = rest.wait("ran", seconds=60)
    assert (lost["exit_code"], lost["cause"]["code"]) == (None, "NODE_RESTARTED")
    assert rest.log("ran") == ["begun"]
    ended = rest.inspect("ended")
    assert (ended["state"], ended["exit_code"], ended["cause"]) == ("exited", 5, None)
    assert rest.inspect("never")["state"] == "created"
    importing.rest = rest
    importing.settle("")
    until(lambda: True if not unfinished(own) else None, 60, "unfinished rows")
    until(lambda: True if not traces.of_container(own, going) else None, 20, "the removed one")
    assert traces.of_run(own, ran) == []
    assert leftovers(own) == []

    rest.call("POST", rest.containers("ran", "start"))
    until(lambda: True if rest.log("ran") == ["begun", "begun"] else None, 30, "it did not run again")
    rest.call("POST", rest.containers("ran", "stop"))
    assert rest.wait("ran")["exit_code"] == 3


@pytest.mark.timeout(180)
def test_redis_emptied_again_and_again_while_things_run_loses_nothing(stack: RunningStack) -> None:
    rest = Rest(stack.url, stack.token, stack.project)
    wishes = []
    for number, operation in enumerate(("start", "stop", "remove", "import", "start", "stop")):
        wish = Wish(stack, operation, seed=9_000 + number, patience=60)
        wish.prepare()
        reboots.empty_redis(stack)
        wish.utter()
        reboots.empty_redis(stack)
        wishes.append(wish)
    for wish in wishes:
        wish.settle("redis")
    until(lambda: True if not unfinished(stack) else None, 60, "unfinished rows")
    for wish in wishes:
        if wish.container and wish.operation != "remove":
            wish.remove()
            until(lambda wish=wish: not traces.of_container(stack, wish.container) or None, 20, "left")
    assert rest.call("GET", "/me")
