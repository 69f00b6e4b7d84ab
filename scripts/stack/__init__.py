"""The process set of one machine: how `make up` starts, watches and stops it.

Knows commands, files and probes; of Django it only calls the command line, of the engine it needs
``teardown`` alone, once nothing else of the instance runs.
"""

from __future__ import annotations

import sys
from pathlib import Path

# up.py and down.py are started by their path, so Python finds scripts/ but not what lies beside it.
_ROOT = str(Path(__file__).resolve().parent.parent.parent)
if _ROOT not in sys.path:
    sys.path.append(_ROOT)
