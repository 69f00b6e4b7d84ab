"""The command line brings its own copy of the matcher, for it imports nothing of the nodes (ADR 57)."""

from tests.environment import ROOT


def test_client_and_node_leave_out_the_same_files() -> None:
    ours = ROOT / "platform" / "slipway" / "cli" / "ignore.py"
    original = ROOT / "workers" / "engine" / "dockerfile" / "ignore.py"
    assert ours.read_text() == original.read_text(), f"cp {original} {ours}"
