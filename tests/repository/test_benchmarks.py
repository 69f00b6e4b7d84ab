import pytest

from benchmarks import tables
from benchmarks.turns import Contestant, take_turns

RESULTS = {
    "machine": {"kernel": "6.1"},
    "turns": {
        "engine, crun": {"median": 50.0, "p10": 40.0, "p90": 60.0},
        "docker run --rm, runc": {"median": 200.0, "p10": 190.0, "p90": 230.0},
    },
    "burst": {"crun": 61.0},
    "idle": {"web": 80.0, "redis": 4.0},
    "running": {"containers": 40, "shim": 400.0, "processes": 50.0},
}


def test_every_contestant_takes_as_many_turns_and_none_always_goes_first():
    order: list[str] = []
    contestants = [Contestant(name, lambda name=name: order.append(name)) for name in ("a", "b", "c")]
    found = take_turns(contestants, rounds=6)
    assert {name: times["turns"] for name, times in found.items()} == {"a": 6, "b": 6, "c": 6}
    assert set(order[::3]) == {"a", "b", "c"}


def test_figures_replace_those_of_the_run_before_and_nothing_else(tmp_path):
    document = tmp_path / "performance.md"
    document.write_text(f"before\n\n{tables.BEGIN}\n\nold\n\n{tables.END}\n\nafter\n")
    tables.replace(document, tables.render(RESULTS))
    text = document.read_text()
    assert "| engine, crun | 50 | 40–60 | 0.25 |" in text
    assert "| idle, all | 84 MiB |" in text
    assert text.startswith("before\n")
    assert text.endswith("\n\nafter\n")
    assert "old" not in text


def test_a_document_without_a_place_for_figures_is_left_alone(tmp_path):
    document = tmp_path / "performance.md"
    document.write_text("words\n")
    with pytest.raises(ValueError, match="no place for figures"):
        tables.replace(document, "figures")
    assert document.read_text() == "words\n"
