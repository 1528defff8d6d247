"""How fresh a jurisdiction's data is: what its pulls, or its own node's pushes, say of its last success.

A success is that of every feed: a city is as fresh as its stalest one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from hub.framework import Member
from hub.store.base import Pull, Store


@dataclass(frozen=True)
class Feeds:
    """What the pulls say of one jurisdiction: last success and attempt, the newest run of each feed."""

    success: datetime | None
    attempt: datetime | None
    newest: tuple[Pull, ...]


def of(store: Store, member: Member, feeds: Mapping[str, int]) -> Feeds:
    """The freshness of one member; `feeds` says how many feeds each custodial jurisdiction declares."""
    if member.custody == "self":
        return _node(store, member.code)
    runs = [pull for pull in store.last_pulls() if pull.code == member.code]
    newest = {pull.feed: pull for pull in runs}
    good = {pull.feed: datetime.fromisoformat(pull.ended) for pull in runs if pull.state == "succeeded" and pull.ended}
    whole = len(good) >= feeds.get(member.code, 1)
    ended = [datetime.fromisoformat(pull.ended or pull.started) for pull in newest.values()]
    return Feeds(min(good.values()) if good and whole else None, max(ended, default=None), tuple(newest.values()))


def _node(store: Store, code: str) -> Feeds:
    """A city's own node was well when it last pushed, or pulled after it had pushed once."""
    pushes = tuple(pull for pull in store.last_pulls() if pull.code == code)[-1:]
    seen = [datetime.fromisoformat(acked.at) for acked in store.acked() if acked.partner == code]
    seen += [datetime.fromisoformat(pull.ended or pull.started) for pull in pushes]
    return Feeds(max(seen), max(seen), pushes) if pushes else Feeds(None, None, ())
