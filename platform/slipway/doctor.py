"""What the platform needs: database, Redis, its node's ear, static files, room; a line for each."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from asgiref.sync import async_to_sync
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection
from django.utils import timezone
from redis import RedisError

from slipway import health, keys
from slipway.nodes import agent
from slipway.nodes.models import Node
from workers.checks import Check
from workers.errors import SlipwayError

_GIB = 1 << 30
_SPACE_NEEDED, _SPACE_WANTED = 256 << 20, 2 * _GIB
_BEHIND = 1000
"""Events shipped but not applied; at full speed the observer applies as many in a second."""
_START = "start Slipway: make up"


def node_checks(*, fix: bool = False) -> list[Check]:
    """The node's lines: examined here as root, else asked from its agent."""
    if os.geteuid() == 0:
        return _examine_here(fix=fix)
    try:
        return [Check(**line) for line in _ask_agent(agent.doctor)]
    except SlipwayError as error:
        return [Check("node", "missing", str(error), f"{_START}; or run the doctor as root")]


def platform_checks() -> list[Check]:
    """The platform's lines, in a fixed order."""
    checks = [_python(), _keys(), _database()]
    usable = checks[-1].status == "ok"
    checks += [_migrations()] if usable else []
    checks += [_redis(), _agent()]
    checks += [_heartbeat(), _events()] if usable and checks[3].status == "ok" else []
    return [*checks, _static_files(), _disk()]


def _examine_here(*, fix: bool) -> list[Check]:
    # A process of its own: the platform imports nothing of the engine.
    places = ["--data", str(settings.SLIPWAY_DATA), "--run", str(settings.SLIPWAY_RUN)]
    options = ["--instance", settings.SLIPWAY_INSTANCE, "--json", *(["--fix"] if fix else [])]
    command = [sys.executable, "-m", "workers.engine.doctor", *places, *options]
    done = subprocess.run(
        command, cwd=settings.ROOT, stdout=subprocess.PIPE, text=True, timeout=120, check=False
    )
    try:
        return [Check(**line) for line in json.loads(done.stdout)]
    except ValueError:
        return [
            Check("node", "missing", f"its examination ended with exit code {done.returncode}", "see above")
        ]


def _ask_agent(question: Callable[[Node], Any]) -> Any:
    async def ask() -> Any:
        try:
            return await question(Node(name=settings.SLIPWAY_NODE))
        finally:
            await agent.close()

    return async_to_sync(ask)()


def _python() -> Check:
    return Check("Python", "ok", f"{platform.python_version()} ({sys.executable})")


def _keys() -> Check:
    try:
        keys.require()
    except ImproperlyConfigured as error:
        return Check("platform keys", "missing", str(error), _START)
    except PermissionError as error:
        return Check(
            "platform keys", "degraded", f"this user may not read them: {error}", "run the doctor as root"
        )
    return Check("platform keys", "ok", str(settings.SLIPWAY_KEYS))


def _database() -> Check:
    name = str(connection.settings_dict["NAME"])
    # To connect would make an empty file, of this user.
    if Path(name).is_absolute() and not Path(name).is_file():
        return Check("database", "missing", f"there is no file {name}", _START)
    begun = time.perf_counter()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            took = (time.perf_counter() - begun) * 1000
            version = _database_version(cursor)
    except DatabaseError as error:
        fix = "see SLIPWAY_DATABASE_URL, and whether the server runs"
        return Check("database", "missing", f"does not answer: {str(error).strip()}", fix)
    return Check("database", "ok", f"{version}, {name}, answered in {took:.1f} ms")


def _database_version(cursor: Any) -> str:
    cursor.execute("SELECT sqlite_version()" if connection.vendor == "sqlite" else "SHOW server_version")
    return f"{connection.display_name} {cursor.fetchone()[0]}"


def _migrations() -> Check:
    fault = health.CHECKS["migrations"]()
    return (
        Check("migrations", "missing", fault, "manage.py migrate")
        if fault
        else Check("migrations", "ok", "all applied")
    )


def _redis() -> Check:
    where = _without_password(settings.SLIPWAY_REDIS_URL)
    try:
        facts = cast(dict[str, Any], health.redis().info())
        policy = str(facts.get("maxmemory_policy", "noeviction"))
    except RedisError as error:
        return Check("Redis", "missing", f"{where} does not answer: {error}", _START)
    seen = f"{facts['redis_version']} at {where}"
    if policy != "noeviction":
        fix = "CONFIG SET maxmemory-policy noeviction"
        return Check("Redis", "degraded", f"{seen} may throw commands away ({policy})", fix)
    if not facts.get("aof_enabled"):
        why = f"{seen} keeps nothing over a restart: a command not yet taken is sent again, later"
        return Check("Redis", "degraded", why, "CONFIG SET appendonly yes")
    return Check("Redis", "ok", f"{seen}, append-only file on")


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _agent() -> Check:
    try:
        facts = _ask_agent(agent.health)
    except SlipwayError as error:
        return Check("agent", "missing", str(error), _START)
    return Check("agent", "ok", f"answers for node {facts.get('node')}")


def _heartbeat() -> Check:
    node = Node.objects.filter(name=settings.SLIPWAY_NODE).first()
    if node is None:
        return Check(
            "node row", "missing", f"there is no node {settings.SLIPWAY_NODE!r}", "manage.py register_node"
        )
    if node.heartbeat_at is None:
        return Check("heartbeat", "missing", f"node {node.name} was never heard of", _START)
    age = (timezone.now() - node.heartbeat_at).total_seconds()
    seen = f"node {node.name}, {age:.0f} s ago"
    if node.is_live():
        return Check("heartbeat", "ok", seen)
    return Check("heartbeat", "missing", f"{seen}: agent or observer is down", _START)


def _events() -> Check:
    """How far the observer is behind its node."""
    applied = Node.objects.filter(name=settings.SLIPWAY_NODE).values_list("applied_seq", flat=True).first()
    if applied is None:
        return Check("events", "missing", "no node, no events", "manage.py register_node")
    try:
        newest = cast(list[Any], health.redis().xrevrange(f"slipway:events:{settings.SLIPWAY_NODE}", count=1))
    except RedisError as error:
        return Check("events", "missing", f"Redis does not answer: {error}", _START)
    behind = max(0, int(newest[0][1][b"seq"]) - applied) if newest else 0
    if behind > _BEHIND:
        why = f"{behind} are not applied yet, {applied} are"
        return Check("events", "degraded", why, "see whether the observer runs and what it logs")
    return Check("events", "ok", f"{applied} applied, {behind} to go")


def _static_files() -> Check:
    manifest = Path(settings.STATIC_ROOT) / "staticfiles.json"
    try:
        count = len(json.loads(manifest.read_text(encoding="utf-8"))["paths"])
    except PermissionError as error:
        return Check(
            "static files", "degraded", f"this user may not read them: {error}", "run the doctor as root"
        )
    except (OSError, ValueError, KeyError):
        return Check("static files", "missing", f"{manifest} is not there or broken", "manage.py prepare")
    return Check("static files", "ok", f"{count} in {settings.STATIC_ROOT}")


def _disk() -> Check:
    data = Path(settings.SLIPWAY_PLATFORM_DATA)
    place = next(each for each in (data, *data.parents) if each.is_dir())
    stat = os.statvfs(place)
    free = stat.f_bavail * stat.f_frsize
    seen = f"{free / _GIB:.1f} GiB free on {place}"
    fix = "make room, or put SLIPWAY_DATA on a larger disk"
    if free < _SPACE_NEEDED:
        return Check("platform disk", "missing", seen, fix)
    return (
        Check("platform disk", "degraded", seen, fix)
        if free < _SPACE_WANTED
        else Check("platform disk", "ok", seen)
    )
