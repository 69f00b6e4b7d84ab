"""As in production, but hints stay in the process and commands go nowhere."""

from __future__ import annotations

from slipway.settings import *  # noqa: F403

SLIPWAY_ROAD = "tests.roads.RecordingRoad"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
