import pytest

from workers.engine.build.defaults import RunDefaults
from workers.errors import InvalidManifest

FULL = {
    "User": "app:app",
    "ExposedPorts": {"443/tcp": {}, "80/tcp": {}},
    "Env": ["PATH=/bin", "A="],
    "Entrypoint": ["/entry"],
    "Cmd": [],
    "Volumes": {"/data": {}},
    "WorkingDir": "/srv",
    "Labels": {"a": "1"},
    "StopSignal": "SIGINT",
    "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5_000_000_000, "Retries": 3},
    "OnBuild": ["RUN true"],
    "Shell": ["/bin/bash", "-c"],
}


def test_defaults_are_written_as_they_were_read() -> None:
    assert RunDefaults.parse(FULL).wire() == FULL


def test_what_an_image_does_not_say_is_not_written() -> None:
    assert RunDefaults.parse(None).wire() == {}


@pytest.mark.parametrize("healthcheck", [[], {"Test": "true"}, {"Interval": "5s"}, {"Retries": True}])
def test_a_healthcheck_of_another_form_is_refused(healthcheck: object) -> None:
    with pytest.raises(InvalidManifest):
        RunDefaults.parse({"Healthcheck": healthcheck})
