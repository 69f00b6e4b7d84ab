"""What runtimes say, as errors of ours; the lines are real ones of crun 1.8 and runc 1.1."""

from __future__ import annotations

import pytest

from workers.engine.runtime import oci, signals
from workers.errors import CommandNotExecutable, CommandNotFound, InvalidSpec, RuntimeFailed

UNABLE = "unable to start container process: "


def runc(message: str) -> str:
    text = message.replace('"', '\\"')
    return (
        'time="2026-01-02T03:04:05Z" level=warning msg="unable to get oom kill count"\n'
        f'time="2026-01-02T03:04:05Z" level=error msg="runc create failed: {text}"\n'
    )


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("executable file `nope` not found in $PATH: No such file or directory\n", CommandNotFound),
        ("open executable: Not a directory\n", CommandNotFound),
        ("open executable: Permission denied\n", CommandNotExecutable),
        ("open executable: Operation not permitted\n", CommandNotExecutable),
        ("chdir `/bin/sh`: Not a directory\n", InvalidSpec),
        ("mount `proc` to `proc`: Permission denied\n", RuntimeFailed),
        ("", RuntimeFailed),
        (
            runc(UNABLE + 'exec: "nope": executable file not found in $PATH'),
            CommandNotFound,
        ),
        (
            runc(UNABLE + 'exec: "/no": stat /no: no such file or directory'),
            CommandNotFound,
        ),
        (runc(UNABLE + 'exec: "/bin/x": permission denied'), CommandNotExecutable),
        (runc(UNABLE + 'exec: "/loop": stat /loop: too many levels of symbolic links'), CommandNotExecutable),
        (runc("unable to start: error during container init: mkdir /bin/sh: not a directory"), InvalidSpec),
        (runc("unable to apply cgroup configuration: permission denied"), RuntimeFailed),
    ],
)
def test_each_refusal_says_whose_problem_it_is(said: str, kind: type[Exception]) -> None:
    assert type(oci.failure(said)) is kind


def test_a_refusal_carries_the_runtimes_own_line() -> None:
    error = oci.failure(runc('exec: "nope": executable file not found in $PATH'))
    assert error.facts["runtime"] == 'runc create failed: exec: "nope": executable file not found in $PATH'


def test_a_refusal_names_the_program_when_the_runtime_does_not() -> None:
    error = oci.failure("open executable: Permission denied", "/etc/passwd")
    assert error.message == "The command '/etc/passwd' cannot be executed: open executable: Permission denied"


@pytest.mark.parametrize(
    ("text", "number"), [("SIGTERM", 15), ("kill", 9), ("15", 15), ("SIGRTMIN+3", 37), ("rtmax-1", 63)]
)
def test_signals_are_read_as_people_write_them(text: str, number: int) -> None:
    assert signals.parse(text) == number


@pytest.mark.parametrize("text", ["", "SIGNOPE", "0", "65", "-1", "SIG_DFL", "SIGRTMAX+1", "TERM KILL"])
def test_no_such_signal_is_said(text: str) -> None:
    with pytest.raises(InvalidSpec, match="No such signal"):
        signals.parse(text)
