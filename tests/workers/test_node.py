"""The node's environment, and the names its worker has on the broker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workers.app import broker_url, build_app
from workers.engine.networks import PRIVATE
from workers.errors import NodeError
from workers.node import read_environment, take_lock


def test_nothing_said_means_the_documented_defaults() -> None:
    environment = read_environment({})
    assert environment.places.data == Path("/var/lib/slipway")
    assert environment.places.run == Path("/run/slipway")
    assert environment.redis_url == "unix:///run/slipway/redis.sock"
    assert (environment.name, environment.instance, environment.group) == ("local", "slipway", "slipway")
    assert environment.egress_deny == PRIVATE


def test_redis_lies_in_the_run_directory_unless_told_otherwise() -> None:
    assert read_environment({"SLIPWAY_RUN": "/r"}).redis_url == "unix:///r/redis.sock"
    assert read_environment({"SLIPWAY_REDIS_URL": "redis://h/1"}).redis_url == "redis://h/1"


def test_networks_are_checked_and_may_be_none_at_all() -> None:
    variables = {"SLIPWAY_EGRESS_DENY": "", "SLIPWAY_EGRESS_ALLOW": "10.1.0.0/16, 10.2.3.4"}
    environment = read_environment(variables)
    assert environment.egress_deny == ()
    assert environment.egress_allow == ("10.1.0.0/16", "10.2.3.4/32")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLIPWAY_DATA", "relative/path"),
        ("SLIPWAY_NODE", "Bad_Name"),
        ("SLIPWAY_INSTANCE", "-x"),
        ("SLIPWAY_EGRESS_DENY", "10.0.0.1/8"),
        ("SLIPWAY_EGRESS_ALLOW", "everything"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(NodeError, match=name):
        read_environment({name: value})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("unix:///run/slipway/redis.sock", "redis+socket:///run/slipway/redis.sock?virtual_host=0"),
        ("unix:///r.sock?db=3", "redis+socket:///r.sock?virtual_host=3"),
        ("redis://:pw@host:6379/2", "redis://:pw@host:6379/2"),
    ],
)
def test_the_broker_is_redis_in_celerys_words(url: str, expected: str) -> None:
    assert broker_url(url) == expected


def test_the_app_takes_json_from_one_queue_without_remote_control() -> None:
    conf = build_app(read_environment({"SLIPWAY_NODE": "n1", "SLIPWAY_INSTANCE": "i1"})).conf
    assert [queue.name for queue in conf.task_queues] == ["node.n1"]
    assert conf.accept_content == ["json"]
    assert not conf.worker_enable_remote_control
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.worker_prefetch_multiplier == 1
    assert conf.broker_transport_options["global_keyprefix"] == "i1:celery:"


def test_the_lock_is_for_one_and_dies_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "run" / "agent.lock"
    code = "import sys; from pathlib import Path; from workers.node import take_lock\n"
    code += "take_lock(Path(sys.argv[1]), 'agent'); print('held', flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", code, str(path)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(NodeError, match="Another agent runs for"):
            take_lock(path, "agent")
        holder.kill()
        holder.wait()
    os.close(take_lock(path, "agent"))
