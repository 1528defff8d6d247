"""The nightly run: each agreement's night is claimed once, compared over the whole range and committed exactly once.

Rule 1. A claim is a row in the store with a token and an end; the report, the differences and the row's completion are
one transaction, fenced by the token. A run that lost its claim commits nothing.
Rule 2. The comparison is ordinary intake over the whole range: what it repairs is idempotent, whoever repeats it.
Rule 3. A city that is paused or cannot be read is named as not compared, its open differences stay open, and the others
go on.
Rule 4. What is found becomes differences by `hub.reconcile.worklist`; what the agreement itself settles is a signed
decision like a person's.
Nights are local dates in the hub's time zone. Missed nights are closed after downtime, oldest first, from one
comparison that names its real time.
"""

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from adapters.declaration import Declaration, Feed
from hub.crosscheck import CrossCheck
from hub.decisions import Decisions
from hub.errors import ConfigError, Fenced
from hub.framework import Agreement, Framework
from hub.intake import Draft, Intake, Issuer, Outcome, Progress, Reference, stamp
from hub.kinds import Kind
from hub.pulls import both
from hub.reconcile.deadlines import rule_named
from hub.reconcile.types import Told
from hub.reconcile.worklist import AGREEMENT, SEVERITIES, Difference, Event, Finding, LookedAt, Point, Ref, turn
from hub.store.base import Night, Quarantined, Store

KIND = "reconciliation/1"
LEASE = timedelta(minutes=30)
MOST_LISTED = 5_000
MOST_REPAIRS = 1_000
BIRTH = "first start"


class _Moved(Exception):
    """Somebody decided something while a night was about to commit: it looks again."""


@dataclass
class Comparison:
    """What one comparison of an agreement's cities found; counts are records, `bytes` those of their plain content."""

    started: datetime
    compared: int = 0
    equal: int = 0
    repaired: int = 0
    retracted: int = 0
    quarantined: int = 0
    bytes: int = 0
    not_compared: list[str] = field(default_factory=list)
    own_nodes: list[str] = field(default_factory=list)
    found: list[tuple[str, tuple[Ref, ...], tuple[Point, ...]]] = field(default_factory=list)
    across: list[Finding] = field(default_factory=list)
    not_looked_for: frozenset[str] = frozenset()
    repairs: list[tuple[str, Reference]] = field(default_factory=list)
    assumed: bool = False

    def leave_out(self, origins: Iterable[str]) -> None:
        """Name origins as not compared."""
        self.not_compared += [each for each in origins if each not in self.not_compared]

    def take(self, outcome: Outcome) -> None:
        """Add one feed's outcome."""
        pull = outcome.pull
        self.compared += pull.read
        self.equal += pull.unchanged
        self.repaired += outcome.added.count + outcome.changed.count
        self.retracted += outcome.retracted.count
        self.quarantined += pull.quarantined
        self.bytes += outcome.bytes
        self.found += [("vanished", (Ref(*reference),), ()) for reference in outcome.vanished.first]
        for number, _ in enumerate(outcome.shortfalls):
            self.found.append(("unexpected_total", (Ref(pull.code, pull.feed, f"expect-{number}"),), ()))
        for type, tally in (("missing", outcome.added), ("stale", outcome.changed), ("vanished", outcome.retracted)):
            self.repairs += [(type, reference) for reference in tally.first]


class Nightly:
    """Runs and commits nights; `connection` says how a city is reached."""

    def __init__(
        self,
        intake: Intake,
        issuer: Issuer,
        framework: Callable[[], Framework],
        kinds: Mapping[str, Kind],
        declarations: Mapping[str, Declaration],
        types: Mapping[str, Told],
        crosscheck: CrossCheck,
        connection: Callable[[str], Mapping[str, Any]],
        zone: ZoneInfo,
        now: Callable[[], datetime],
        paused: Callable[[str], object | None],
        held: Callable[..., AbstractContextManager[Progress]],
    ) -> None:
        """`types` says how grave each type of difference is; `crosscheck` looks across jurisdictions.

        `paused` tells of a declaration's pause, and `held` keeps its city to oneself, as `Pulls.held` does.
        """
        self._paused, self._held = paused, held
        self._intake, self._issuer, self._framework, self._kind = intake, issuer, framework, kinds[KIND]
        self._declarations, self._connection, self._zone, self._now = declarations, connection, zone, now
        self._types, self._crosscheck = types, crosscheck
        self._store: Store = intake.store
        self._decisions = Decisions(self._store, issuer, kinds, now)

    # --- when ---

    def due(self) -> list[tuple[str, str]]:
        """The nights whose time has come since the agreement was first looked at and that nobody has committed, oldest first.

        A later night that is committed says nothing of an earlier one: its run may have died with the claim in hand.
        """
        now = self._now().astimezone(self._zone)
        found = []
        for name, agreement in sorted(self._framework().agreements.items()):
            birth = self._birth(name, now).astimezone(self._zone)
            day, days = birth.date(), (now.date() - birth.date()).days + 1
            committed = {night.night for night in self._store.nights(name, days + 1) if night.state == "committed"}
            while (at := self._moment(agreement, day)) <= now:
                if at >= birth and agreement.holds(day) and day.isoformat() not in committed:
                    found.append((day.isoformat(), name))
                day += timedelta(days=1)
        return [(name, night) for night, name in sorted(found)]

    def missed(self, name: str) -> str | None:
        """The newest night that should have been done an hour ago and is not; None while all is as it should be."""
        born = self._store.get(f"{BIRTH} of {name}")
        late = self._now().astimezone(self._zone) - timedelta(hours=1)
        agreement = self._framework().agreements[name]
        day = late.date() if self._moment(agreement, late.date()) <= late else late.date() - timedelta(days=1)
        if born is None or self._moment(agreement, day) < datetime.fromisoformat(born) or not agreement.holds(day):
            return None
        night = self._store.night(name, day.isoformat())
        return None if night and night.state == "committed" else day.isoformat()

    def _birth(self, name: str, now: datetime) -> datetime:
        """When this agreement was first looked at here; remembered, so that a long downtime leaves no night out."""
        key = f"{BIRTH} of {name}"
        if self._store.get(key) is None:
            with self._store.transaction():
                if self._store.get(key) is None:
                    self._store.put(key, stamp(now))
        return datetime.fromisoformat(self._store.get(key) or stamp(now))

    def next(self, name: str) -> datetime:
        """When the agreement's next night begins."""
        now = self._now().astimezone(self._zone)
        agreement = self._framework().agreements[name]
        moment = self._moment(agreement, now.date())
        return moment if moment > now else self._moment(agreement, now.date() + timedelta(days=1))

    def _moment(self, agreement: Agreement, day: date) -> datetime:
        return datetime.combine(day, agreement.night, self._zone)

    # --- the run ---

    def run(self, agreement: str, nights: list[str], progress: Progress | None = None) -> list[Night]:
        """Claim, compare once, commit each night; gives those this run committed (none where another has them)."""
        self._refuse_odd(agreement, nights)
        token = secrets.token_hex(16)
        held = [night for night in sorted(nights) if self._claim(agreement, night, token)]
        if not held:
            return []
        comparison = self._compare(agreement, held, token, progress)
        done = []
        for night in held:
            try:
                self._commit(agreement, night, token, comparison)
            except Fenced:
                continue
            committed = self._store.night(agreement, night)
            done += [committed] if committed else []
            # What the first of several missed nights repaired is not repaired again by the next.
            equal = comparison.equal + comparison.repaired
            comparison = replace(comparison, repaired=0, retracted=0, equal=equal, repairs=[])
        return done

    def _refuse_odd(self, agreement: str, nights: list[str]) -> None:
        agreements = self._framework().agreements
        if agreement not in agreements:
            raise ConfigError([f"no agreement {agreement}; known: {', '.join(sorted(agreements))}"])
        for night in nights:
            try:
                day = date.fromisoformat(night)
            except ValueError:
                day = None
            if day is None or day.isoformat() != night or not agreements[agreement].holds(day):
                raise ConfigError([f"night {night} of {agreement}: expected a date of the agreement, YYYY-MM-DD"])

    def _claim(self, agreement: str, night: str, token: str) -> bool:
        now = self._now()
        with self._store.transaction():
            return self._store.claim_night(
                agreement, night, token, int(now.timestamp()), int((now + LEASE).timestamp())
            )

    def _compare(self, name: str, nights: list[str], token: str, progress: Progress | None) -> Comparison:
        comparison = Comparison(self._now())
        framework, last = self._framework(), date.fromisoformat(nights[-1])
        agreement = framework.agreements[name]
        codes = agreement.codes(last)
        sources = self._sources(framework, codes, comparison)
        for n, code in enumerate(sources):
            self._hold(name, nights, token, {"step": "compare", "city": code, "done": n, "of": len(sources)})
            self._compare_city(name, code, comparison, progress)
        comparison.not_compared = [code for code in comparison.not_compared if code in codes]
        self._hold(name, nights, token, {"step": "crosscheck", "done": len(sources), "of": len(sources)})
        for code in sorted({*codes, *sources}):
            comparison.found += self._set_aside(agreement, code, last)
        across = self._crosscheck(agreement, last, self._now(), self._store.differences(name, closed=True))
        comparison.across, comparison.not_looked_for = across.found, across.not_looked_for
        comparison.assumed = across.assumed
        self._hold(name, nights, token, {"step": "commit", "done": len(sources), "of": len(sources)})
        return comparison

    def _sources(self, framework: Framework, codes: Sequence[str], comparison: Comparison) -> list[str]:
        """The declarations that write the members' records, once each; members that none writes are named."""
        found = set()
        for code in codes:
            writers = [each.code for each in self._declarations.values() if _writes(each, [code])]
            if framework.members[code].custody == "self":
                comparison.own_nodes.append(code)
            elif not writers:
                comparison.not_compared.append(code)
            else:
                found.update(writers)
        return sorted(found)

    def _hold(self, name: str, nights: list[str], token: str, progress: Mapping[str, Any]) -> None:
        """Renew the claims, so that a long comparison does not look like a dead one, and say how far it is."""
        for night in nights:
            self._claim(name, night, token)
            with self._store.transaction():
                self._store.put_progress(name, night, token, {"progress": progress})

    def _compare_city(self, agreement: str, code: str, comparison: Comparison, progress: Progress | None) -> None:
        declaration = self._declarations[code]
        if self._paused(code):
            # Somebody said so with a reason: it is named, and is no difference that anybody has to settle.
            for feed in declaration.feeds:
                comparison.leave_out(feed.origins)
            return
        # A pull under way is waited for: the night is the one time that everything is compared.
        with self._held(code, f"night {agreement}", wait=True) as tell:
            for feed in declaration.feeds:
                self._compare_feed(agreement, declaration, feed, comparison, both(tell, progress))

    def _compare_feed(
        self, agreement: str, declaration: Declaration, feed: Feed, comparison: Comparison, progress: Progress
    ) -> None:
        code = declaration.code
        try:
            outcome = self._intake.run(
                declaration, feed, self._connection(code), full=True, who=f"night {agreement}", progress=progress
            )
        except Exception:
            # Whatever it was, the other cities are compared; this one is named, and its open differences stay open.
            reached = False
        else:
            comparison.take(outcome)
            reached = outcome.pull.state != "incomplete" and bool(
                outcome.pull.state == "succeeded" or outcome.shortfalls
            )
        if not reached and not set(feed.origins) <= set(comparison.not_compared):
            comparison.leave_out(feed.origins)
            comparison.found.append(("not_compared", (Ref(code, feed.name, feed.kind),), ()))

    def _set_aside(
        self, agreement: Agreement, code: str, night: date
    ) -> Iterator[tuple[str, tuple[Ref, ...], tuple[Point, ...]]]:
        """What the rows set aside mean: a record that is missing or stale, a row that cannot be told, a term that passed."""
        declaration = self._declarations.get(code)
        kinds = {feed.name: feed.kind for feed in declaration.feeds} if declaration else {}
        late: Counter[str] = Counter()
        for row in self._store.quarantine(code):
            kind = kinds.get(row.feed, row.feed)
            known = self._store.known(row.origin, kind, [row.id]).get(row.id) if row.id else None
            if not row.id:
                yield "quarantined", (Ref(row.origin or code, row.feed, row.mark),), ()
            else:
                stands = known is not None and known.op == "put"
                ref = Ref(row.origin or code, kind, row.id, known.rev if known else 0)
                yield ("stale" if stands else "missing"), (ref,), ()
            late[row.feed] += self._is_long(agreement, row, night)
        for feed, count in sorted(late.items()):
            if count:
                yield "quarantined_long", (Ref(code, feed, "quarantine"),), (Point("rows", "late", number=str(count)),)

    def _is_long(self, agreement: Agreement, row: Quarantined, night: date) -> bool:
        term = agreement.reconcile.quarantine if agreement.reconcile else None
        end = datetime.combine(night, agreement.night, self._zone)
        return term is not None and end - datetime.fromisoformat(row.first_seen) > term.span()

    # --- the commit ---

    def _commit(self, agreement: str, night: str, token: str, comparison: Comparison) -> None:
        found = [
            Finding(type, refs, self._types[type].severity, points) for type, refs, points in comparison.found
        ] + comparison.across
        settle = self._framework().agreements[agreement].reconcile
        while True:
            standing = self._store.differences(agreement, closed=True)
            ended = max(self._now(), comparison.started)
            looked_at = LookedAt(comparison.not_compared, comparison.not_looked_for)
            rows, events = turn(
                agreement, night, standing, found, stamp(ended), looked_at=looked_at, settle=settle.settle if settle else {}
            )
            try:
                self._put(agreement, night, token, comparison, ended, standing, rows, events)
            except _Moved:
                continue
            return

    def _put(
        self, agreement: str, night: str, token: str, comparison: Comparison, ended: datetime,
        standing: list[Difference], rows: list[Difference], events: list[Event],
    ) -> None:  # fmt: skip
        after = {row.identity: row for row in (*standing, *rows)}
        open_rows = [row for _, row in sorted(after.items()) if row.is_open]
        steps = Counter(event.step for event in events)
        result: dict[str, Any] = {
            "started_at": stamp(comparison.started),
            "committed_at": stamp(ended),
            "compared": comparison.compared,
            "equal": comparison.equal,
            "repaired": comparison.repaired,
            "retracted": comparison.retracted,
            "quarantined": comparison.quarantined,
            "open_differences": len(open_rows),
            "opened": steps["opened"] + steps["reopened"],
            "closed": steps["closed"],
            "overdue": sum(bool(row.due) and row.due < night for row in open_rows),
            "seconds": int((ended - comparison.started).total_seconds()),
            "bytes": comparison.bytes,
            "calendar_assumed": comparison.assumed,
            "not_compared": sorted(comparison.not_compared),
            "own_nodes": sorted(comparison.own_nodes),
            "not_looked_for": sorted(comparison.not_looked_for),
        }
        body = self._body(agreement, night, result, open_rows, comparison.repairs)
        drafts: list[Draft] = [self._issuer.draft(self._kind, key_of(agreement, night), body)]
        drafts += [
            self._decisions.draft(after[event.identity], AGREEMENT, event.at)
            for event in events
            if (event.who, event.step) == (AGREEMENT, "decided")
        ]

        def within() -> None:
            if self._store.differences(agreement, closed=True) != standing:
                raise _Moved
            self._store.put_differences(rows, events)
            self._store.commit_night(agreement, night, token, result)

        self._issuer.issue(drafts, within)

    def _body(
        self, agreement: str, night: str, result: Mapping[str, Any], found: list[Difference],
        repairs: list[tuple[str, Reference]],
    ) -> dict[str, Any]:  # fmt: skip
        body = {"agreement": agreement, "night": night, "not_compared_count": len(result["not_compared"])} | {
            name: value for name, value in result.items() if name in self._kind.fields and value != []
        }
        gravest = sorted(found, key=lambda row: (SEVERITIES.index(row.severity), row.type, row.identity))
        listed = [_listed(each) for each in gravest[:MOST_LISTED]]
        if listed:
            body["differences"] = listed
        mended = [{"type": type} | reference._asdict() for type, reference in repairs[:MOST_REPAIRS]]
        if mended:
            body["repairs"] = mended
        self._kind.accept(body)
        return body


def _writes(declaration: Declaration, origins: Iterable[str]) -> bool:
    """Whether a declaration's feeds write records of one of these origins."""
    wanted = set(origins)
    return any(wanted & set(feed.origins) for feed in declaration.feeds)


def key_of(agreement: str, night: str) -> str:
    """The source key of a night's report."""
    return f'["{agreement}","{night}"]'


def _listed(row: Difference) -> dict[str, Any]:
    """A difference as a report lists it: by reference, of a pair both sides."""
    first, *others = row.refs
    listed = {"type": row.type, "origin": first.origin, "kind": first.kind, "id": first.id, "severity": row.severity}
    listed |= {"difference": row.identity, "state": row.state}
    rule = rule_named(row.points)
    if rule:
        listed["rule"] = rule
    if others:
        listed |= {"other_origin": others[0].origin, "other_kind": others[0].kind, "other_id": others[0].id}
    return listed
