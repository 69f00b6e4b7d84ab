"""Containers for real: what they see, what they may, how they end, and that nothing of them is left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests import leftovers
from tests.system.rigs import DEADLINE, Rig, status, uid_outside, until
from workers.engine import containers, logs
from workers.engine.runtime import process
from workers.engine.wires import veth_name
from workers.errors import NoSuchContainer, NotRunning
from workers.messages import ContainerExited, ContainerRemoved, ContainerStarted, Limits, RemoveContainer

FOREVER = ("sleep", "100000")

# --------------------------------------------------------------------------- what it sees


def test_root_inside_is_the_projects_own_id_on_the_node(rig: Rig) -> None:
    container = rig.run("sh", "-c", "id -u; exec sleep 100000")
    until(lambda: rig.lines(container) == ["0"])
    assert uid_outside(rig.record(container).pid) == rig.project().uid_base


def test_two_projects_have_different_ranges(rig: Rig) -> None:
    pids = [rig.record(rig.run(*FOREVER, project=rig.project(number))).pid for number in (1, 2)]
    assert [uid_outside(pid) for pid in pids] == [rig.project(1).uid_base, rig.project(2).uid_base]


def test_the_exit_code_and_both_streams_come_back(rig: Rig) -> None:
    code, lines = rig.result("sh", "-c", "echo out; echo err >&2; exit 3")
    assert code == 3
    assert sorted(lines) == ["err", "out"]


@pytest.mark.parametrize("user", [None, "bob"])
def test_its_output_can_be_opened_by_name(rig: Rig, user: str | None) -> None:
    """As servers do whose log files are links to /dev/stdout."""
    code, lines = rig.result("sh", "-c", "echo out > /dev/stdout && echo err >> /dev/stderr", user=user)
    assert (code, sorted(lines)) == (0, ["err", "out"])


def test_docker_defaults_hold_inside(rig: Rig) -> None:
    script = "echo $HOME $HOSTNAME $(cat /etc/hostname) $(pwd); grep test /etc/hosts; echo more >> /etc/hosts"
    code, lines = rig.result("sh", "-c", script)
    address = rig.last(ContainerStarted).address
    assert (code, lines) == (0, ["/root test test /", f"{address}\ttest"])


def test_a_user_is_resolved_and_the_working_directory_made(rig: Rig) -> None:
    script = "echo $(id -u) $(id -g) $(id -G) $HOME; pwd; grep CapEff /proc/self/status"
    _, lines = rig.result("sh", "-c", script, user="bob", working_dir="/new/place")
    assert lines == ["1000 1000 1000 44 /home/bob", "/new/place", "CapEff:\t0000000000000000"]


def test_unprivileged_ports_and_pings_are_open(rig: Rig) -> None:
    names = ("ping_group_range", "ip_unprivileged_port_start")
    script = "cat " + " ".join(f"/proc/sys/net/ipv4/{name}" for name in names)
    assert rig.result("sh", "-c", script)[1] == ["0\t65535", "0"]


def test_a_read_only_container_writes_to_its_devices_only(rig: Rig) -> None:
    script = "touch /file 2>/dev/null && echo written; echo x > /dev/shm/x && echo shm"
    assert rig.result("sh", "-c", script, read_only=True)[1] == ["shm"]


def test_a_terminal_is_one(rig: Rig) -> None:
    assert rig.result("sh", "-c", "test -t 1 && echo $TERM", tty=True) == (0, ["xterm"])


# --------------------------------------------------------------------------- what it may


def test_the_filter_is_on_and_capabilities_are_dockers(rig: Rig) -> None:
    pid = rig.record(rig.run(*FOREVER)).pid
    assert [status(pid, name) for name in ("Seccomp", "NoNewPrivs", "CapEff", "CapBnd", "CapInh")] == [
        "2",
        "1",
        "00000000a80425fb",
        "00000000a80425fb",
        "0000000000000000",
    ]


def test_every_namespace_is_its_own(rig: Rig) -> None:
    pid = rig.record(rig.run(*FOREVER)).pid
    for kind in ("pid", "ipc", "uts", "mnt", "cgroup", "net", "user"):
        assert os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")


def test_the_nodes_settings_cannot_be_written(rig: Rig) -> None:
    paths = ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper")
    script = "; ".join(f"(echo x > {path}) 2>/dev/null && echo {path}" for path in paths)
    assert rig.result("sh", "-c", script)[1] == []


def test_a_setuid_program_of_a_layer_belongs_to_nobody_on_the_node(rig: Rig) -> None:
    container = rig.run(*FOREVER)
    found = (rig.places.rootfs(container) / "bin" / "setuid").stat()
    assert found.st_uid == rig.project().uid_base


def test_other_users_of_the_node_reach_nothing_of_a_container(rig: Rig) -> None:
    container = rig.run(*FOREVER)
    for path in (
        rig.places.rootfs(container) / "bin" / "setuid",
        rig.places.bundle(container) / "etc" / "hosts",
    ):
        for uid, may in ((65534, False), (rig.project(2).uid_base, False), (rig.project().uid_base, True)):
            told = subprocess.run(
                ["cat", path], user=uid, group=uid, extra_groups=[], capture_output=True, check=False
            )
            assert (told.returncode == 0) is may, (uid, path, told.stderr)


def test_memory_over_the_limit_is_killed_and_reported_as_such(rig: Rig) -> None:
    container = rig.run("sh", "-c", "x=aaaaaaaaaaaaaaaa; while true; do x=$x$x; done")
    event = rig.end(container)
    assert (event.exit_code, event.oom_killed) == (137, True)


def test_a_killed_container_was_not_out_of_memory(rig: Rig) -> None:
    container = rig.run(*FOREVER)
    containers.kill(rig.engine, container, signal.SIGKILL)
    event = rig.end(container)
    assert (event.exit_code, event.oom_killed) == (137, False)


def test_a_fork_bomb_stays_inside_its_limit(rig: Rig) -> None:
    bomb = "(for i in $(seq 200); do sleep 100000 & done); echo over; exec sleep 100000"
    container = rig.run("sh", "-c", bomb, limits=Limits(pids=20))
    until(lambda: "over" in rig.lines(container))
    assert 15 <= containers.usage(rig.engine, container).pids <= 20


def test_usage_is_read_while_it_runs(rig: Rig) -> None:
    container = rig.run("sh", "-c", "while true; do true; done", limits=Limits(memory_bytes=48 << 20))
    until(lambda: containers.usage(rig.engine, container).cpu_ns > 50_000_000)
    usage = containers.usage(rig.engine, container)
    assert usage.memory_limit == 48 << 20
    assert 0 < usage.memory_bytes < 48 << 20


# --------------------------------------------------------------------------- where it lives


def test_the_shim_is_outside_of_our_cgroup_in_every_tree(rig: Rig) -> None:
    record = rig.record(rig.run(*FOREVER))
    assert record.shim is not None
    ours = {f"/{rig.engine.instance}/shims", record.cgroup}
    for pid in (record.shim.pid, record.pid):
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers not in ("cpuset", "cpuset,cpu"):
                assert path in ours, line


def test_the_shim_knows_nothing_of_our_environment(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_CANARY", "secret")
    shim = rig.record(rig.run(*FOREVER)).shim
    assert shim is not None
    assert b"CANARY" not in Path(f"/proc/{shim.pid}/environ").read_bytes()


# --------------------------------------------------------------------------- how it ends


@pytest.mark.parametrize(
    ("args", "exit_code", "code"),
    [
        (("no-such-command",), 127, "COMMAND_NOT_FOUND"),
        (("/bin/no-such-command",), 127, "COMMAND_NOT_FOUND"),
        (("/bin/plain",), 126, "COMMAND_NOT_EXECUTABLE"),
        (("/bin",), 126, "COMMAND_NOT_EXECUTABLE"),
    ],
)
def test_a_command_that_cannot_run_fails_and_leaves_nothing(
    rig: Rig, args: tuple[str, ...], exit_code: int, code: str
) -> None:
    event = rig.fail(*args)
    assert (event.exit_code, event.cause.code) == (exit_code, code)
    assert rig.record(event.container).phase == "created"
    assert rig.nothing_left(event.container)


@pytest.mark.parametrize("program", ["/bin/garbage", "/bin/orphan"])
def test_what_only_the_kernel_can_refuse_ends_at_once_and_its_log_says_why(rig: Rig, program: str) -> None:
    """Runtimes look for the file and its mode; format and interpreter are the kernel's to judge."""
    code, lines = rig.result(program)
    assert code == 1
    assert len(lines) == 1
    assert lines[0].startswith("exec ")
    assert program in lines[0]


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"user": "alice"}, "SPEC_INVALID"),
        ({"stop_signal": "SIGNOPE"}, "SPEC_INVALID"),
        ({"working_dir": "/bin/busybox"}, "SPEC_INVALID"),
        ({"env": tuple(f"V{n}={'x' * 100_000}" for n in range(11))}, "SPEC_INVALID"),
        ({"image_id": "sha256:" + "0" * 64}, "IMAGE_UNKNOWN"),
        ({"image_scope": "6" * 32}, "IMAGE_UNKNOWN"),
    ],
)
def test_what_cannot_be_started_says_why_and_leaves_nothing(
    rig: Rig, wish: dict[str, object], code: str
) -> None:
    command = rig.command("true")
    command = replace(command, spec=replace(command.spec, **wish))
    containers.run(rig.engine, command, rig.events.append)
    event = rig.events[-1]
    assert event.cause.code == code  # type: ignore[union-attr]
    assert rig.nothing_left(command.container)


def test_what_looks_for_leftovers_sees_all_of_a_running_container(rig: Rig) -> None:
    container = rig.run(*FOREVER)
    found = rig.traces(container)
    address = rig.last(ContainerStarted).address
    for trace in (
        " - overlay ",
        "/sys/fs/cgroup",
        f"/{address}",
        veth_name(container),
        f"/containers/{container}",
        "process ",
    ):
        assert any(trace in each for each in found), (trace, found)


def test_what_looks_for_leftovers_of_this_run_sees_it_too_and_nothing_of_another_run(rig: Rig) -> None:
    container = rig.run(*FOREVER)
    found = leftovers.survey(leftovers.marks())
    for kind, trace in {
        "mount": container,
        "link": veth_name(container),
        "nft table": rig.engine.instance,
        "control group": rig.engine.instance,
        "process": container,
    }.items():
        assert any(line.startswith(f"{kind}: ") and trace in line for line in found), (kind, found)
    assert leftovers.survey(re.compile(rf"swt{os.getpid()}0")) == []


def test_nothing_is_left_of_a_finished_container_but_record_log_and_files(rig: Rig) -> None:
    container = rig.run("sh", "-c", "echo kept > /kept; echo line")
    rig.end(container)
    assert rig.nothing_left(container)
    assert rig.lines(container) == ["line"]
    assert (rig.places.snapshot(container) / "rw" / "upper" / "kept").read_text() == "kept\n"


def test_a_second_run_finds_what_the_first_wrote_and_goes_on_in_its_log(rig: Rig) -> None:
    container = rig.run("sh", "-c", "echo one > /kept")
    rig.end(container)
    script = "cat /kept; echo two"
    code, lines = rig.result("sh", "-c", script, container=container, generation=2, run=2)
    assert (code, lines) == (0, ["one", "two"])
    assert (rig.last(ContainerStarted).run, rig.last(ContainerExited).run) == (2, 2)


def test_a_killed_shim_leaves_the_container_running_and_its_exit_code_unknown(rig: Rig) -> None:
    container = rig.run(*FOREVER)
    record = rig.record(container)
    assert record.shim is not None
    process.send(record.shim, signal.SIGKILL)
    assert process.wait(record.shim, DEADLINE)
    assert not containers.settle(rig.engine, container, rig.events.append)
    containers.kill(rig.engine, container, signal.SIGKILL)
    event = rig.end(container)
    assert event.exit_code is None
    assert event.cause is not None
    assert event.cause.code == "SHIM_LOST"
    assert rig.nothing_left(container)


def test_removal_by_force_ends_it_first_and_leaves_only_the_log(rig: Rig) -> None:
    container = rig.run("sh", "-c", "echo line; exec sleep 100000")
    until(lambda: rig.lines(container) == ["line"])
    containers.remove(rig.engine, RemoveContainer(container, 2), rig.events.append)
    exited, removed = rig.events[-2:]
    assert isinstance(exited, ContainerExited)
    assert exited.exit_code == 137
    assert removed == ContainerRemoved(container, 2)
    assert rig.nothing_left(container)
    assert not rig.places.snapshot(container).exists()
    assert rig.lines(container) == ["line"]
    assert containers.inventory(rig.engine) == ()


def test_signals_go_to_what_runs_only(rig: Rig) -> None:
    with pytest.raises(NoSuchContainer):
        containers.kill(rig.engine, "0" * 64, signal.SIGTERM)
    container = rig.run("true")
    rig.end(container)
    with pytest.raises(NotRunning):
        containers.kill(rig.engine, container, signal.SIGTERM)
    with pytest.raises(NotRunning):
        containers.usage(rig.engine, container)


# --------------------------------------------------------------------------- its log


def test_a_log_rotated_while_it_grows_keeps_every_line_at_its_position(rig: Rig) -> None:
    script = "trap 'echo last; exit' TERM; i=0; while true; do i=$((i + 1)); echo line $i; done"
    container = rig.run("sh", "-c", script)
    directory = rig.places.log_directory(container)
    for count in (1, 2, 3):
        until(lambda: containers.rotate_log(rig.engine, container, segment_bytes=50_000))
        until(lambda count=count: len(list(directory.glob("0*.log"))) == count)  # type: ignore[misc]
    containers.kill(rig.engine, container, signal.SIGTERM)
    rig.end(container)
    *lines, last = rig.lines(container)
    assert last == "last"
    assert lines == [f"line {number}" for number in range(1, len(lines) + 1)]
    entries = rig.entries(container)
    assert [entry.position for entry in entries[1:]] == [entry.next for entry in entries[:-1]]
    tail = logs.tail_position(directory, 1)
    assert [entry.text for entry in logs.read(directory, tail).entries] == ["last"]


def test_a_line_longer_than_the_shims_buffer_is_whole_again_when_joined(rig: Rig) -> None:
    container = rig.run(
        "sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x 2>/dev/null || yes x | head -c 100000"
    )
    rig.end(container)
    directory = rig.places.log_directory(container)
    entries = logs.read(directory, 0, limit_bytes=1 << 20).entries
    assert entries
    assert all(len(entry.text) <= 1 << 15 for entry in entries)
