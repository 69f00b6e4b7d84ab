import subprocess
import sys

import pytest

from stack import pidfiles

SLEEP = "import time; print('up', flush=True); time.sleep(60)"


@pytest.fixture
def sleeper():
    """Start a process that says when it is up; whatever is left of it goes with the test."""
    started = []

    def start(code: str = SLEEP) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout.readline() == b"up\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_recorded_process_is_found_while_it_lives_and_not_after(tmp_path, sleeper):
    process = sleeper()
    pidfiles.write(tmp_path / "web", process.pid)
    assert pidfiles.alive(tmp_path) == {"web": process.pid}
    process.kill()
    process.wait()
    assert pidfiles.alive(tmp_path) == {}


def test_a_recycled_process_id_is_no_match(tmp_path, sleeper):
    process = sleeper()
    (tmp_path / "web").write_text(f"{process.pid} 12345\n")
    assert pidfiles.read(tmp_path / "web") is None


def test_a_torn_or_missing_file_speaks_of_nobody(tmp_path):
    (tmp_path / "web").write_text("")
    assert pidfiles.read(tmp_path / "web") is None
    assert pidfiles.read(tmp_path / "observer") is None


def test_end_kills_what_ignores_a_polite_request(sleeper):
    stubborn = sleeper("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP)
    pidfiles.end([stubborn.pid], grace=0.2)
    assert stubborn.wait(1) == -9
