"""What partners say of their copies, held against the ledger: the same, behind, or another.

Equal roots at one size mean equal copies, at whatever size: a partner says its root with each pull, about 300 bytes.
What a partner says is a claim: a wrong root hurts nobody, and is shown.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from hub import merkle
from hub.canonical import b64
from hub.store.base import Store


class Copy(NamedTuple):
    """One partner's copy: state is equal, behind, different, or unsaid where it never told its root.

    `behind` counts entries, `notices` what the hub asked of it and it has not said to have done.
    """

    partner: str
    state: str
    size: int
    behind: int
    notices: int
    at: datetime


def copies(store: Store, partners: Iterable[str]) -> list[Copy]:
    """The copies of these partners that ever pulled, by partner."""
    wanted, size = set(partners), store.size()
    return [
        Copy(
            each.partner,
            _state(store, each.size, each.root, size),
            each.size,
            size - each.size,
            len(store.notices(each.partner, each.notice, 1_000)),
            datetime.fromisoformat(each.at),
        )
        for each in store.acked()
        if each.partner in wanted
    ]


def _state(store: Store, held: int, root: str, size: int) -> str:
    if not root:
        return "unsaid"
    if held > size or b64(merkle.root(store.tile, held)) != root:
        return "different"
    return "equal" if held == size else "behind"
