"""Static files straight from the ASGI server: no middleware, no session, no database for a style sheet.

WhiteNoise finds the files, their compressed variants and their headers; its own middleware is synchronous
and would cost every other request a thread.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import Response

CHUNK = 1 << 18
ASKED = {
    b"accept-encoding": "HTTP_ACCEPT_ENCODING",
    b"if-modified-since": "HTTP_IF_MODIFIED_SINCE",
    b"if-none-match": "HTTP_IF_NONE_MATCH",
    b"range": "HTTP_RANGE",
}


class StaticFiles:
    """ASGI application: the file at the path, else what ``application`` answers."""

    def __init__(self, application: ASGI3Application) -> None:
        self.application = application
        self.found: Any = WhiteNoiseMiddleware(None)

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        http = cast(HTTPScope, scope)
        file = self._file(http["path"])
        if file is None:
            await self.application(scope, receive, send)
            return
        asked = {ASKED[name]: value.decode("latin-1") for name, value in http["headers"] if name in ASKED}
        await _send(file.get_response(http["method"], asked), send)

    def _file(self, path: str) -> Any:
        if self.found.autorefresh:
            return self.found.find_file(path) if path.startswith(self.found.static_prefix) else None
        return self.found.files.get(path)


async def _send(response: Response, send: ASGISendCallable) -> None:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.headers]
    headers.append((b"x-content-type-options", b"nosniff"))
    start = {"type": "http.response.start", "status": int(response.status), "headers": headers}
    await send(cast(Any, start))
    try:
        while response.file is not None:
            data = await asyncio.to_thread(response.file.read, CHUNK)
            if not data:
                break
            await send(cast(Any, {"type": "http.response.body", "body": data, "more_body": True}))
    finally:
        if response.file is not None:
            response.file.close()
    await send(cast(Any, {"type": "http.response.body", "body": b"", "more_body": False}))
