"""A small company's Slipway on an ordinary Tuesday: what the stage shows, and what the pictures show."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from slipway.accounts.actors import Actor
from slipway.accounts.models import Membership, Role, User
from slipway.audit.services import record
from slipway.catalog.models import Image, ImageLayer, Origin, Reference, RegistryCredential
from slipway.containers.models import Container, State
from slipway.jobs.models import Job, JobKind, JobLayers, JobState
from slipway.projects.models import Project
from tests import factories
from tests.stage import builds, shelves

PASSWORD = "a password for the stage"
MiB = 1 << 20


def seed() -> dict[str, Any]:
    """Fill the database; answer what the stage needs to know."""
    now = timezone.now()
    node = factories.make_node(
        heartbeat_at=now,
        facts={"version": "0.1.0", "runtime": "crun", "kernel": "6.12.48", "counts": {"containers": 6}},
    )
    mia = administrator()
    vic = factories.make_user("vic", name="Victor Amadi")
    team = factories.make_team("acme")
    Membership.objects.create(team=team, user=mia, role=Role.OWNER)
    Membership.objects.create(team=team, user=vic, role=Role.DEVELOPER)
    library = factories.make_library(node=node, index=1, name="Library")
    busybox = image(library, "busybox:1.35", [("busybox from Debian's package", 2 * MiB)])
    debian = image(library, "debian:bookworm", [("mmdebstrap --variant=minbase bookworm", 118 * MiB)])
    shop = factories.make_project(team, slug="shop", name="Shop", index=2, node=node)
    reports = factories.make_project(team, slug="reports", name="Nightly reports", index=3, node=node)
    web = releases(shop)
    containers = populate(shop, reports, web, busybox, debian)
    jobs(shop, node, mia)
    written = builds.seed(shop, web, "mia")
    pull = transfers(shop, web, node, mia)
    job = shelves.fill(library, shop, mia)
    history(Actor(user=mia), Actor(user=vic), shop, reports, containers)
    return {
        "user": "mia",
        "password": PASSWORD,
        "project": "/projects/acme/shop/",
        "containers": {name: container.id for name, container in containers.items()},
        "logs": {
            containers["running"].id: web_log(),
            job.hex: shelves.bake_log(),
            containers["failed"].id: [f"line {number}" for number in range(1, 2001)],
            containers["large"].id: [f"line {number}" for number in range(1, 100_001)],
        },
        "image": web.image_id,
        "job": job.hex,
        "builds": written,
        "pull": pull.hex,
    }


def administrator() -> User:
    mia = factories.make_user("mia", is_staff=True, name="Mia Lindqvist")
    mia.set_password(PASSWORD)
    mia.save()
    return mia


def releases(shop: Project) -> Image:
    """Two images of one web shop, on a shared base; the newer one."""
    newer = image(
        shop,
        "shop-web:2026.11.3",
        [
            ("mmdebstrap --variant=minbase bookworm", 118 * MiB),
            ("RUN apt-get install -y --no-install-recommends python3", 41 * MiB),
            ("WORKDIR /srv", 0),
            ("COPY requirements.txt . # buildkit", 2048),
            ("RUN pip install -r requirements.txt", 63 * MiB),
            ("COPY . /srv # buildkit", 5 * MiB),
            ('CMD ["python3", "-m", "shop.web"]', 0),
        ],
    )
    image(
        shop,
        "shop-web:2026.11.2",
        [("mmdebstrap --variant=minbase bookworm", 118 * MiB), ("COPY . /srv", 5 * MiB)],
    )
    return newer


def image(project: Project, name: str, history: list[tuple[str, int]]) -> Image:
    lines = [
        {"created": "2026-11-17T09:30:00Z", "created_by": text, **({} if size else {"empty_layer": True})}
        for text, size in history
    ]
    inner = {
        "Cmd": ["python3", "-m", "shop.web"] if "web" in name else ["sh"],
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"],
        "WorkingDir": "/srv" if "web" in name else "/",
    }
    config = {"architecture": "amd64", "os": "linux", "config": inner, "history": lines}
    made = factories.make_image(
        project, None, layers=(), config=json.dumps(config), size=sum(size for _, size in history)
    )
    sized = [(text, size) for text, size in history if size]
    for position, (text, size) in enumerate(sized):
        ImageLayer.objects.create(
            image=made,
            position=position,
            digest=factories.digest(f"blob {text}"),
            diff_id=factories.digest(text),
            size=size // 3,
            unpacked_size=size,
        )
    repository, _, tag = name.partition(":")
    Reference.objects.create(project=project, image=made, name=repository, tag=tag)
    return made


def populate(
    shop: Project, reports: Project, web: Image, busybox: Image, debian: Image
) -> dict[str, Container]:
    now = timezone.now()
    running = container(shop, "web-1", web, State.RUNNING, now - timedelta(hours=3), address="10.87.2.4")
    container(shop, "web-2", web, State.RUNNING, now - timedelta(hours=2, minutes=40), address="10.87.2.5")
    container(shop, "cache_warmup", busybox, State.EXITED, now - timedelta(hours=2), 42.5, exit_code=0)
    large = container(
        shop, "import_orders", busybox, State.EXITED, now - timedelta(minutes=48), 12.0, exit_code=0
    )
    failed = container(
        shop, "brisk_quay", busybox, State.EXITED, now - timedelta(minutes=12), 4.2, exit_code=3
    )
    failed.spec["command"] = ["sh", "-c", "for i in $(seq 1 100000); do echo line $i; done; exit 3"]
    failed.save()
    container(
        shop,
        "resize_images",
        debian,
        State.EXITED,
        now - timedelta(minutes=31),
        8.9,
        exit_code=137,
        oom_killed=True,
    )
    container(reports, "sales_2026-11-19", debian, State.EXITED, now - timedelta(hours=9), 312.4, exit_code=0)
    missing = {"code": "COMMAND_NOT_FOUND", "message": "pyhton3: not found in the image's PATH.", "facts": {}}
    container(
        reports,
        "stock_levels",
        debian,
        State.CREATED,
        now - timedelta(minutes=5),
        cause=missing,
        exit_code=127,
    )
    return {"running": running, "failed": failed, "large": large}


def container(
    project: Project,
    name: str,
    made_from: Image,
    state: State,
    started: Any,
    seconds: float | None = None,
    **fields: Any,
) -> Container:
    made = factories.make_container(
        project,
        name=name,
        image=made_from,
        image_name=str(made_from.references.get()),
        observed=state,
        desired=State.RUNNING,
        desired_generation=1,
        observed_generation=1,
        run=0 if state == State.CREATED else 1,
        created_at=started - timedelta(milliseconds=60),
        started_at=None if state == State.CREATED else started,
        finished_at=started + timedelta(seconds=seconds) if seconds is not None else None,
        created_by_name="mia",
        **fields,
    )
    made.spec["command"] = ["sh", "-c", f"/srv/{name}"] if made_from.project.library else None
    made.save()
    return made


def jobs(shop: Project, node: Any, user: Any) -> None:
    now = timezone.now()
    common = {"node": node, "created_by": user, "command": "{}"}
    Job.objects.create(
        project=shop,
        kind=JobKind.IMPORT_IMAGE,
        subject="shop-web:2026.11.4",
        state=JobState.RUNNING,
        detail="Unpacking layer 3 of 5",
        done=96 * MiB,
        total=227 * MiB,
        created_at=now - timedelta(seconds=9),
        started_at=now - timedelta(seconds=8),
        **common,
    )
    Job.objects.create(
        project=shop,
        kind=JobKind.IMPORT_IMAGE,
        subject="legacy-tools:old",
        state=JobState.FAILED,
        cause={
            "code": "ARCHIVE_INVALID",
            "message": "The archive ends in the middle of layer 2 (truncated gzip).",
            "facts": {},
        },
        created_at=now - timedelta(hours=5),
        started_at=now - timedelta(hours=5),
        ended_at=now - timedelta(hours=5) + timedelta(seconds=3),
        **common,
    )


def registry_accounts(shop: Project, now: datetime) -> None:
    for host, error in (("docker.io", ""), ("registry.example.org:5000", "It does not accept this name.")):
        RegistryCredential.objects.create(
            project=shop,
            host=host,
            username="shop-ci",
            sealed_secret="",
            created_by_name="mia",
            tested_at=now - timedelta(hours=3),
            used_at=now - timedelta(minutes=50),
            test_error=error,
        )


def transfers(shop: Project, web: Image, node: Any, user: Any) -> Job:
    """A pull under way, where an image came from and went to, and accounts."""
    now = timezone.now()
    digest = factories.digest
    Reference.objects.create(project=shop, image=web, name="shop-web", tag="stable")
    for kind, name, minutes, stale in (
        (Origin.Kind.PULL, "registry.example.org/shop/web", 190, ""),
        (Origin.Kind.PUSH, "localhost:8000/acme/shop/shop-web", 170, ""),
        (Origin.Kind.PULL, "python", 55, "docker.io allows no more pulls for now."),
    ):
        at = now - timedelta(minutes=minutes)
        fields = {"name": name, "tag": "2026.11.3", "digest": digest(name), "stale": stale, "at": at}
        Origin.objects.create(image=web, kind=kind, **fields)
    registry_accounts(shop, now)
    pull = Job.objects.create(
        project=shop,
        node=node,
        kind=JobKind.PULL_IMAGE,
        subject="python:3.12-slim",
        command="{}",
        created_by=user,
        state=JobState.RUNNING,
        detail="Pulling python:3.12-slim",
        done=31 * MiB,
        total=52 * MiB,
        created_at=now - timedelta(seconds=6),
        started_at=now - timedelta(seconds=5),
    )
    states = [("exists", 28, 28), ("unpacking", 3, 3), ("downloading", 9, 17), ("waiting", 0, 4)]
    JobLayers.objects.create(
        job=pull,
        layers=[[digest(word), word, done * MiB, total * MiB] for word, done, total in states],
    )
    return pull


def history(
    mia: Actor, vic: Actor, shop: Project, reports: Project, containers: dict[str, Container]
) -> None:
    now = timezone.now()
    happened = [
        (mia, "container.create", containers["failed"], 12),
        (mia, "image.import", shop, 35),
        (vic, "container.start", containers["large"], 48),
        (vic, "container.create", containers["running"], 181),
        (mia, "project.create", reports, 900),
    ]
    for actor, action, subject, minutes in happened:
        entry = record(actor, action, subject)
        type(entry).objects.filter(pk=entry.pk).update(at=now - timedelta(minutes=minutes))


def web_log() -> list[str]:
    """What a small web application writes, colours included."""
    green, yellow, red, grey, off = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[90m", "\x1b[0m"
    lines = [f"{green}INFO{off}  shop.web 2026.11.3 listening on 0.0.0.0:8080, 4 workers"]
    paths = (
        "/",
        "/products/oak-table",
        "/cart",
        "/api/stock?sku=8841",
        "/checkout",
        "/healthz",
        "/static/shop.css",
    )
    for number in range(400):
        path = paths[number * 5 % len(paths)]
        took = 2 + number * 37 % 61
        status = 500 if number % 97 == 96 else 404 if number % 41 == 40 else 200
        colour = {200: green, 404: yellow, 500: red}[status]
        lines.append(f"{grey}10.87.2.{1 + number % 9}{off} GET {path} {colour}{status}{off} {took} ms")
        if status == 500:
            lines.append(f"{red}ERROR{off} checkout: payment provider timed out after 2000 ms, retrying")
    return lines
