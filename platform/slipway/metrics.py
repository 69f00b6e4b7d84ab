"""What Prometheus may know: requests as they pass, and the state of the system when it asks."""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from django.db.models import Count
from django.utils import timezone
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis import Redis, RedisError

log = structlog.get_logger(__name__)

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
REQUESTS = Histogram(
    "slipway_request_seconds",
    "Time to the headers of the answer",
    ["method", "route", "status"],
    registry=REGISTRY,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)


class SystemCollector(Collector):
    """Rows counted and queues measured at each scrape; a Redis that is away leaves its figures out."""

    def __init__(self, redis: Redis, key_prefix: str) -> None:
        self.redis = redis
        self.key_prefix = key_prefix
        """Of the broker's queues."""

    def collect(self) -> Iterable[Metric]:
        yield from _rows()
        yield from _heartbeats()
        try:
            yield from self._queues()
        except RedisError as error:
            log.warning("metrics_without_redis", error=str(error))

    def _queues(self) -> Iterable[Metric]:
        from slipway.nodes.models import Node

        waiting = GaugeMetricFamily("slipway_node_queue_length", "Commands not yet taken", labels=["node"])
        behind = GaugeMetricFamily(
            "slipway_node_events_unapplied", "Events shipped but not yet applied", labels=["node"]
        )
        for name, applied in Node.objects.values_list("name", "applied_seq"):
            waiting.add_metric([name], float(self.redis.llen(f"{self.key_prefix}node.{name}")))
            newest = self.redis.xrevrange(f"slipway:events:{name}", count=1)
            shipped = int(newest[0][1][b"seq"]) if newest else applied
            behind.add_metric([name], float(max(0, shipped - applied)))
        yield waiting
        yield behind


def _rows() -> Iterable[Metric]:
    from slipway.containers.models import Container, State
    from slipway.jobs.models import Job, JobState

    containers = GaugeMetricFamily("slipway_containers", "Containers not yet removed", labels=["state"])
    counted = Container.objects.filter(removed_at=None).order_by().values_list("observed")
    found = dict(counted.annotate(count=Count("pk")))
    for state in State:
        containers.add_metric([state.value], found.get(state.value, 0))
    yield containers
    jobs = GaugeMetricFamily("slipway_jobs", "Jobs not yet ended", labels=["state"])
    active = (JobState.QUEUED, JobState.RUNNING)
    found = dict(
        Job.objects.filter(state__in=active).order_by().values_list("state").annotate(count=Count("pk"))
    )
    for each in active:
        jobs.add_metric([each.value], found.get(each.value, 0))
    yield jobs


def _heartbeats() -> Iterable[Metric]:
    from slipway.nodes.models import Node

    ages = GaugeMetricFamily(
        "slipway_node_heartbeat_age_seconds", "Since the node was last heard of", labels=["node"]
    )
    now = timezone.now()
    for name, at in Node.objects.exclude(heartbeat_at=None).values_list("name", "heartbeat_at"):
        ages.add_metric([name], (now - at).total_seconds() if at else 0.0)
    yield ages
