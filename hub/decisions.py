"""What people do with differences: look, hand over, decide; each decision is a signed record of the hub.

Rule 1. A decision's record, the difference's new state and the step in its history are one transaction.
Rule 2. Who decides is a named account, and why is one of the reasons that the kind `decision/1` lists: no free text.
A crash leaves either all of a decision or nothing; asking again is safe.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime

from hub.errors import HubError, NotFound
from hub.intake import Draft, Issuer, stamp
from hub.kinds import Kind
from hub.reconcile import worklist
from hub.reconcile.worklist import Difference, Event
from hub.store.base import Store

KIND = "decision/1"
MOST_RECORDS = 100
_account = re.compile(r"[\w.@-]{1,64}").fullmatch


class Decisions:
    """The worklist as people work on it."""

    def __init__(self, store: Store, issuer: Issuer, kinds: Mapping[str, Kind], now: Callable[[], datetime]) -> None:
        self._store, self._issuer, self._kind, self._now = store, issuer, kinds[KIND], now

    def find(self, identity: str) -> Difference:
        """A difference by its identity, or by as much of its beginning as only one has; NotFound otherwise."""
        row = self._store.difference(identity)
        if row is not None:
            return row
        found = [each for each in self._store.differences(closed=True) if each.identity.startswith(identity)]
        if len(found) != 1 or len(identity) < 4:
            raise NotFound(
                "no such difference" if not found else f"{len(found)} differences begin so",
                where=f"difference {identity}",
                mend="`differences list` shows them",
            )
        return found[0]

    def see(self, identity: str, who: str) -> Difference:
        """Note that somebody looked at it."""
        return self._step(identity, who, worklist.see)

    def assign(self, identity: str, to: str, who: str) -> Difference:
        """Hand it to an account."""
        _named(to)
        return self._step(identity, who, lambda row, who, at: worklist.assign(row, to, who, at))

    def _step(
        self, identity: str, who: str, step: Callable[[Difference, str, str], tuple[Difference, list[Event]]]
    ) -> Difference:
        _named(who)
        identity = self.find(identity).identity
        with self._store.transaction():
            # Read again under the lock: a night or another person may have been faster.
            row, events = step(self.find(identity), who, stamp(self._now()))
            self._store.put_differences([row], events)
        return row

    def decide(self, identity: str, decision: str, reason: str, who: str) -> Difference:
        """Decide with a reason; signed onto the ledger. HubError where it does not fit the difference."""
        _named(who)
        reasons = self._kind.codes["reason"]
        if reason not in reasons:
            raise HubError(f"{reason!a} is no reason", where="--reason", mend=f"one of {', '.join(reasons)}")
        seen = self.find(identity)
        at = stamp(self._now())
        decided, _ = worklist.decide(seen, decision, reason, who, at)
        draft = self.draft(decided, who, at)

        def within() -> None:
            row, events = worklist.decide(self.find(seen.identity), decision, reason, who, at)
            if row.basis != decided.basis:
                raise HubError(
                    "changed while you decided", where=f"difference {seen.identity}", mend="look at it again, then decide"
                )
            self._store.put_differences([row], events)

        self._issuer.issue([draft], within)
        return self.find(seen.identity)

    def draft(self, row: Difference, who: str, at: str) -> Draft:
        """The record of the decision in force on a difference."""
        body: dict[str, object] = {
            "agreement": row.agreement,
            "difference": row.identity,
            "type": row.type,
            "night": row.last_night,
            "decision": row.decision,
            "reason": row.reason,
            "decided_at": at,
            "decided_by": who,
            "records": [ref._asdict() for ref in row.refs[:MOST_RECORDS]],
        }
        self._kind.accept(body)
        return self._issuer.draft(self._kind, f'["{row.identity}"]', body)


def _named(who: str) -> None:
    if not _account(who):
        raise HubError("not the name of an account", where=f"{who!a}", mend="letters, digits, . _ @ - (at most 64)")
