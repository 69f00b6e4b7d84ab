"""The production topology parses and names only what exists."""

import importlib.util
import re
import shutil
import tomllib
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

from tests.environment import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if service["image"].startswith("slipway-"))
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_the_whole_process_set_is_there():
    assert {"postgres", "redis", "web", "observer", "worker", "agent", "haproxy"} <= SERVICES.keys()


@pytest.mark.parametrize("name", OURS)
def test_a_service_names_a_command_that_exists(name: str):
    command = SERVICES[name]["command"]
    match command:
        case ["python", "manage.py", subcommand, *_]:
            assert subcommand in get_commands()
        case ["python", "-m", "uvicorn", application, *_]:
            module, _, attribute = application.partition(":")
            assert hasattr(importlib.import_module(module), attribute)
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(f"{module}.__main__")
        case ["celery", "-A", module, "worker", *_]:
            assert importlib.util.find_spec(module)
            assert "celery" in {entry.partition(">")[0] for entry in dependencies()}
        case [program, *_]:
            assert shutil.which(program)


def dependencies() -> list[str]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_waits_only_for_services_and_uses_only_declared_networks_and_volumes(name: str):
    service = SERVICES[name]
    assert set(service.get("depends_on", ())) <= SERVICES.keys()
    assert set(service.get("networks", ())) <= COMPOSE["networks"].keys()
    named = [entry.partition(":")[0] for entry in service.get("volumes", ()) if isinstance(entry, str)]
    assert {entry for entry in named if re.fullmatch(r"[a-z]+", entry)} <= COMPOSE["volumes"].keys()


@pytest.mark.parametrize("name", ["web", "observer", "prepare"])
def test_the_platform_runs_without_privileges(name: str):
    service = SERVICES[name]
    assert service["build"]["target"] == "platform"
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert "privileged" not in service
    stage = DOCKERFILE.partition(" AS platform\n")[2].partition("\nFROM ")[0]
    assert "\nUSER slipway\n" in stage


def test_redis_answers_on_no_network():
    assert SERVICES["redis"]["network_mode"] == "none"
    assert SERVICES["redis"]["command"][1:3] == ["--port", "0"]


@pytest.mark.parametrize("name", OURS)
def test_a_service_is_built_from_a_stage_of_the_dockerfile(name: str):
    assert re.search(rf"^FROM \S+ AS {SERVICES[name]['build']['target']}$", DOCKERFILE, re.MULTILINE)


def test_the_dockerfile_copies_only_what_exists():
    made = {"package.json", "package-lock.json"}
    sources = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert sources
    missing = [
        one for line in sources for one in line.split() if one not in made and not (ROOT / one).exists()
    ]
    assert missing == []


def test_haproxy_speaks_to_the_service_that_is_there():
    text = (ROOT / "deploy" / "haproxy.cfg").read_text()
    host = re.search(r"server-template \S+ \d+ (\w+):8000", text)
    assert host
    assert host[1] in SERVICES
    for backend in re.findall(r"default_backend (\w+)", text):
        assert re.search(rf"^backend {backend}$", text, re.MULTILINE)
