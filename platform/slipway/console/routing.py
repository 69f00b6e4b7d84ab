"""The WebSocket route."""

from __future__ import annotations

from django.urls import path

from slipway.console.socket import Socket

websocket_urlpatterns = [path("ws", Socket.as_asgi())]
