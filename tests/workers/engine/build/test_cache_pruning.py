"""Pruning forgets a project's entries, and none that a running build uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.engine.build.cache import Cache, Entry, Session
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


def made(cache: Cache, places: Places, session: Session, key: str) -> None:
    cache.commit(session, Entry(key, "", "i", "", "RUN", 0.0, 0.0, 100, "", None), upper(places, key))


def test_what_was_swept_goes_when_the_builds_of_then_have_ended_though_others_run(places: Places) -> None:
    cache = Cache(places)
    older = cache.session(ACME)
    made(cache, places, older.__enter__(), "k0")
    for number in range(1, 20):  # never a moment without a build
        newer = cache.session(ACME)
        made(cache, places, newer.__enter__(), f"k{number}")
        older.__exit__(None, None, None)
        older = newer
        cache.sweep(max_bytes=0, max_age=0)
        assert len(list(places.build_doomed.iterdir())) <= 2
    older.__exit__(None, None, None)
    cache.tidy()
    assert list(places.build_doomed.iterdir()) == []
    cache.close()


def test_what_a_running_build_may_read_is_kept_until_it_ends(places: Places) -> None:
    cache = Cache(places)
    with cache.session(OTHER):
        with cache.session(ACME) as session:
            made(cache, places, session, "key")
            cache.forget(ACME)
        with cache.session(OTHER):
            cache.tidy()
            assert len(list(places.build_doomed.iterdir())) == 1
    with cache.session(OTHER):
        cache.tidy()
        assert list(places.build_doomed.iterdir()) == []
    cache.close()


def test_nothing_is_remembered_of_builds_that_ended(places: Places) -> None:
    cache = Cache(places)
    for number in range(5):
        with cache.session(ACME) as session, cache.working(ACME, f"k{number}", lambda: None):
            made(cache, places, session, f"k{number}")
    cache.sweep(max_bytes=0, max_age=0)
    assert not cache.remembered()
    cache.close()


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
