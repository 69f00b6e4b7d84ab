"""chainIDs: the names of stacks of layers."""

from __future__ import annotations

from collections.abc import Sequence

from workers.oci.digest import Digest


def chain_id(diff_ids: Sequence[Digest]) -> Digest:
    """Of a stack given bottom first; of an empty one there is none (``ValueError``)."""
    if not diff_ids:
        raise ValueError("An empty stack has no chainID")
    # The bottom layer's chainID is its diffID, unhashed.
    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = Digest.of(f"{chain} {diff_id}".encode())
    return chain
