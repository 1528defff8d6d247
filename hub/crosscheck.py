"""Looks across an agreement's jurisdictions at what its members may compare, and gives what the detectors find.

Rule 1. Two members' records are compared only in groups that this agreement has each of them give the other, in open
fields, and in the fields the agreement has compared as keyed marks. What only one side gives is not compared.
Rule 2. A field that a mask hides says nothing: it is left out.
Rule 3. What an agreement does not ask for (`reconcile:`) is not looked for, and the night says so.
Reads the store record by record in the order they rest in; keeps only what is compared.
"""

import hmac
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import combinations
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from hub import audit, freshness, record
from hub.copies import copies
from hub.framework import Agreement, Framework, correspondents, short_code
from hub.freshness import Sources
from hub.kinds import Kind
from hub.reconcile import findings
from hub.reconcile.deadlines import POINT, Deadline, Deadlines, DueRow, Rule, Term
from hub.reconcile.findings import MARK, Found, Letter, Seen
from hub.reconcile.match import MatchRule, match
from hub.reconcile.types import Told
from hub.reconcile.worklist import Difference, Finding, Point, Ref, apart
from hub.store.base import Held, Store

HORIZON = timedelta(days=730)
CASE, INSPECTION, LETTER = "case/1", "inspection/1", "transfer/1"
Terms = Mapping[str, Sequence[Term]]
_DAYS = {CASE: ("decided_on", "filed_on"), INSPECTION: ("checked_at",)}


class Across(NamedTuple):
    """What was found, the types not looked for, and whether a calendar was assumed."""

    found: list[Finding]
    not_looked_for: frozenset[str]
    assumed: bool


class CrossCheck:
    """Reads an agreement's records and runs the detectors on them."""

    def __init__(
        self,
        store: Store,
        framework: Callable[[], Framework],
        kinds: Mapping[str, Kind],
        types: Mapping[str, Told],
        deadlines: Deadlines,
        crosswalk: Mapping[str, str],
        zone: ZoneInfo,
        key: bytes,
        feeds: Sources,
    ) -> None:
        """`crosswalk` gives the item code that stands for others, `feeds` which feeds write each jurisdiction's records.

        `key` makes marks that never leave the store.
        """
        self._store, self._framework, self._kinds = store, framework, kinds
        self._types, self._key, self._feeds = types, key, feeds
        self._deadlines, self._crosswalk, self._zone = deadlines, crosswalk, zone

    def __call__(self, agreement: Agreement, night: date, now: datetime, standing: Sequence[Difference]) -> Across:
        """Everything found on one night; `standing` are the agreement's differences, with what was decided of them."""
        found = [*self._late_nodes(agreement, night, now), *self._copies(agreement, night, now)]
        missing: set[str] = set()
        if agreement.reconcile is None:
            missing |= {"repeated_inspection", "penalty_outlier", "double_penalty", "competing_jurisdiction"}
            missing |= {"maybe_same", "records_disagree", "quarantined_long"}
        else:
            found += self._between_members(agreement, night, apart(standing))
        letters = self._letters(agreement, night)
        found += [each for letter in letters if (each := findings.letter_disagreement(letter)) is not None]
        judged = [*self._cases_due(agreement, night, now), *self._letters_due(agreement, letters, now)]
        found += [each for _, each in judged]
        return Across(
            [Finding(each.type, each.refs, self._types[each.type].severity, *each[2:]) for each in found],
            frozenset(missing),
            any(deadline.assumed for deadline, _ in judged),
        )

    # --- nodes and copies ---

    def _late_nodes(self, agreement: Agreement, night: date, now: datetime) -> Iterator[Found]:
        """Members whose own node was not heard of for longer than agreed; what the hub reads is compared anyway."""
        for code in agreement.codes(night):
            member = self._framework().members[code]
            if member.custody == "self":
                success = freshness.of(self._store, member, self._feeds).success
                if success is not None and now - success > agreement.freshness:
                    yield Found("late_source", (Ref(code, "node", "push"),))

    def _copies(self, agreement: Agreement, night: date, now: datetime) -> Iterator[Found]:
        """Copies of members that are another than the ledger, or behind for longer than data may be old."""
        for copy in copies(self._store, agreement.codes(night)):
            ref = (Ref(copy.partner, "copy", "ledger"),)
            if copy.state == "different":
                yield Found("copy_different", ref, (Point("entries", "different", number=str(copy.size)),))
            elif copy.state == "behind" and now - copy.at > agreement.freshness:
                yield Found("copy_behind", ref, (Point("entries", "behind", number=str(copy.behind)),))

    # --- members that may compare ---

    def _between_members(
        self, agreement: Agreement, night: date, judged: Collection[frozenset[Ref]]
    ) -> Iterator[Found]:
        """What two or more members' records say together; `judged` are pairs that a person told apart."""
        asked = agreement.reconcile
        assert asked is not None
        since = (night - HORIZON).isoformat()
        kinds = {CASE, INSPECTION} | {rule.kind for rule in asked.matching}
        for kind in sorted(kinds & self._kinds.keys()):
            for circle, groups in self._circles(agreement, kind, night):
                seen = {code: list(self._read(agreement, code, kind, groups, since)) for code in circle}
                together = [each for code in circle for each in seen[code]]
                if kind == INSPECTION and asked.one_visit:
                    yield from findings.repeated_inspections(together, asked.one_visit.span(), night)
                if kind == CASE and asked.practice:
                    yield from findings.outliers(
                        together, asked.practice.cases, asked.practice.factor, self._crosswalk
                    )
                for rule in asked.matching:
                    if rule.kind == kind:
                        for one, other in combinations(circle, 2):
                            yield from self._matches(rule, seen[one], seen[other], judged)

    def _matches(
        self, rule: MatchRule, left: list[Seen], right: list[Seen], judged: Collection[frozenset[Ref]]
    ) -> Iterator[Found]:
        places = {each.ref: n for side in (left, right) for n, each in enumerate(side)}
        told = {
            (places[one], places[other])
            for pair in judged
            for one, other in (sorted(pair), sorted(pair, reverse=True))
            if one in places and other in places and one.origin == left[0].ref.origin
        } if left and right else set()  # fmt: skip
        found = match(rule, [each.fields for each in left], [each.fields for each in right], self._crosswalk, told)
        for pair in found:
            one, other = left[pair.left], right[pair.right]
            meant = findings.same_matter(rule.kind, one, other, pair.points, pair.score, rule.same)
            if meant is not None:
                yield meant

    def _circles(self, agreement: Agreement, kind: str, night: date) -> Iterator[tuple[tuple[str, ...], frozenset[str]]]:
        """The largest sets of members of which each gives each other one records of a kind, and the groups all give."""
        if kind not in self._kinds:
            return
        shared: dict[tuple[str, str], frozenset[str]] = {}
        for one, other in combinations(agreement.codes(night), 2):
            there = self._framework().decide(kind, one, other, night, agreement.id)
            back = self._framework().decide(kind, other, one, night, agreement.id)
            if there.shared and back.shared:
                shared[one, other] = there.groups & back.groups
        for circle in circles(shared):
            groups = frozenset.intersection(*(shared[pair] for pair in combinations(circle, 2)))
            yield circle, groups

    # --- letters ---

    def _letters(self, agreement: Agreement, night: date) -> list[Letter]:
        """The letters between members, each with both its sides as they may be compared."""
        seen: list[Seen] = []
        if LETTER in self._kinds:
            for code in agreement.codes(night):
                for held, ref in self._standing(code, LETTER):
                    parsed = record.parse(held.raw or b"")
                    groups = self._between(agreement, parsed.open, night)
                    seen.append(self._seen(agreement, held, parsed, ref, groups))
        return list(findings.letters(seen))

    def _between(self, agreement: Agreement, open_: Mapping[str, Any], night: date) -> frozenset[str]:
        """The groups of a letter that both its sides give each other."""
        sides = [code for code in correspondents(open_) if code in agreement.codes(night)]
        if len(set(sides)) != 2:
            return frozenset()
        decisions = [
            self._framework().decide(LETTER, one, other, night, agreement.id, (one, other))
            for one, other in (sides, sides[::-1])
        ]
        return decisions[0].groups & decisions[1].groups

    # --- deadlines ---

    def _cases_due(self, agreement: Agreement, night: date, now: datetime) -> Iterator[tuple[Deadline, Found]]:
        """Deadlines near or passed of the members' own records, letters apart."""
        for code in agreement.codes(night):
            for row in self._due(code, now, _agreed([agreement])):
                if row.deadline.state in ("near", "passed"):
                    yield row.deadline, _due_found(row.deadline, row.refs)

    def _letters_due(
        self, agreement: Agreement, letters: Iterable[Letter], now: datetime
    ) -> Iterator[tuple[Deadline, Found]]:
        """Those of letters, by what both sides say of them together."""
        for letter in letters:
            for row in self._letter_due(letter, now, _agreed([agreement])):
                if row.deadline.state in ("near", "passed"):
                    yield row.deadline, _due_found(row.deadline, row.refs)

    def due(self, now: datetime, region: str | None = None) -> Iterator[DueRow]:
        """Every deadline that runs or ran for standing records, as the nights judge them; `region` is who has to act.

        A record of several agreements stands under the soonest end of them all.
        """
        framework, on = self._framework(), now.astimezone(self._zone).date()
        for code in framework.members:
            names = framework.agreements_of(code, on)
            terms = _agreed([framework.agreements[name] for name in names])
            # What is in no agreement has no other side here.
            for row in self._due(code, now, terms, letters=not names, region=region):
                if region in (None, row.region):
                    yield row
        for letter, agreements in self._all_letters(on):
            for row in self._letter_due(letter, now, _agreed(agreements)):
                if region in (None, row.region):
                    yield row

    def _all_letters(self, on: date) -> Iterator[tuple[Letter, list[Agreement]]]:
        """Each letter of all agreements once, with as many of its sides as any of them joins."""
        found: dict[frozenset[Ref], tuple[Letter, list[Agreement]]] = {}
        most: dict[Ref, frozenset[Ref]] = {}
        for _, agreement in sorted(self._framework().agreements.items()):
            for letter in self._letters(agreement, on) if agreement.holds(on) else ():
                refs = frozenset(side.ref for side in letter.sides)
                found.setdefault(refs, (letter, []))[1].append(agreement)
                for ref in refs:
                    most[ref] = max(most.get(ref, refs), refs, key=len)
        for refs, each in found.items():
            if all(most[ref] == refs for ref in refs):
                yield each

    def _due(
        self, code: str, now: datetime, terms: Terms, letters: bool = False, region: str | None = None
    ) -> Iterator[DueRow]:
        """Of one jurisdiction's own records, each alone; with `region`, only what may be that one's to do."""
        for kind in sorted({rule.kind for rule in self._deadlines.rules.values() if rule.kind in self._kinds}):
            rules = [rule for rule in self._deadlines.of(kind) if rule.region or region in (None, code)]
            for held, ref in self._standing(code, kind) if rules and (letters or kind != LETTER) else ():
                open_ = record.parse(held.raw or b"").open
                for rule in rules:
                    yield from self._row(rule, open_, (ref,), now, terms)

    def _letter_due(self, letter: Letter, now: datetime, terms: Terms) -> Iterator[DueRow]:
        for rule in self._deadlines.of(LETTER):
            yield from self._row(rule, letter.fields, tuple(side.ref for side in letter.sides), now, terms)

    def _row(
        self, rule: Rule, open_: Mapping[str, Any], refs: tuple[Ref, ...], now: datetime, terms: Terms
    ) -> Iterator[DueRow]:
        deadline = rule.judge(open_, now, self._deadlines.calendar, self._zone, terms.get(rule.name, ()))
        if deadline is not None:
            named = str(open_.get(rule.agency, ""))
            agency = str(open_.get("agency_name") or named)
            yield DueRow(agency, "" if agency == named else named, self._place(rule, open_, refs[0].origin), refs, deadline)

    def _place(self, rule: Rule, open_: Mapping[str, Any], origin: str) -> str:
        """The member within which the region lies that has to act; where none is named, whose record it is."""
        code = short_code(str(open_.get(rule.region, origin)))
        around = [member for member in self._framework().members if code.startswith(member)]
        return max(around, key=len, default=code)

    # --- reading ---

    def _read(
        self, agreement: Agreement, origin: str, kind: str, groups: frozenset[str], since: str
    ) -> Iterator[Seen]:
        """An origin's standing records since a date, each with what may be compared of it."""
        for held, ref in self._standing(origin, kind):
            parsed = record.parse(held.raw or b"")
            days = [str(parsed.open[name])[:10] for name in _DAYS[kind] if name in parsed.open]
            if days and max(days) >= since:
                yield self._seen(agreement, held, parsed, ref, groups)

    def _standing(self, origin: str, kind: str) -> Iterator[tuple[Held, Ref]]:
        """The standing records of a series that are held here, in the order they rest in."""
        for id, known, held in audit.current(self._store, origin, kind):
            if known.op == "put" and held.raw is not None:
                yield held, Ref(origin, kind, id, known.rev)

    def _seen(
        self, agreement: Agreement, held: Held, parsed: record.Record, ref: Ref, groups: frozenset[str]
    ) -> Seen:
        kind = self._kinds[parsed.kind]
        revealed = record.reveal(parsed, held.disclosures.values())
        body = kind.join(parsed.open, revealed)
        fields = dict(parsed.open)
        for group in sorted(groups & revealed.keys()):
            fields |= {name: value for name, value in revealed[group].items() if body.get(name) == value}
        for name in agreement.reconcile.keyed if agreement.reconcile else ():
            if name in body:
                fields[name + MARK] = self._mark(name, body[name])
        return Seen(ref, fields, self._party(fields))

    def _mark(self, name: str, value: Any) -> str:
        return hmac.digest(self._key, f"{name}\0{str(value).upper()}".encode(), "sha256").hex()[:32]

    def _party(self, fields: Mapping[str, Any]) -> str:
        """A mark of whom a record concerns: by number where one may be compared, else by name; empty where neither may."""
        number = fields.get("party_id" + MARK) or ("party_id" in fields and self._mark("party_id", fields["party_id"]))
        if number:
            return str(number)
        return self._mark("party_name", fields["party_name"]) if "party_name" in fields else ""


def _agreed(agreements: Iterable[Agreement]) -> dict[str, list[Term]]:
    """The terms that agreements set, by the rule they set it for."""
    terms: dict[str, list[Term]] = {}
    for agreement in agreements:
        for name, term in agreement.deadlines.items():
            terms.setdefault(name, []).append(term)
    return terms


def _due_found(deadline: Deadline, refs: tuple[Ref, ...]) -> Found:
    """A deadline as a finding: its clause is the rule's own, which `differences show` tells by the rule's name."""
    rule = deadline.rule
    type = rule.difference if deadline.state == "passed" else "deadline_near"
    points = [Point(rule.starts, "starts"), Point(POINT, rule.name, number=deadline.day)]
    if deadline.extended:
        points.append(Point(rule.extended_by, "extended"))
    if deadline.unreasoned:
        points.append(Point(rule.reason, "missing"))
    if deadline.assumed:
        points.append(Point("calendar", "assumed"))
    key = " ".join((rule.name, *(f"{ref.origin}/{ref.kind}/{ref.id}" for ref in refs[:1])))
    return Found(type, refs, tuple(points), deadline.day, key)


def circles(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    """The largest sets of names in which every two are a pair (maximal cliques, Bron and Kerbosch 1973)."""
    near: dict[str, set[str]] = {}
    for one, other in pairs:
        near.setdefault(one, set()).add(other)
        near.setdefault(other, set()).add(one)
    found: list[tuple[str, ...]] = []

    def grow(inside: frozenset[str], able: set[str], done: set[str]) -> None:
        if not able and not done and len(inside) > 1:
            found.append(tuple(sorted(inside)))
        for name in sorted(able):
            grow(inside | {name}, able & near[name], done & near[name])
            able, done = able - {name}, done | {name}

    grow(frozenset(), set(near), set())
    return sorted(found)
