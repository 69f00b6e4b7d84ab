"""The `slipway` command as people call it, against a complete process set."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.archives import E, tar
from tests.environment import ROOT
from tests.rest import until
from tests.stacks import RunningStack

Unique = Callable[[str], str]
COUNT = "i=0; while [ $i -lt {lines} ]; do i=$((i+1)); echo line $i; sleep 0.02; done; exit 5"


@dataclass(frozen=True)
class Begun:
    """A command under way, and the files it prints into."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def end(self) -> tuple[int, str, str]:
        """Its exit code and all it printed."""
        return self.process.wait(60), self.out.read_text(), self.err.read_text()


class Slipway:
    """The launcher, and the environment of somebody signed in."""

    def __init__(self, stack: RunningStack, home: Path) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SLIPWAY_")}
        self.environment = clean | {"SLIPWAY_CONFIG": str(home / "config.toml")}
        self.started: list[Begun] = []
        self.home = home
        done = self("login", stack.url, "--token-stdin", "--project", stack.project, given=stack.token)
        assert done.returncode == 0, done.stderr

    def __call__(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / "bin" / "slipway", *arguments],
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def begin(self, *arguments: str) -> Begun:
        """Start it, and return once it has printed something."""
        number = len(self.started)
        out, err = self.home / f"out-{number}", self.home / f"err-{number}"
        with out.open("w") as stdout, err.open("w") as stderr:
            process = subprocess.Popen(
                [ROOT / "bin" / "slipway", *arguments], env=self.environment, stdout=stdout, stderr=stderr
            )
        begun = Begun(process, out, err)
        self.started.append(begun)
        until(lambda: out.stat().st_size or None, 20, f"`slipway {arguments[0]}` printed nothing")
        return begun


@pytest.fixture
def slipway(stack: RunningStack, tmp_path: Path) -> Iterator[Slipway]:
    slipway = Slipway(stack, tmp_path)
    yield slipway
    for begun in slipway.started:
        begun.process.kill()
        begun.process.wait()


def kill_web(stack: RunningStack) -> None:
    """Its supervisor starts another one."""
    web = stack.pid("web")
    assert web is not None
    os.kill(web, signal.SIGKILL)


def test_run_has_the_output_the_streams_and_the_exit_code_of_the_container(slipway: Slipway) -> None:
    done = slipway("run", "--rm", "-e", "A=b", "busybox", "sh", "-c", "echo $A; echo no >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "b\n", "no\n")
    assert slipway("run", "--rm", "busybox", "no-such-program").returncode == 127
    assert slipway("run", "no-such-image").returncode == 125


def test_a_container_lives_from_run_to_rm(slipway: Slipway, unique: Unique) -> None:
    name = unique("life")
    started = slipway("run", "-d", "--name", name, "busybox", "sh", "-c", "echo up; exec sleep 600")
    assert started.returncode == 0
    until(lambda: slipway("logs", name).stdout == "up\n" or None, 10, "no log")
    assert name in slipway("ps").stdout
    assert slipway("rm", name).returncode == 1
    assert slipway("stop", "-t", "0", name).returncode == 0
    assert name not in slipway("ps").stdout
    assert slipway("start", name).returncode == 0
    assert slipway("kill", name).returncode == 0
    until(lambda: json.loads(slipway("inspect", name).stdout)["state"] == "exited" or None, 10, "not killed")
    assert slipway("rm", name).returncode == 0
    assert slipway("inspect", name).returncode == 3
    stamped = slipway("logs", "--timestamps", "--tail", "1", started.stdout.strip()).stdout
    assert stamped[:3] == "202"
    assert stamped.endswith(" up\n")


def test_an_interrupt_stops_the_container_and_its_code_is_ours(slipway: Slipway, unique: Unique) -> None:
    script = "trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.05; done"
    begun = slipway.begin("run", "--rm", "--name", unique("trap"), "busybox", "sh", "-c", script)
    begun.process.send_signal(signal.SIGINT)
    code, out, err = begun.end()
    assert (code, out) == (9, "up\nbye\n")
    assert "Stopping" in err


def test_a_log_is_followed_through_the_death_of_the_web_process_without_gap_or_duplicate(
    slipway: Slipway, stack: RunningStack, unique: Unique
) -> None:
    name, lines = unique("count"), 150
    slipway("run", "-d", "--name", name, "busybox", "sh", "-c", COUNT.format(lines=lines))
    begun = slipway.begin("logs", "-f", name)
    kill_web(stack)
    code, out, err = begun.end()
    assert out.splitlines() == [f"line {number}" for number in range(1, lines + 1)]
    assert (code, err) == (0, "")


def test_run_outlives_the_web_process(slipway: Slipway, stack: RunningStack, unique: Unique) -> None:
    begun = slipway.begin("run", "--name", unique("count"), "busybox", "sh", "-c", COUNT.format(lines=100))
    kill_web(stack)
    code, out, _ = begun.end()
    assert (code, out.splitlines()) == (5, [f"line {number}" for number in range(1, 101)])


def test_an_imported_image_can_be_run(slipway: Slipway, tmp_path: Path, unique: Unique) -> None:
    busybox = Path("/bin/busybox").read_bytes()
    archive = tmp_path / "root.tar.gz"
    archive.write_bytes(gzip.compress(tar([E("bin/busybox", data=busybox, mode=0o755)]), 1))
    reference = f"{unique('image')}:1"
    change = 'CMD ["/bin/busybox", "echo", "imported"]'
    done = slipway("import", str(archive), reference, "--change", change)
    assert (done.returncode, done.stdout) == (0, f"{reference}\n"), done.stderr
    assert reference in slipway("images").stdout
    assert slipway("run", "--rm", reference).stdout == "imported\n"
    newest = json.loads(slipway("jobs", "--json").stdout)[0]
    assert (newest["subject"], newest["state"]) == (reference, "succeeded")
    archive.write_bytes(b"no archive")
    broken = slipway("import", str(archive), reference)
    assert (broken.returncode, "ARCHIVE_INVALID" in broken.stderr) == (1, True)


def test_a_token_opens_what_it_says_until_it_is_revoked(slipway: Slipway, stack: RunningStack) -> None:
    made = slipway("tokens", "create", "reader", "--scope", "read", "--json")
    token = json.loads(made.stdout)
    slipway.environment |= {"SLIPWAY_URL": stack.url, "SLIPWAY_TOKEN": token["token"]}
    slipway.environment |= {"SLIPWAY_PROJECT": stack.project}
    assert slipway("ps").returncode == 0
    refused = slipway("run", "-d", "busybox", "true")
    assert (refused.returncode, "SCOPE_MISSING" in refused.stderr) == (125, True)
    assert slipway("kill", "nothing").returncode == 3
    del slipway.environment["SLIPWAY_TOKEN"], slipway.environment["SLIPWAY_URL"]
    assert slipway("tokens", "revoke", token["id"]).returncode == 0
    slipway.environment |= {"SLIPWAY_URL": stack.url, "SLIPWAY_TOKEN": token["token"]}
    assert slipway("ps").returncode == 4


def test_the_doctor_finds_nothing_wrong(slipway: Slipway) -> None:
    done = slipway("doctor", "--json")
    assert done.returncode == 0
    assert {line["name"]: line["status"] for line in json.loads(done.stdout)}.keys() >= {"token", "version"}
    assert {line["status"] for line in json.loads(done.stdout)} == {"ok"}
