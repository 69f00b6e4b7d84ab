"""The `slipway` command: a client of the REST API that knows nothing else of Slipway.

It starts often and for a moment only, so nothing is imported before it is needed: no HTTP for `--help`,
rich only where there is a terminal to draw on.
"""

VERSION = "0.1.0"
API = "/api/v1"
