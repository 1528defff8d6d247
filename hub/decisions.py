"""What people do with differences: look, hand over, decide; each decision is a signed record of the hub.

Rule 1. A decision's record, the difference's new state and the step in its history are one transaction.
Rule 2. Who decides is a named account, and why is one of the reasons that the kind `decision/1` lists: no free text.
A crash leaves either all of a decision or nothing; asking again is safe.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from hashlib import sha256
from typing import Any

from hub.errors import HubError, NotFound
from hub.framework import Framework
from hub.intake import Draft, Issuer, stamp
from hub.kinds import Kind
from hub.reconcile import worklist
from hub.reconcile.deadlines import Rule, rule_named, told_by_rule
from hub.reconcile.findings import MARK
from hub.reconcile.types import Told
from hub.reconcile.worklist import SEVERITIES, Difference, Event
from hub.store.base import Store

KIND = "decision/1"
MOVED = "changed while you decided"
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

    def decide(self, identity: str, decision: str, reason: str, who: str, basis: str | None = None) -> Difference:
        """Decide with a reason; signed onto the ledger. HubError where it does not fit the difference.

        `basis` is `basis_of` the difference as it was looked at: another one by now is not decided.
        """
        _named(who)
        reasons = self._kind.codes["reason"]
        if reason not in reasons:
            raise HubError(f"{reason!a} is no reason", where="--reason", mend=f"one of {', '.join(reasons)}")
        seen = self.find(identity)
        if basis not in (None, basis_of(seen)):
            raise HubError(MOVED, where=f"difference {seen.identity}", mend="look at it again, then decide")
        at = stamp(self._now())
        decided, _ = worklist.decide(seen, decision, reason, who, at)
        draft = self.draft(decided, who, at)

        def within() -> None:
            row, events = worklist.decide(self.find(seen.identity), decision, reason, who, at)
            if row.basis != decided.basis:
                raise HubError(MOVED, where=f"difference {seen.identity}", mend="look at it again, then decide")
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


def basis_of(row: Difference) -> str:
    """What a decision on it rests on, in 16 hex digits: the revisions it refers to and the decision in force."""
    return sha256(repr((row.refs, row.decision, row.reason)).encode()).hexdigest()[:16]


def gravest_first(rows: Iterable[Difference]) -> list[Difference]:
    """Differences by severity, then by what is due soonest, then the oldest first."""
    return sorted(
        rows, key=lambda row: (SEVERITIES.index(row.severity), row.due or "9", row.first_night, row.identity)
    )


class Worklist:
    """The worklist as it is told: each difference by reference, with the words of its type, and what may be decided of it."""

    def __init__(
        self, store: Store, decisions: Decisions, kinds: Mapping[str, Kind], types: Mapping[str, Told],
        rules: Mapping[str, Rule], framework: Callable[[], Framework],
    ) -> None:  # fmt: skip
        self.decisions = decisions
        self._store, self._kinds, self._types, self._rules, self._framework = store, kinds, types, rules, framework

    def rows(self, agreements: Collection[str] = (), *, closed: bool = False) -> list[Difference]:
        """The open differences of some agreements or of all, gravest first; with `closed` those too."""
        found = self._store.differences(closed=closed)
        return gravest_first(row for row in found if not agreements or row.agreement in agreements)

    def find(self, identity: str) -> Difference:
        return self.decisions.find(identity)

    def history(self, row: Difference) -> list[Event]:
        """The steps of its life, oldest first."""
        return self._store.difference_events(row.identity)

    def told(self, row: Difference) -> dict[str, Any]:
        """A difference for people and programs."""
        words = told_by_rule(self._types[row.type].words, self._rules.get(rule_named(row.points)))
        plain = {name: value for name, value in asdict(row).items() if name not in ("refs", "points", "basis")}
        return plain | {
            "open": row.is_open,
            **words,
            "origins": " ".join(sorted({ref.origin for ref in row.refs})),
            "refs": [ref._asdict() for ref in row.refs],
            "points": [point._asdict() for point in row.points],
        }

    def type_label(self, type: str) -> Mapping[str, str]:
        """What a type is called."""
        return self._types[type].label

    def agreement_name(self, name: str) -> Mapping[str, str]:
        found = self._framework().agreements.get(name)
        return found.name if found else {"zh": name, "en": name}

    def origin_name(self, code: str) -> Mapping[str, str]:
        found = self._framework().members.get(code)
        return found.name if found else {"zh": code, "en": code}

    def kind_label(self, name: str) -> Mapping[str, str] | None:
        """What a kind is called; None where the name is none of a kind (a feed, a copy)."""
        return self._kinds[name].label if name in self._kinds else None

    def field_label(self, row: Difference, field: str) -> Mapping[str, str] | None:
        """What a field that was compared is called; None where it is a measure and no field."""
        kinds = (self._kinds[ref.kind] for ref in row.refs if ref.kind in self._kinds)
        name = field.removesuffix(MARK)
        found = next((kind.fields[name] for kind in kinds if name in kind.fields), None)
        return found.label if found else None

    def rule_label(self, name: str) -> Mapping[str, str] | None:
        """What a rule of a deadline is called."""
        return self._rules[name].label if name in self._rules else None

    def choices(self, row: Difference) -> tuple[dict[str, Mapping[str, str]], dict[str, Mapping[str, str]]]:
        """The decisions that fit it, and the reasons there are, each with its words."""
        codes = self._kinds[KIND].codes
        fitting = [name for name, each in worklist.DECISIONS.items() if each.sides <= len(row.refs)]
        return {name: codes["judgement"][name] for name in fitting}, dict(codes["reason"])

    def judgement(self, code: str) -> Mapping[str, str] | None:
        return self._kinds[KIND].codes["judgement"].get(code)

    def reason(self, code: str) -> Mapping[str, str] | None:
        return self._kinds[KIND].codes["reason"].get(code)


def _named(who: str) -> None:
    if not _account(who):
        raise HubError("not the name of an account", where=f"{who!a}", mend="letters, digits, . _ @ - (at most 64)")
