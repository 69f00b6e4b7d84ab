"""Making the next block while the last one is on its way."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from contextlib import closing


class _End:
    """What comes after the last block: how it ended."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def made_ahead(blocks: Generator[bytes, None, None]) -> Generator[bytes, None, None]:
    """The same blocks, made in a thread of their own, one ahead of whoever takes them.

    Close it: then the thread has ended, however many blocks were taken.
    """
    made: queue.Queue[bytes | _End] = queue.Queue(maxsize=1)
    unwanted = threading.Event()

    def make() -> None:
        error: BaseException | None = None
        try:
            with closing(blocks):
                for block in blocks:
                    made.put(block)
                    if unwanted.is_set():
                        break
        except BaseException as raised:  # noqa: BLE001 - it is the taker's to deal with
            error = raised
        made.put(_End(error))

    maker = threading.Thread(target=make, name="transfer-blocks", daemon=True)
    maker.start()
    try:
        while not isinstance(block := made.get(), _End):
            yield block
        maker.join()
        if block.error is not None:
            raise block.error
    finally:
        unwanted.set()
        while maker.is_alive():
            try:
                made.get(timeout=0.05)  # it may be waiting to hand over one more
            except queue.Empty:
                continue
        maker.join()
