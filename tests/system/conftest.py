"""Fixtures of the tests that need root."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import chdir

import pytest

from tests.system.rigs import Rig, open_rig
from workers.errors import RuntimeFailed


@pytest.fixture(scope="session", autouse=True)
def working_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """conmon drops its notes where it was started; the checkout is not the place."""
    with chdir(tmp_path_factory.mktemp("cwd")):
        yield


@pytest.fixture(scope="session", params=["crun", "runc"])
def rig_of_session(request: pytest.FixtureRequest) -> Iterator[Rig]:
    try:
        rig = open_rig(request.param)
    except RuntimeFailed as error:
        if request.param == "runc":  # it works on every node; crun 1.8 refuses some hybrid layouts
            raise
        pytest.skip(error.message)
    yield rig
    rig.close()


@pytest.fixture
def rig(rig_of_session: Rig) -> Iterator[Rig]:
    """One engine per runtime; every container is removed after the test that made it."""
    yield rig_of_session
    rig_of_session.tidy()
