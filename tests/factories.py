"""One builder per row: each makes what it needs, with values a test need not care about."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import asdict
from typing import Any

from django.utils import timezone

from slipway.accounts.actors import Actor
from slipway.accounts.models import Membership, Role, Team, User
from slipway.builds.commands import command_of_build
from slipway.builds.models import Build, SourceKind
from slipway.catalog.models import Image, ImageLayer, Reference
from slipway.containers.models import Container
from slipway.jobs.models import Job, JobKind
from slipway.nodes.models import Node
from slipway.projects.models import Project
from slipway.repositories.models import Blob, BlobLink, Manifest, ManifestBlob, Repository, Tag
from slipway.repositories.names import sort_key
from slipway.templates.models import Template
from workers.messages import BakeImage, ContainerSpec, encode

_number = itertools.count(1)
NODE_KEY = "hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo"
"""The X25519 public key of RFC 7748, section 6.1 (Alice); nobody opens what is sealed to it here."""


def digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def make_user(username: str | None = None, **fields: Any) -> User:
    user = User(username=username or f"user{next(_number)}", **fields)
    user.set_unusable_password()
    user.save()
    return user


def make_team(slug: str | None = None, **fields: Any) -> Team:
    slug = slug or f"team{next(_number)}"
    return Team.objects.create(slug=slug, name=slug, **fields)


def make_actor(team: Team | None = None, role: Role = Role.OWNER, **fields: Any) -> Actor:
    """A user with ``role`` in ``team``."""
    user = make_user(**fields)
    if team is not None:
        Membership.objects.create(team=team, user=user, role=role)
    return Actor(user=user)


def make_node(name: str = "local", **fields: Any) -> Node:
    """The node of that name, alive."""
    values = {"public_key": NODE_KEY, "signed_by": "", "heartbeat_at": timezone.now(), **fields}
    return Node.objects.get_or_create(name=name, defaults=values)[0]


def make_project(team: Team | None = None, **fields: Any) -> Project:
    number = next(_number)
    values = {
        "team": team or make_team(),
        "slug": f"project{number}",
        "index": number % 240,  # the plan has 256: some are left for what services create
        "node": make_node(),
        **fields,
    }
    values.setdefault("name", values["slug"])
    return Project.objects.create(**values)


def make_library(**fields: Any) -> Project:
    return make_project(make_team("library"), slug="library", library=True, **fields)


def image_config(**fields: Any) -> str:
    """An OCI config that names a command, unless told otherwise."""
    return json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]}, **fields})


def make_image(
    project: Project | None = None,
    name: str | None = "busybox:latest",
    layers: tuple[str, ...] = ("a",),
    **fields: Any,
) -> Image:
    """An image with ``name`` in the project's list and one layer of 100 bytes per word."""
    project = project or make_project()
    values = {
        "image_id": digest(f"image {next(_number)}"),
        "manifest_digest": digest(f"manifest {next(_number)}"),
        "config": image_config(),
        "size": 100 * len(layers),
        **fields,
    }
    image = Image.objects.create(project=project, **values)
    for position, word in enumerate(layers):
        ImageLayer.objects.create(
            image=image,
            position=position,
            digest=digest(f"blob {word}"),
            diff_id=digest(word),
            size=60,
            unpacked_size=100,
        )
    if name is not None:
        repository, _, tag = name.partition(":")
        Reference.objects.create(project=project, image=image, name=repository, tag=tag)
    return image


def make_manifest(project: Project, repository: str, tag: str, size: int = 100) -> Manifest:
    """An image of one blob, with the tag, as a push would have left it; without any bytes in a store."""
    found, _ = Repository.objects.get_or_create(
        project=project, name=repository, defaults={"path": f"{project.path}/{repository}"}
    )
    blob = Blob.objects.create(digest=digest(f"pushed {next(_number)}"), size=size, key="none", store="none")
    BlobLink.objects.create(repository=found, project=project, blob=blob)
    manifest = Manifest.objects.create(
        repository=found,
        digest=digest(f"pushed manifest {next(_number)}"),
        media_type="application/vnd.oci.image.manifest.v1+json",
        content=b"{}",
        size=2,
        config_digest=blob.digest,
        content_size=size,
    )
    ManifestBlob.objects.create(manifest=manifest, blob=blob, position=0, media_type="")
    Tag.objects.create(repository=found, name=tag, sort_key=sort_key(tag), manifest=manifest)
    return manifest


def make_container(project: Project | None = None, **fields: Any) -> Container:
    project = project or make_project()
    image = fields.pop("image", None) or Image.objects.filter(project=project).first() or make_image(project)
    name = fields.pop("name", f"container{next(_number)}")
    spec = ContainerSpec(image_id=image.image_id, image_scope=image.project_id.hex, name=name, hostname=name)
    values = {"image": image, "image_name": "busybox", "spec": asdict(spec), "node": make_node(), **fields}
    return Container.objects.create(project=project, name=name, **values)


def make_build(project: Project | None = None, **fields: Any) -> Build:
    """A build of a Dockerfile's text, let go to its node; ``job`` says how far it is."""
    project = project or make_project()
    job = make_job(project, kind=JobKind.BUILD_IMAGE, subject="#1 web", **fields.pop("job", {}))
    last = Build.objects.filter(project=project).count()
    options = {"dockerfile": "Dockerfile", "dockerfile_text": "FROM busybox\n", "tags": ["web:latest"]}
    values = {"number": last + 1, "source_kind": SourceKind.NONE, "options": options, **fields}
    limits = {"memory_bytes": 1 << 30, "cpu_millis": 1000, "pids": 512}
    build = Build(project=project, job=job, limits=limits, **values)
    job.command = encode(command_of_build(build))
    job.save(update_fields=["command"])
    build.save()
    return build


def make_template(slug: str = "echo", **fields: Any) -> Template:
    values = {"name": slug.title(), "image": "busybox:latest", "command": ["echo", "hello"]} | fields
    return Template.objects.create(slug=slug, **values)


def make_job(project: Project | None = None, **fields: Any) -> Job:
    project = project or make_project()
    values = {"kind": JobKind.BAKE_IMAGE, "subject": "busybox:latest", "admitted_at": timezone.now()}
    job = Job(project=project, node=make_node(), **(values | fields))
    job.command = encode(BakeImage(job.hex, project.hex, "busybox", "busybox", "latest"))
    job.save()
    return job
