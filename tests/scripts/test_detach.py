import subprocess
import sys
import time
from pathlib import Path

from tests.environment import ROOT

PROGRAM = """
import sys
import time
from pathlib import Path
from stack.detach import detach

def serve(on_ready):
    print("coming up", flush=True)
    {body}

sys.exit(detach(serve, Path(sys.argv[1])))
"""


def run(log: Path, body: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body), str(log)],
        env={"PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_caller_goes_on_once_the_background_is_ready_and_its_later_output_goes_to_the_log(tmp_path):
    log = tmp_path / "log"
    done = run(log, "on_ready(); print('from the background', flush=True); return 0")
    assert (done.returncode, done.stdout) == (0, "coming up\n")
    deadline = time.monotonic() + 10
    while not log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert log.read_text() == "from the background\n"


def test_a_background_that_does_not_come_up_tells_its_exit_code(tmp_path):
    assert run(tmp_path / "log", "return 3").returncode == 3


def test_a_background_that_breaks_is_never_taken_for_ready(tmp_path):
    done = run(tmp_path / "log", "raise RuntimeError('broken')")
    assert done.returncode != 0
