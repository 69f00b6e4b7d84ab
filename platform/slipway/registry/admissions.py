"""Who may begin uploads, remembered for a moment: a push begins one for each layer.

Only for callers with a token of the registry that says so. What comes of an upload is named by a manifest,
and for that policy and quota are asked each time.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from slipway.registry.callers import brings_grants, identify
from slipway.registry.calls import Call, Run
from slipway.repositories.access import Verb
from slipway.repositories.uploads import Admission

SECONDS = 2.0
MOST = 1000


class Admissions:
    def __init__(self, run: Run, clock: Callable[[], float] = time.monotonic) -> None:
        self._run, self._clock = run, clock
        self._kept: OrderedDict[tuple[bytes, str], tuple[float, Admission]] = OrderedDict()

    async def get(self, call: Call, ask: Callable[[], Admission]) -> Admission:
        """Raise as ``ask``, which is called where the database may be used; failures are not remembered."""
        key = call.headers.get(b"authorization", b""), call.name
        if not brings_grants(call) or not identify(call).has(call.name, Verb.PUSH):
            return await self._run(ask)
        until, kept = self._kept.get(key, (0.0, None))
        if kept is not None and until > self._clock():
            return kept
        fresh = await self._run(ask)
        self._kept[key] = self._clock() + SECONDS, fresh
        self._kept.move_to_end(key)
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)
        return fresh
