"""Pruning forgets a project's entries, and none that a running build uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.engine.build.cache import Cache, Entry
from workers.engine.places import Places

ACME, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places(tmp_path / "data", tmp_path / "run")
    for directory in (places.builds, places.build_snapshots, places.build_doomed):
        directory.mkdir(parents=True, exist_ok=True)
    return places


def upper(places: Places, name: str) -> Path:
    path = places.builds / name
    path.mkdir()
    (path / "file").write_text(name)
    return path


def test_what_a_build_uses_stays_and_others_are_untouched(places: Places) -> None:
    cache = Cache(places)
    for project, key in ((ACME, "old"), (OTHER, "theirs")):
        with cache.session(project) as session:
            cache.commit(session, Entry(key, "", "i", "", "RUN", 0.0, 0.0, 100, "", None), upper(places, key))
    with cache.session(ACME) as session:
        entry = Entry("used", "", "i", "", "RUN", 0.0, 0.0, 50, "", None)
        cache.commit(session, entry, upper(places, "used"))
        assert cache.prune(ACME) == (1, 100)
        assert places.build_snapshot(ACME, "used").exists()
    assert not places.build_snapshot(ACME, "old").exists()
    assert places.build_snapshot(OTHER, "theirs").exists()
    assert cache.prune(ACME) == (1, 50)
    assert cache.prune(ACME) == (0, 0)
    cache.close()
