"""The nightly run: each agreement's night is claimed once, compared over the whole range and committed exactly once.

Rule 1. A claim is a row in the store with a token and an end; the report, the differences and the row's completion are
one transaction, fenced by the token. A run that lost its claim commits nothing.
Rule 2. The comparison is ordinary intake over the whole range: what it repairs is idempotent, whoever repeats it.
Rule 3. A city that cannot be read is named as not compared, its open differences stay open, and the others go on.
Nights are local dates in the hub's time zone. Missed nights are closed after downtime, oldest first, from one
comparison that names its real time.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

from adapters.declaration import Declaration
from hub.errors import ConfigError, Fenced
from hub.framework import Agreement, Framework
from hub.intake import Intake, Issuer, Outcome, Progress, Reference, stamp
from hub.kinds import Kind
from hub.store.base import Difference, Night, Store

KIND = "reconciliation/1"
LEASE = timedelta(minutes=30)
MOST_LISTED = 5_000
BIRTH = "first start"


@dataclass
class Comparison:
    """What one comparison of an agreement's cities found; counts are records."""

    started: datetime
    compared: int = 0
    equal: int = 0
    repaired: int = 0
    retracted: int = 0
    quarantined: int = 0
    not_compared: list[str] = field(default_factory=list)
    own_nodes: list[str] = field(default_factory=list)
    found: list[tuple[str, Reference, str]] = field(default_factory=list)

    def take(self, outcome: Outcome) -> None:
        """Add one feed's outcome."""
        pull = outcome.pull
        self.compared += pull.read
        self.equal += pull.unchanged
        self.repaired += outcome.added.count + outcome.changed.count
        self.retracted += outcome.retracted.count
        self.quarantined += pull.quarantined
        self.found += [("vanished", reference, "medium") for reference in outcome.vanished.first]
        for number, _ in enumerate(outcome.shortfalls):
            self.found.append(("unexpected_total", Reference(pull.code, pull.feed, f"expect-{number}"), "high"))


class Nightly:
    """Runs and commits nights; `connection` says how a city is reached."""

    def __init__(
        self,
        intake: Intake,
        issuer: Issuer,
        framework: Callable[[], Framework],
        kinds: Mapping[str, Kind],
        declarations: Mapping[str, Declaration],
        connection: Callable[[str], Mapping[str, Any]],
        zone: ZoneInfo,
        now: Callable[[], datetime],
    ) -> None:
        self._intake, self._issuer, self._framework, self._kind = intake, issuer, framework, kinds[KIND]
        self._declarations, self._connection, self._zone, self._now = declarations, connection, zone, now
        self._store: Store = intake.store

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
            comparison = replace(comparison, repaired=0, retracted=0, equal=comparison.equal + comparison.repaired)
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
        framework = self._framework()
        codes = framework.agreements[name].codes(date.fromisoformat(nights[-1]))
        for code in codes:
            if framework.members[code].custody == "self":
                comparison.own_nodes.append(code)
            elif code not in self._declarations:
                comparison.not_compared.append(code)
            else:
                self._compare_city(name, code, comparison, progress)
            # Each city renews the claim: a long comparison must not look like a dead one.
            for night in nights:
                self._claim(name, night, token)
        comparison.found += [
            ("quarantined", Reference(row.origin or row.code, row.feed, row.id or row.mark), "medium")
            for code in codes
            for row in self._store.quarantine(code)
        ]
        return comparison

    def _compare_city(self, agreement: str, code: str, comparison: Comparison, progress: Progress | None) -> None:
        declaration = self._declarations[code]
        for feed in declaration.feeds:
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
            if not reached and code not in comparison.not_compared:
                comparison.not_compared.append(code)
                comparison.found.append(("not_compared", Reference(code, feed.name, feed.kind), "high"))

    # --- the commit ---

    def _commit(self, agreement: str, night: str, token: str, comparison: Comparison) -> None:
        found = self._differences(agreement, night, comparison)
        result: dict[str, Any] = {
            "started_at": stamp(comparison.started),
            "committed_at": stamp(max(self._now(), comparison.started)),
            "compared": comparison.compared,
            "equal": comparison.equal,
            "repaired": comparison.repaired,
            "retracted": comparison.retracted,
            "quarantined": comparison.quarantined,
            "open_differences": len(found),
            "not_compared": sorted(comparison.not_compared),
            "own_nodes": sorted(comparison.own_nodes),
        }
        body = self._body(agreement, night, result, found)

        def within() -> None:
            self._store.put_differences(agreement, night, found)
            self._store.commit_night(agreement, night, token, result)

        self._issuer.issue([self._issuer.draft(self._kind, f'["{agreement}","{night}"]', body)], within)

    def _body(self, agreement: str, night: str, result: Mapping[str, Any], found: list[Difference]) -> dict[str, Any]:
        body = {"agreement": agreement, "night": night, "not_compared_count": len(result["not_compared"])} | {
            name: value for name, value in result.items() if name in self._kind.fields and value != []
        }
        listed = [
            {
                "type": each.type,
                "origin": each.origin,
                "kind": each.kind,
                "id": each.reference,
                "severity": each.severity,
            }
            for each in found[:MOST_LISTED]
        ]
        if listed:
            body["differences"] = listed
        self._kind.accept(body)
        return body

    def _differences(self, agreement: str, night: str, comparison: Comparison) -> list[Difference]:
        found: dict[str, Difference] = {}
        for type, reference, severity in comparison.found:
            key = "\0".join((agreement, type, *reference))
            identity = sha256(key.encode()).hexdigest()[:24]
            found[identity] = Difference(
                identity, agreement, type, reference.origin, reference.kind, reference.id, severity, night, night
            )
        for each in self._store.differences():
            if each.agreement == agreement and each.origin in comparison.not_compared:
                found.setdefault(each.identity, replace(each, last_night=night))
        return [found[identity] for identity in sorted(found)]
