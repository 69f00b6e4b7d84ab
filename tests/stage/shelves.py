"""What the stage has in its library and its repositories."""

from __future__ import annotations

import json
import os
from datetime import timedelta

from django.utils import timezone

from slipway.accounts.actors import Actor
from slipway.accounts.models import User
from slipway.blobs.opening import blob_store
from slipway.jobs.models import Job, JobState
from slipway.projects.models import Project
from slipway.repositories.models import Repository, Visibility
from tests import factories
from tests.slipway.repositories.pushing import Pusher


def fill(library: Project, shop: Project, who: User) -> Job:
    """The job that filled the library. One project has nothing yet."""
    factories.make_project(shop.team, slug="playground", name="Playground", index=4, node=shop.node)
    repositories(shop, Actor(user=who))
    return jobs_of_library(library, who)


def jobs_of_library(library: Project, who: User) -> Job:
    """Redis, made from Debian's packages a while ago."""
    now = timezone.now()
    return factories.make_job(
        library,
        subject="redis:latest",
        state=JobState.SUCCEEDED,
        detail="Writing to disk",
        created_by=who,
        created_at=now - timedelta(hours=5),
        started_at=now - timedelta(hours=5),
        ended_at=now - timedelta(hours=5) + timedelta(seconds=14),
    )


def bake_log() -> list[str]:
    packages = ["libatomic1", "libjemalloc2", "liblua5.1-0", "lua-cjson", "redis-tools", "redis-server"]
    return [
        "Installing redis-server on Debian",
        "Reading package lists...",
        "The following NEW packages will be installed:",
        f"  {' '.join(packages)}",
        *(f"Setting up {package} ..." for package in packages),
        "Version 7.0.15; measuring the layer",
        "Done.",
    ]


def repositories(shop: Project, who: Actor) -> None:
    """The web shop as it was pushed, for everybody to pull; and what only the team sees."""
    pusher = Pusher(shop, blob_store(), who)
    lines = [
        {"created_by": "mmdebstrap --variant=minbase bookworm"},
        {"created_by": "RUN apt-get install -y --no-install-recommends python3"},
        {"created_by": "WORKDIR /srv", "empty_layer": True},
        {"created_by": "COPY . /srv # buildkit"},
    ]
    config = json.dumps({"os": "linux", "architecture": "amd64", "history": lines}).encode()
    base, python = os.urandom(300_000), os.urandom(90_000)
    for tag in ("2026.11.2", "2026.11.3"):
        pusher.image("storefront", tag, base, python, tag.encode() * 4000, config=config)
    pusher.image("internal/worker", "1", base, config=config)
    readme = "# Storefront\n\nThe web shop.\n\n- listens on **8000**\n- needs `DATABASE_URL`\n\n"
    readme += "|variable|default|\n|-|-|\n|LOG|info|\n"
    Repository.objects.filter(name="storefront").update(
        visibility=Visibility.PUBLIC, readme=readme, pull_count=1284
    )
