"""The processes of one instance: their commands, users and probes, in the order they start."""

from __future__ import annotations

from stack import cgroups, pidfiles
from stack.readiness import Broker, agent_ready, web_ready
from stack.settings import ROOT, Stack
from stack.supervisor import Program


def redis(stack: Stack, user: str | None) -> Program:
    """Private: a socket in a directory of its own user, no TCP; what the contract names links to it."""
    home = stack.run / "redis"
    arguments = {
        "--port": "0",
        "--unixsocket": str(home / "redis.sock"),
        "--unixsocketperm": "770",
        "--dir": str(stack.data / "redis"),
        "--appendonly": "yes",
        "--appendfsync": "everysec",
        "--save": "",
        "--maxmemory-policy": "noeviction",
    }

    def clear() -> None:
        (home / "redis.sock").unlink(missing_ok=True)

    broker = Broker(stack.redis_socket, stack.node)
    flat = [part for pair in arguments.items() for part in pair]
    return Program("redis", ("redis-server", *flat), user, broker.answers, clear)


def agent(stack: Stack) -> Program:
    argv = (str(stack.python), "-m", "workers.agent")
    return Program(
        "agent",
        argv,
        None,
        lambda: agent_ready(stack.agent_socket),
        lambda: _clear(stack, "agent"),
        stack.work,
    )


def worker(stack: Stack) -> Program:
    argv = (
        *(str(stack.python), "-m", "celery", "-A", "workers.app", "worker"),
        *("--pool", "threads", "-Q", f"node.{stack.node}"),
        *("--hostname", f"{stack.instance}@{stack.node}", "--loglevel", "INFO"),
        *("--without-gossip", "--without-mingle"),
    )
    broker = Broker(stack.redis_socket, stack.node)
    return Program("worker", argv, None, broker.worker_listens, lambda: _clear(stack, "worker"), stack.work)


def observer(stack: Stack, user: str | None) -> Program:
    broker = Broker(stack.redis_socket, stack.node)
    argv = (str(stack.python), str(ROOT / "manage.py"), "observe")
    return Program("observer", argv, user, broker.observer_applies, broker.forget)


def web(stack: Stack, user: str | None) -> Program:
    argv = (
        *(str(stack.python), "-m", "uvicorn", "slipway.asgi:application"),
        *("--http", "slipway.serving:Protocol"),
        *("--host", "127.0.0.1", "--port", str(stack.port), "--no-access-log", "--no-server-header"),
        *("--timeout-graceful-shutdown", "3"),
    )
    return Program("web", argv, user, lambda: web_ready(stack.port))


def _clear(stack: Stack, name: str) -> None:
    """End what a killed process of the node left in its group: a half-done extraction, a tool it ran.

    Containers are not among them: each shim has left for a group of its own.
    """
    group = cgroups.ensure(stack.instance, name)
    if group is not None:
        pidfiles.end(cgroups.members(group), grace=0.0)
