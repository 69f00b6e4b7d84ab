"""Writes: containers. Each wish is a generation; the node answers with events."""

from __future__ import annotations

import json
from dataclasses import asdict

from django.db import IntegrityError, transaction

from slipway import dispatch
from slipway.accounts.actors import Actor
from slipway.accounts.errors import InvalidRequest, NameTaken
from slipway.accounts.policy import Action, require
from slipway.audit.services import record
from slipway.catalog.models import Image
from slipway.catalog.queries import resolve
from slipway.containers.claims import KIND, claims
from slipway.containers.commands import command_for
from slipway.containers.errors import Busy, Removed, StillRunning
from slipway.containers.models import Container, State
from slipway.containers.names import random_long_name, random_name
from slipway.containers.requests import ContainerRequest, check, limits, parse_signal
from slipway.hints import publish_container
from slipway.ids import new_container_id
from slipway.nodes import agent
from slipway.nodes.services import ensure_home
from slipway.projects import ledger
from slipway.projects.models import Project
from workers.errors import InvalidSpec, NoSuchImage, NotRunning
from workers.messages import ContainerSpec

STOP_TIMEOUT_MAX = 3600.0
_NAMES_TRIED = 12


def create_container(actor: Actor, project: Project, request: ContainerRequest) -> Container:
    """A container in state created; with ``request.start`` its start is on the way.

    Raise ``NotFound``, ``NotAllowed``, ``InvalidName``, ``NameTaken``, ``NoSuchImage``,
    ``InvalidReference``, ``InvalidSpec``, ``EnvTooLarge``, ``LimitTooHigh``, ``QuotaExceeded``,
    ``NoNode``. After any of them nothing was made.
    """
    require(actor, Action.WRITE, project)
    check(request)
    image = resolve(actor, project, request.image)
    _require_command(request, image)
    container = Container(project=project, image=image, image_name=request.image[:400])
    for name in _candidates(request.name):
        container.id = new_container_id()
        container.spec = asdict(_spec(container.id, name, request, image, project))
        container.name = name
        try:
            with transaction.atomic():
                return _insert(actor, container, start=request.start)
        except IntegrityError:
            if not Container.objects.filter(project=project, name=name, removed_at=None).exists():
                raise
    raise NameTaken(
        f"{project.path} has a container {name!r} already; remove it or choose another.", name=name
    )


def _insert(actor: Actor, container: Container, *, start: bool) -> Container:
    image = container.image
    # Held until the commit, so that the image is not withdrawn under a container being made from it.
    if image is None or not Image.objects.select_for_update().filter(pk=image.pk, withdrawn=False).exists():
        raise NoSuchImage(
            f"The image {container.image_name!r} was removed just now.", image=container.image_name
        )
    container.node = ensure_home(container.project)
    container.created_by_name = actor.label
    if start:
        container.wish(State.RUNNING)
    ledger.reserve(container.project, KIND, container.id, claims(container))
    container.save(force_insert=True)
    record(actor, "container.create", container, image=container.image_name, start=start)
    if start:
        dispatch.send(command_for(container), container.node)
    publish_container(container.id, container.project.hex, "state")
    return container


def _candidates(name: str | None) -> list[str]:
    if name is not None:
        return [name]
    return [random_name() for _ in range(_NAMES_TRIED // 2)] + [
        random_long_name() for _ in range(_NAMES_TRIED // 2)
    ]


def _spec(
    container_id: str, name: str, request: ContainerRequest, image: Image, project: Project
) -> ContainerSpec:
    return ContainerSpec(
        image_id=image.image_id,
        image_scope=image.project_id.hex,
        name=name,
        hostname=request.hostname or container_id[:12],
        entrypoint=request.entrypoint,
        command=request.command,
        env=request.env,
        working_dir=request.working_dir,
        user=request.user,
        tty=request.tty,
        stop_signal=parse_signal(request.stop_signal) if request.stop_signal else None,
        read_only=request.read_only,
        labels=request.labels,
        limits=limits(request, project),
    )


def _require_command(request: ContainerRequest, image: Image) -> None:
    config = json.loads(image.config).get("config") or {}
    # As Docker has it: an entrypoint given here makes the image's command void.
    entrypoint = request.entrypoint if request.entrypoint is not None else config.get("Entrypoint")
    default = config.get("Cmd") if request.entrypoint is None else None
    command = request.command if request.command is not None else default
    if not entrypoint and not command:
        raise InvalidSpec("command: none was given, and the image names none.", field="command")


def start(actor: Actor, container: Container) -> Container:
    """Wish the container running; nothing changes if it runs or is about to.

    Raise ``NotFound``, ``NotAllowed``, ``Removed``, ``Busy`` while a stop is under way,
    ``QuotaExceeded``.
    """
    with transaction.atomic():
        row = _locked(actor, container)
        if row.pending and row.desired == State.EXITED:
            raise Busy(f"{row.name} is being stopped; start it when it has exited.", state=row.state)
        if row.is_alive or (row.pending and row.desired == State.RUNNING):
            return row
        return _wish(actor, row, State.RUNNING, "container.start")


def stop(actor: Actor, container: Container, timeout: float = 10.0) -> Container:
    """Wish the container stopped: its stop signal, then SIGKILL after ``timeout`` seconds.

    Nothing changes if it is not running and not about to. Raise ``NotFound``, ``NotAllowed``, ``Removed``,
    ``InvalidRequest``.
    """
    if not 0 <= timeout <= STOP_TIMEOUT_MAX:
        raise InvalidRequest(f"timeout: 0 to {STOP_TIMEOUT_MAX:.0f} seconds are allowed.", field="timeout")
    with transaction.atomic():
        row = _locked(actor, container)
        about_to_run = row.pending and row.desired == State.RUNNING
        stopping = row.pending and row.desired == State.EXITED
        if not about_to_run and (stopping or not row.is_alive):
            return row
        row.stop_timeout = timeout
        return _wish(actor, row, State.EXITED, "container.stop")


def kill(actor: Actor, container: Container, signal: str = "SIGKILL") -> None:
    """Send ``signal`` now, sideways through the agent; not a wish, so nothing is repeated.

    Raise ``NotFound``, ``NotAllowed``, ``Removed``, ``NotRunning``, ``InvalidSpec``, ``NodeUnreachable``.
    """
    name = parse_signal(signal)
    with transaction.atomic():
        row = _locked(actor, container)
        if not row.is_alive and not row.pending:
            raise NotRunning(f"{row.name} is not running.", container=row.id)
        record(actor, "container.kill", row, signal=name)
    agent.kill_now(row.node, row.id, name)


def remove(actor: Actor, container: Container, *, force: bool = False) -> Container:
    """Wish the container gone; ``force`` kills it first. Its row and its log remain. Safe to repeat.

    Raise ``NotFound``, ``NotAllowed``, ``StillRunning``.
    """
    with transaction.atomic():
        row = _locked(actor, container, removed_too=True)
        if row.state == State.REMOVING or row.removed_at is not None:
            return row
        if not force and (row.is_alive or (row.pending and row.desired == State.RUNNING)):
            raise StillRunning(
                f"{row.name} is running. Stop it first, or remove it with force.", container=row.id
            )
        return _wish(actor, row, State.REMOVING, "container.remove")


def _locked(actor: Actor, container: Container, *, removed_too: bool = False) -> Container:
    row = (
        Container.objects.select_for_update(of=("self",))
        .select_related("project__team", "node")
        .get(pk=container.pk)
    )
    require(actor, Action.WRITE, row)
    if not removed_too and (row.removed_at is not None or row.state == State.REMOVING):
        raise Removed(f"{row.name} was removed; its log can still be read.", container=row.id)
    return row


def _wish(actor: Actor, row: Container, state: State, action: str) -> Container:
    before = row.desired
    row.wish(state)
    if state == State.RUNNING:
        ledger.reserve(row.project, KIND, row.id, claims(row))
    # Only the columns of intent: the observer may be writing the facts.
    row.save(
        update_fields=["desired", "desired_generation", "desired_run", "stop_timeout", "sends", "resend_at"]
    )
    record(
        actor,
        action,
        row,
        before={"desired": before},
        after={"desired": row.desired},
        generation=row.desired_generation,
    )
    dispatch.send(command_for(row), row.node)
    publish_container(row.id, row.project.hex, "state")
    return row
