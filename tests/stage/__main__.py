"""``python -m tests.stage [PORT]``: serve, then obey what comes on stdin (server.py)."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import django

from tests import environment  # noqa: F401 - it points every variable at a scratch directory

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.stage.settings"
django.setup()
import_module("tests.stage.server").main(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
