"""Builds of the small company: one that runs, one that waits, one that failed, one that made an image."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from slipway.builds.models import Build, BuildStep, SourceKind
from slipway.catalog.models import Image
from slipway.jobs.models import JobState
from slipway.projects.models import Project
from tests import factories

MiB = 1 << 20
TEXT = """\
# syntax=docker/dockerfile:1
FROM debian:bookworm AS base
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-pip
FROM base AS web
WORKDIR /srv
COPY requirements.txt .
RUN --mount=type=cache,target=/root/.cache pip install -r requirements.txt
COPY . .
RUN python3 -m compileall shop
CMD ["python3", "-m", "shop.web"]
"""
NAMES = (
    "[base 1/2] FROM debian:bookworm",
    "[base 2/2] RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-pip",
    "[web 1/5] WORKDIR /srv",
    "[web 2/5] COPY requirements.txt .",
    "[web 3/5] RUN --mount=type=cache,target=/root/.cache pip install -r requirements.txt",
    "[web 4/5] COPY . .",
    "[web 5/5] RUN python3 -m compileall shop",
    "export the image",
)
Lines = list[tuple[str, str]]


def seed(shop: Project, web: Image, by: str) -> dict[str, Lines]:
    """Make them; answer what they wrote, by build."""
    now = timezone.now()
    git = {"url": "https://git.example.org/acme/shop.git", "ref": "main"}
    done = _build(shop, by, now - timedelta(hours=3), 71.4, JobState.SUCCEEDED, SourceKind.GIT, git, web)
    _steps(
        done, ("cached", "cached", "cached", "done", "done", "done", "done", "done"), now - timedelta(hours=3)
    )
    failed = _build(shop, by, now - timedelta(minutes=52), 9.8, JobState.FAILED, SourceKind.GIT, git)
    failed.job.cause = {
        "code": "BUILD_STEP_FAILED",
        "message": "[web 5/5] RUN python3 -m compileall shop ended with exit code 1.",
        "facts": {"line": 9, "file": "Dockerfile", "step": 7},
    }
    failed.job.save()
    states = ("cached", "cached", "cached", "cached", "cached", "done", "failed", "skipped")
    _steps(failed, states, now - timedelta(minutes=52), "The files that it copies have changed.")
    context = {"name": "shop", "size": 5 * MiB, "upload": factories.digest("shop")}
    running = _build(
        shop, by, now - timedelta(seconds=34), None, JobState.RUNNING, SourceKind.UPLOAD, context
    )
    states = ("cached", "done", "done", "done", "running", "waiting", "waiting", "waiting")
    _steps(running, states, now - timedelta(seconds=34), "requirements.txt has changed.")
    _build(shop, by, now - timedelta(seconds=5), None, JobState.QUEUED, SourceKind.NONE, {}, text=TEXT)
    return {failed.hex: _broken(), running.hex: _installing(), done.hex: _installing()}


def _build(
    project: Project,
    by: str,
    at: Any,
    seconds: float | None,
    state: JobState,
    kind: SourceKind,
    source: dict[str, Any],
    image: Image | None = None,
    text: str | None = None,
) -> Build:
    is_queued = state == JobState.QUEUED
    job = {
        "state": state,
        "created_by_name": by,
        "created_at": at,
        "admitted_at": None if is_queued else at,
        "started_at": None if is_queued else at + timedelta(seconds=1),
        "ended_at": at + timedelta(seconds=seconds) if seconds else None,
    }
    options = {
        "dockerfile": "Dockerfile",
        "dockerfile_text": text,
        "tags": ["shop-web:2026.11.3"],
        "args": {},
    }
    return factories.make_build(
        project,
        job=job,
        created_at=at,
        source_kind=kind,
        source=source,
        options=options,
        image_id=image.image_id if image else "",
        warnings=["Dockerfile:7: SecretsUsedInArgOrEnv: …"] if image else [],
    )


def _steps(build: Build, states: tuple[str, ...], at: Any, reason: str = "") -> None:
    for number, (state, name) in enumerate(zip(states, NAMES, strict=True), 1):
        took = {"done": 2.3 * number, "failed": 1.2, "cached": 0.0}.get(state)
        stage = name[1 : name.index(" ")] if name.startswith("[") else ""
        BuildStep.objects.create(
            build=build,
            number=number,
            position=number,
            stage=stage,
            name=name,
            state=state,
            started_at=at if state not in ("waiting", "skipped") else None,
            ended_at=at + timedelta(seconds=took) if took is not None else None,
            reason=reason if state in ("done", "running", "failed") else "",
            progress="41.2 MB of 63.0 MB" if state == "running" else "",
        )


def _installing() -> Lines:
    green, grey, off = "\x1b[32m", "\x1b[90m", "\x1b[0m"
    packages = ("django", "psycopg", "uvicorn", "pillow", "structlog", "redis", "msgspec", "httptools")
    lines: Lines = [
        ("2:stdout", f"Get:{number} bookworm/main amd64 package-{number}") for number in range(1, 40)
    ]
    for name in packages:
        lines.append(("5:stdout", f"Collecting {name}"))
        lines.append(("5:stdout", f"  {grey}Downloading {name}-5.2-py3-none-any.whl (8.3 MB){off}"))
    lines.append(("5:stderr", "WARNING: Running pip as the 'root' user can result in broken permissions."))
    lines.append(("5:stdout", f"{green}Successfully installed {' '.join(packages)}{off}"))
    return lines


def _broken() -> Lines:
    red, off = "\x1b[31m", "\x1b[0m"
    lines: Lines = [("7:stdout", f"Compiling 'shop/views/page_{number}.py'...") for number in range(1, 30)]
    lines.append(("7:stderr", f"{red}*** Error compiling 'shop/checkout.py'...{off}"))
    lines.append(("7:stderr", '  File "shop/checkout.py", line 88'))
    lines.append(("7:stderr", "    return total +"))
    lines.append(("7:stderr", f"{red}SyntaxError: invalid syntax{off}"))
    return lines
