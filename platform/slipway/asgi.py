"""The platform's one entry point: HTTP and WebSocket.

``python -m uvicorn slipway.asgi:application``, with ``platform/`` on the path.
"""

from __future__ import annotations

import gc
import os
import re
from typing import Any

import django

UPLOADS = re.compile(r"/api/v1/projects/[^/]+/[^/]+/(images|builds|builds/contexts(/[^/]+)?)")


def _build() -> tuple[Any, Any]:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "slipway.settings")
    django.setup(set_prefix=False)

    # Only now can the rooms' models be imported.
    from channels.auth import AuthMiddlewareStack
    from channels.routing import ProtocolTypeRouter, URLRouter
    from channels.security.websocket import AllowedHostsOriginValidator

    from slipway.addresses import PlainAddresses
    from slipway.blobs.opening import blob_store
    from slipway.bodies import StreamedBodies
    from slipway.console.routing import websocket_urlpatterns
    from slipway.registry.application import Registry
    from slipway.registry.desk import Desk
    from slipway.registry.pulls import PullCounter
    from slipway.staticfiles import StaticFiles
    from slipway.threads import Handler

    handler = Handler()
    # Only pages of ours may open the socket: browsers send cookies along from anywhere.
    socket = AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))
    run = handler.lanes.run
    pages = StaticFiles(PlainAddresses(StreamedBodies(handler, UPLOADS)))
    http = Registry(pages, Desk(run, blob_store(), PullCounter(run)))
    return ProtocolTypeRouter({"http": http, "websocket": socket}), handler


application, handler = _build()

# What is loaded now stays for good. Looking through it for garbage again and again would stop every
# request for 60 to 200 ms at a time; without it a full collection takes about 10 ms.
gc.collect()
gc.freeze()
