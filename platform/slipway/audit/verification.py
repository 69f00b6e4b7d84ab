"""Whether the log is what was once written: every link, in order, up to the head."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from slipway.audit.chain import digest_of
from slipway.audit.models import ChainHead, Entry
from slipway.audit.services import HEAD

CHUNK = 2000


@dataclass(frozen=True)
class Fault:
    seq: int
    text: str


@dataclass(frozen=True)
class Verdict:
    entries: int
    head: str
    """``seq:digest`` of the last entry: noted elsewhere, it convicts whoever rewrites the log whole."""
    faults: tuple[Fault, ...]

    @property
    def holds(self) -> bool:
        return not self.faults


def verify(expect: str = "", *, faults_max: int = 20) -> Verdict:
    """Recompute the chain; ``expect`` is a head noted earlier, ``seq:digest``, that must still be in it.

    Entries written meanwhile are left for the next time.
    """
    head = ChainHead.objects.filter(pk=HEAD).first() or ChainHead(seq=0, digest="")
    wanted, _, wanted_digest = expect.partition(":")
    faults: list[Fault] = []
    count, seq, digest, met = 0, 0, "", not expect
    for entry in _entries(head.seq):
        faults += _faults(entry, seq, digest)
        count, seq, digest = count + 1, entry.seq, entry.digest
        met = met or (str(seq) == wanted and digest == wanted_digest)
        if len(faults) >= faults_max:
            break
    else:
        if (seq, digest) != (head.seq, head.digest):
            faults.append(Fault(head.seq, f"the log ends with entry {seq}, not with the head's {head.seq}"))
        if Entry.objects.filter(seq__lte=0).exists():
            faults.append(Fault(0, "an entry stands before the first"))
        if not met:
            where = int(wanted) if wanted.isdigit() else 0
            faults.append(Fault(where, "the expected head is not in the log"))
    return Verdict(count, f"{seq}:{digest}", tuple(faults))


def _entries(last: int) -> Iterator[Entry]:
    """In chunks by number: a server-side cursor would hold a transaction open for the whole log."""
    seq = 0
    while chunk := list(Entry.objects.filter(seq__gt=seq, seq__lte=last).order_by("seq")[:CHUNK]):
        yield from chunk
        seq = chunk[-1].seq


def _faults(entry: Entry, seq: int, digest: str) -> Iterator[Fault]:
    if entry.seq != seq + 1:
        yield Fault(entry.seq, f"{entry.seq - seq - 1} missing before it")
    elif entry.previous != digest:
        yield Fault(entry.seq, "it does not continue the entry before")
    if digest_of(entry) != entry.digest:
        yield Fault(entry.seq, "its content is not what was written")
