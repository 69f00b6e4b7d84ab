"""For those who watch over the process: is it alive, is it ready, what does it measure."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from ipaddress import ip_address

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from redis import Redis, RedisError

from slipway import errors, metrics
from slipway.accounts.authentication import origin_of
from slipway.accounts.services import authenticate_token
from workers.errors import UserError

REDIS_TIMEOUT = 2.0


@cache
def redis() -> Redis:
    """Connects on first use; the pool reconnects by itself."""
    return Redis.from_url(
        settings.SLIPWAY_REDIS_URL, socket_timeout=REDIS_TIMEOUT, socket_connect_timeout=REDIS_TIMEOUT
    )


@require_safe
async def healthz(request: HttpRequest) -> JsonResponse:
    """The process answers: no database, no Redis, no thread."""
    return JsonResponse({"alive": True})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when a request can be served; else 503 saying what is missing, without its secrets."""
    missing = {name: fault for name, check in CHECKS.items() if (fault := check())}
    document = {"ready": not missing, "missing": missing}
    return JsonResponse(document, status=503 if missing else 200, headers={"Cache-Control": "no-store"})


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return f"The database does not answer ({type(error).__name__}); see SLIPWAY_DATABASE_URL."
    return ""


def _migrations() -> str:
    try:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return "Unknown while the database does not answer."
    if not plan:
        return ""
    first = plan[0][0]
    return f"{len(plan)} not applied, first {first.app_label}.{first.name}; run `manage.py migrate`."


def _redis() -> str:
    try:
        redis().ping()
    except RedisError as error:
        return f"Redis does not answer ({type(error).__name__}); see SLIPWAY_REDIS_URL."
    return ""


CHECKS: dict[str, Callable[[], str]] = {"database": _database, "migrations": _migrations, "redis": _redis}


@require_safe
def show_metrics(request: HttpRequest) -> HttpResponse:
    """For Prometheus on this machine, or with an administrator's token."""
    if not _is_local(request):
        try:
            _require_administrator(request)
        except UserError as error:
            return errors.response(errors.problem_of(error))
    registry = CollectorRegistry()
    registry.register(metrics.SystemCollector(redis(), f"{settings.SLIPWAY_INSTANCE}:"))
    text = generate_latest(metrics.REGISTRY) + generate_latest(registry)
    return HttpResponse(text, content_type=CONTENT_TYPE_LATEST)


def _is_local(request: HttpRequest) -> bool:
    """From a loopback address, and not on behalf of somebody behind a proxy."""
    if "X-Forwarded-For" in request.headers or "Forwarded" in request.headers:
        return False
    try:
        return ip_address(origin_of(request)).is_loopback
    except ValueError:
        return False


def _require_administrator(request: HttpRequest) -> None:
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise errors.NotSignedIn("Metrics are for this machine, or for an administrator's token.")
    if not authenticate_token(text.strip(), origin=origin_of(request)).is_administrator:
        raise errors.NotForYou("Metrics are for administrators.")
