"""What a tenant's root can see and do, through the whole product."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.rest import Rest, until

DOCKER_DEFAULT_CAPABILITIES = "00000000a80425fb"
"""The fourteen of docker run, as a mask."""


def _run(rest: Rest, name: str, script: str, **more: object) -> tuple[dict[str, object], list[str]]:
    rest.create(name, "sh", "-c", script, **more)
    return rest.wait(name), rest.log(name)


def _process(marker: str) -> Path:
    """/proc directory of the one process on the node whose arguments hold ``marker``."""

    def look() -> Path | None:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "cmdline").read_bytes().split(b"\0")[:2] == [b"sleep", marker.encode()]:
                    return process
            except OSError:
                continue
        return None

    return until(look, 15, f"no process sleeps {marker}")


def _first_id(process: Path) -> int:
    """Node's id of the process, checked to be root inside its user namespace."""
    inside, outside, _ = map(int, (process / "uid_map").read_text().split())
    assert inside == 0
    line = next(row for row in (process / "status").read_text().splitlines() if row.startswith("Uid:"))
    assert int(line.split()[1]) == outside
    return outside


def test_root_inside_is_the_projects_own_range_on_the_node(
    rest: Rest, neighbour: Rest, unique: Callable[[str], str]
) -> None:
    mine, other = unique("mine"), unique("other")
    rest.create(mine, "sh", "-c", "id -u; exec sleep 98761")
    neighbour.create(other, "sh", "-c", "id -u; exec sleep 98762")
    try:
        first, second = _first_id(_process("98761")), _first_id(_process("98762"))
        assert min(first, second) >= 65536
        assert abs(first - second) >= 65536
        assert until(lambda: rest.log(mine) or None, 5, "no line") == ["0"]
    finally:
        rest.call("DELETE", rest.containers(mine) + "?force=true")
        neighbour.call("DELETE", neighbour.containers(other) + "?force=true")


def test_the_filter_is_on_and_capabilities_are_dropped(rest: Rest, unique: Callable[[str], str]) -> None:
    _, log = _run(rest, unique("caps"), "cat /proc/self/status")
    status = dict(line.split(":\t", 1) for line in log if ":\t" in line)
    assert status["Seccomp"] == "2"
    assert status["NoNewPrivs"] == "1"
    assert status["CapEff"] == status["CapBnd"] == DOCKER_DEFAULT_CAPABILITIES


def test_a_neighbour_cannot_be_reached_over_the_network(
    rest: Rest, neighbour: Rest, unique: Callable[[str], str]
) -> None:
    server = unique("server")
    rest.create(server, "sh", "-c", "echo hello > /tmp/index.html; exec httpd -f -p 8080 -h /tmp")
    try:
        running = rest.wait(server, "running")
        ask = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {running['address']} 8080"
        patiently = f"for i in 1 2 3 4 5; do {ask} && exit 0; sleep 1; done; exit 1"
        friend, friend_log = _run(rest, unique("friend"), patiently)
        assert friend["exit_code"] == 0
        assert friend_log[-1] == "hello"
        stranger, stranger_log = _run(neighbour, unique("stranger"), f"{ask} || exit 9")
        assert (stranger["exit_code"], "hello" in stranger_log) == (9, False)
    finally:
        rest.call("DELETE", rest.containers(server) + "?force=true")


def test_memory_over_the_limit_is_killed_and_said_to_be_so(rest: Rest, unique: Callable[[str], str]) -> None:
    eater, _ = _run(
        rest,
        unique("eater"),
        "x=aaaaaaaaaaaaaaaa; while true; do x=$x$x; done",
        limits={"memory_bytes": 32 << 20},
    )
    assert eater["oom_killed"] is True
    assert eater["exit_code"] == 137


def test_a_fork_bomb_stays_inside_its_limit(rest: Rest, unique: Callable[[str], str]) -> None:
    script = "n=0; while [ $n -lt 60 ]; do sleep 20 & n=$((n+1)); done; echo all started"
    bomb, log = _run(rest, unique("bomb"), script, limits={"pids": 12})
    assert bomb["exit_code"] != 0
    assert "all started" not in log
    assert any("fork" in line for line in log)
