#!/usr/bin/env python
"""Django's command line, with ``platform/`` and this directory on the import path.

``platform/`` is a source root and never a package: the standard library owns that name.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent


def main() -> None:
    for source in (ROOT, ROOT / "platform"):
        if str(source) not in sys.path:
            sys.path.insert(0, str(source))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "slipway.settings")
    from django.core.management import execute_from_command_line

    name = sys.argv[1:2]
    if name and not name[0].startswith("-"):
        name = [name[0].replace("-", "_")]  # people write install-service; a module cannot be named so
    execute_from_command_line([sys.argv[0], *name, *sys.argv[2:]])


if __name__ == "__main__":
    main()
