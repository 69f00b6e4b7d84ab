"""The platform's one entry point: HTTP and WebSocket.

``python -m uvicorn slipway.asgi:application``, with ``platform/`` on the path.
"""

from __future__ import annotations

import os
import re
from typing import Any

from django.core.asgi import get_asgi_application

UPLOADS = re.compile(r"/api/v1/projects/[^/]+/[^/]+/images")


def _application() -> Any:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "slipway.settings")
    django: Any = get_asgi_application()

    # Only now can the rooms' models be imported.
    from channels.auth import AuthMiddlewareStack
    from channels.routing import ProtocolTypeRouter, URLRouter
    from channels.security.websocket import AllowedHostsOriginValidator

    from slipway.bodies import StreamedBodies
    from slipway.console.routing import websocket_urlpatterns
    from slipway.staticfiles import StaticFiles

    return ProtocolTypeRouter(
        {
            "http": StaticFiles(StreamedBodies(django, UPLOADS)),
            # Only pages of ours may open the socket: browsers send cookies along from anywhere.
            "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns))),
        }
    )


application = _application()
