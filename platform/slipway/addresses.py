"""Addresses that can name nothing of ours, answered before anybody looks for it."""

from __future__ import annotations

import json
from typing import Any, cast

from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from slipway.errors import PROBLEM_JSON, Problem


class PlainAddresses:
    """ASGI middleware: 404 for a path with a NUL, which PostgreSQL refuses even to compare names with."""

    def __init__(self, application: ASGI3Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if "\0" not in cast(HTTPScope, scope)["path"]:
            await self.application(scope, receive, send)
            return
        problem = Problem(404, "NOT_FOUND", "There is nothing at an address with a NUL character.")
        text = json.dumps(problem.document()).encode()
        headers = [(b"content-type", PROBLEM_JSON.encode()), (b"content-length", str(len(text)).encode())]
        await send(cast(Any, {"type": "http.response.start", "status": 404, "headers": headers}))
        await send(cast(Any, {"type": "http.response.body", "body": text}))
