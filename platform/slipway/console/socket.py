"""``/ws``: the one WebSocket of a tab. Topics share it (docs/architecture.md, 6).

``project:<id>`` and ``container:<id>`` bring hints; ``log:<container>``, ``job-log:<job>`` and
``build-log:<build>`` a log. Who asks for a topic must be allowed to read it; unknown and forbidden look the
same. Rights are looked at again from time to time.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import structlog
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from slipway.accounts.actors import Actor
from slipway.accounts.models import User
from slipway.builds.logs import build_log
from slipway.builds.queries import find_build
from slipway.containers.logs import container_log
from slipway.containers.queries import get_container
from slipway.jobs.logs import job_log
from slipway.jobs.queries import get_job
from slipway.nodes import agent
from slipway.nodes.consumers import LogFollow
from slipway.nodes.log_reading import Log, LogRequest
from slipway.projects.queries import get_project
from workers.errors import UserError

log = structlog.get_logger(__name__)

TOPICS_MAX = 100
RECHECK_SECONDS = 30.0
TAIL_MAX = 50_000
POSITION_MAX = 1 << 62
_PROJECT = re.compile(r"[0-9a-f]{32}")
UNAUTHENTICATED = 4401
"""Close code; the page then leads to the sign-in."""


class BadFrame(UserError):
    """The browser sent something that is none of our frames."""

    code = "FRAME_INVALID"


def _project(actor: Actor, key: str) -> Any:
    # One spelling only: groups are named by it, and know no braces or dashes of a UUID.
    return get_project(actor, key if _PROJECT.fullmatch(key) else "")


TOPICS: dict[str, Callable[[Actor, str], Any]] = {
    "project": _project,
    "container": get_container,
    "log": get_container,
    "job-log": get_job,
    "build-log": find_build,
}
"""What can be listened to: its kind, and who finds the object for an actor that may see it."""

LOGS: dict[str, Callable[[Any], Log]] = {"log": container_log, "job-log": job_log, "build-log": build_log}
"""What can be followed: the log of such an object."""


class Socket(AsyncJsonWebsocketConsumer):
    source = staticmethod(agent.log_entries)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.topics: set[str] = set()
        self.follows: dict[str, tuple[LogFollow, asyncio.Task[None]]] = {}
        self.recheck: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        if not is_own_page(self.scope):
            await self.close()
            return
        user = self.scope["user"]
        await self.accept()
        if not isinstance(user, User) or not user.is_active:
            await self.close(UNAUTHENTICATED)
            return
        self.user_id = user.pk
        self.recheck = asyncio.create_task(self._recheck())

    async def disconnect(self, code: int) -> None:
        if self.recheck is not None:
            self.recheck.cancel()
        for topic in list(self.topics):
            await self._leave(topic)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        topic = content.get("topic") if isinstance(content, dict) else None
        try:
            if not isinstance(topic, str):
                raise BadFrame("A frame is an object with op and topic.")
            await self._obey(content.get("op"), topic, content)
        except UserError as error:
            await self._refuse(topic, error)

    @classmethod
    async def decode_json(cls, text_data: str) -> Any:
        try:
            return await super().decode_json(text_data)
        except (ValueError, RecursionError):
            return None

    async def hint(self, event: dict[str, str]) -> None:
        """From the channel layer (slipway.hints)."""
        if event["topic"] in self.topics:
            await self.send_json({"topic": event["topic"], "hint": event["hint"]})

    # ------------------------------------------------------------------ frames

    async def _obey(self, op: object, topic: str, frame: dict[str, Any]) -> None:
        match op:
            case "subscribe":
                await self._subscribe(topic)
            case "follow":
                await self._follow(topic, frame)
            case "ack":
                if topic in self.follows:
                    self.follows[topic][0].acknowledge(_whole(frame, "next", POSITION_MAX) or 0)
            case "unsubscribe" | "unfollow":
                await self._leave(topic)
            case _:
                raise BadFrame("op: subscribe, unsubscribe, follow, unfollow and ack are known.")

    async def _subscribe(self, topic: str) -> None:
        self._require_room(topic)
        await self._look_up(topic)
        if topic not in self.topics:
            self.topics.add(topic)
            await self.channel_layer.group_add(topic.replace(":", "."), self.channel_name)
        # What happened since the page was rendered was told to nobody: look once more.
        await self.send_json({"topic": topic, "hint": "subscribed"})

    async def _follow(self, topic: str, frame: dict[str, Any]) -> None:
        position, tail = _whole(frame, "position", POSITION_MAX), _whole(frame, "tail", TAIL_MAX)
        make = LOGS.get(topic.partition(":")[0])
        if make is None:
            raise BadFrame(f"follow: {', '.join(f'{kind}:<id>' for kind in LOGS)} are known.")
        self._require_room(topic)
        log = make(await self._look_up(topic))
        await self._leave(topic)
        asked = LogRequest(position=position, tail=tail, follow=True)
        if log.topic != topic:  # one spelling of an id only: frames are told apart by it
            raise BadFrame(f"follow: the topic is {log.topic}.")
        follow = LogFollow(log, asked, self.send_json, self.source)
        self.topics.add(topic)
        self.follows[topic] = follow, asyncio.create_task(self._run(follow))

    async def _run(self, follow: LogFollow) -> None:
        try:
            await follow.run()
        except asyncio.CancelledError:
            raise
        except OSError:
            # The browser is gone in the middle of a frame; its disconnect is on its way to us.
            log.debug("log_follow_cut", topic=follow.topic)
        except Exception:
            log.exception("log_follow_failed", topic=follow.topic)
            error = {"code": "INTERNAL", "message": "The log could not be read; trying again."}
            await self.send_json({"topic": follow.topic, "error": error, "retry": True})

    async def _leave(self, topic: str) -> None:
        self.topics.discard(topic)
        if topic in self.follows:
            _, task = self.follows.pop(topic)
            task.cancel()
            await asyncio.wait([task])
        else:
            await self.channel_layer.group_discard(topic.replace(":", "."), self.channel_name)

    async def _refuse(self, topic: object, error: UserError) -> None:
        told = {"code": error.code, "message": error.message}
        await self.send_json({"topic": topic, "error": told, "retry": False})

    # ------------------------------------------------------------------ rights

    def _require_room(self, topic: str) -> None:
        if topic not in self.topics and len(self.topics) >= TOPICS_MAX:
            raise BadFrame(f"At most {TOPICS_MAX} topics share one socket.")

    @database_sync_to_async
    def _look_up(self, topic: str) -> Any:
        """The object the topic is about. Raise ``NotFound``, in the same words for unknown and forbidden."""
        kind, _, key = topic.partition(":")
        if kind not in TOPICS:
            raise BadFrame(f"topic: {', '.join(f'{known}:<id>' for known in TOPICS)} are known.")
        return TOPICS[kind](Actor(user=User.objects.get(pk=self.user_id)), key)

    async def _recheck(self) -> None:
        """Whoever was signed out, locked out or taken from the team hears no more."""
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            if not await self._is_welcome():
                await self.close(UNAUTHENTICATED)
                return
            for topic in list(self.topics):
                try:
                    await self._look_up(topic)
                except UserError as error:
                    await self._leave(topic)
                    await self._refuse(topic, error)

    @database_sync_to_async
    def _is_welcome(self) -> bool:
        session = self.scope["session"]
        alive = session.session_key is not None and session.exists(session.session_key)
        return alive and User.objects.filter(pk=self.user_id, is_active=True).exists()


def is_own_page(scope: Mapping[str, Any]) -> bool:
    """Whether a page of this very address asks: same host and same port.

    Cookies know no ports, so a browser sends ours along for whatever else listens on this host.
    """
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    found = {name: value.decode("latin-1").lower() for name, value in headers}
    try:
        origin = urlsplit(found.get(b"origin", ""))
        usual = {"http": 80, "https": 443}[origin.scheme]
        host = urlsplit(f"//{found.get(b'host', '')}")
        asked, called = (origin.hostname, origin.port or usual), (host.hostname, host.port or usual)
    except (KeyError, ValueError):
        return False
    return asked == called and asked[0] is not None


def _whole(frame: dict[str, Any], name: str, high: int) -> int | None:
    value = frame.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= high:
        raise BadFrame(f"{name}: a whole number from 0 to {high} is needed.")
    return value
