"""How fresh a jurisdiction's data is: what its pulls, or its own node's pushes, say of its last success.

A success is that of every feed: a city is as fresh as its stalest one.
"""

from collections.abc import Collection, Mapping
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


Sources = Mapping[str, Collection[tuple[str, str]]]
"""Which feeds write an origin's records: origin -> (declaration, feed)."""


def of(store: Store, member: Member, sources: Sources) -> Feeds:
    """The freshness of one member by the feeds that write its records, or by its own node."""
    if member.custody == "self":
        return _node(store, member.code)
    feeds = set(sources.get(member.code, ()))
    runs = [pull for pull in store.last_pulls() if (pull.code, pull.feed) in feeds]
    newest = {(pull.code, pull.feed): pull for pull in runs}
    good = {
        (pull.code, pull.feed): datetime.fromisoformat(pull.ended)
        for pull in runs
        if pull.state == "succeeded" and pull.ended
    }
    ended = [datetime.fromisoformat(pull.ended or pull.started) for pull in newest.values()]
    whole = bool(good) and good.keys() == feeds
    return Feeds(min(good.values()) if whole else None, max(ended, default=None), tuple(newest.values()))


def _node(store: Store, code: str) -> Feeds:
    """A city's own node was well when it last pushed, or pulled after it had pushed once."""
    pushes = tuple(pull for pull in store.last_pulls() if pull.code == code)[-1:]
    seen = [datetime.fromisoformat(acked.at) for acked in store.acked() if acked.partner == code]
    seen += [datetime.fromisoformat(pull.ended or pull.started) for pull in pushes]
    return Feeds(max(seen), max(seen), pushes) if pushes else Feeds(None, None, ())
