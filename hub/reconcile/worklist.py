"""A difference and its life: found by a night, seen, assigned and decided by people, verified and closed by a night.

Rule 1. A difference is what it is about: its identity comes from agreement, type and the records it refers to, so that the
next night finds the same one again. Its basis is the revisions it was judged on.
Rule 2. A night opens what it finds, renews what it finds again, closes what it finds no more. What it could not look at
stays as it is.
Rule 3. A person decides with a reason. `keep_both`, `not_same` and `waive` hold until a side changes; `accept_a`,
`accept_b` and `ask_city` wait for the cities. What a decision did not settle is opened again, and keeps its history.
Rule 4. References, codes and names of accounts only: no value of a record.
Pure: nights are local dates, times ISO texts with an offset.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import NamedTuple

from hub.errors import HubError

OPEN_STATES = ("opened", "seen", "assigned", "decided")
STATES = (*OPEN_STATES, "verified", "closed")
SEVERITIES = ("high", "medium", "low")
NIGHT = "night"
AGREEMENT = "agreement"


class Ref(NamedTuple):
    """What a difference speaks of: a record by origin, kind, id and revision, or (rev 0) a feed, a row, a partner."""

    origin: str
    kind: str
    id: str
    rev: int = 0


class Point(NamedTuple):
    """One thing that was looked at: a field and how its two sides compare, or a measure by name; never a value.

    `verdict` is equal, close, differs or missing, or a word of the difference's type; `score` (0 to 1) and `weight` are of a
    match; `number` is a count, a number of days or a date of an open field.
    """

    field: str
    verdict: str
    weight: float = 0.0
    score: float = 0.0
    number: str = ""


@dataclass(frozen=True)
class Finding:
    """Something that a night found; `refs` begin with the one it is about, `due` is a date where it has one.

    `key` is what it is known by from night to night where its references come and go.
    """

    type: str
    refs: tuple[Ref, ...]
    severity: str
    points: tuple[Point, ...] = ()
    due: str = ""
    key: str = ""


@dataclass(frozen=True)
class Difference:
    """A finding with its life; `decision` is the decision in force, `basis` the references it was made on."""

    identity: str
    agreement: str
    type: str
    refs: tuple[Ref, ...]
    severity: str
    first_night: str
    last_night: str
    points: tuple[Point, ...] = ()
    due: str = ""
    state: str = "opened"
    assigned: str = ""
    decision: str = ""
    reason: str = ""
    basis: tuple[Ref, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether it still needs somebody: a person, a city or the next night."""
        return self.state in OPEN_STATES

    @property
    def holds(self) -> bool:
        """Whether the decision in force was made on the very revisions it refers to now."""
        return bool(self.decision) and self.basis == self.refs


class Event(NamedTuple):
    """One step of a difference's life; `who` is an account, `night` or `agreement`; `code` a decision or a night's date."""

    identity: str
    at: str
    who: str
    step: str
    code: str = ""
    reason: str = ""


class Judgement(NamedTuple):
    """What a decision means: whether it settles the difference by itself, and how many sides it takes."""

    settles: bool
    sides: int


DECISIONS: Mapping[str, Judgement] = {
    "accept_a": Judgement(settles=False, sides=2),
    "accept_b": Judgement(settles=False, sides=2),
    "keep_both": Judgement(settles=True, sides=2),
    "not_same": Judgement(settles=True, sides=2),
    "ask_city": Judgement(settles=False, sides=1),
    "waive": Judgement(settles=True, sides=1),
}
"""The decisions there are; their names for people, and the reasons, stand in the kind `decision/1`."""


def identity_of(agreement: str, finding: Finding) -> str:
    """The 24 hex digits by which the same finding is known on every night: revisions do not count."""
    refs = ["\0".join((ref.origin, ref.kind, ref.id)) for ref in finding.refs]
    parts = [agreement, finding.type, *([finding.key] if finding.key else refs)]
    return sha256("\0\0".join(parts).encode()).hexdigest()[:24]


def fresh(agreement: str, finding: Finding, night: str) -> Difference:
    """A finding as a difference that was never there before."""
    identity = identity_of(agreement, finding)
    return Difference(
        identity, agreement, finding.type, finding.refs, finding.severity, night, night, finding.points, finding.due
    )


# --- what a night does ---


def turn(
    agreement: str,
    night: str,
    standing: Iterable[Difference],
    found: Iterable[Finding],
    at: str,
    *,
    looked_at: "LookedAt",
    settle: Mapping[str, tuple[str, str]] | None = None,
) -> tuple[list[Difference], list[Event]]:
    """What becomes of an agreement's differences by a night's findings; gives the rows that changed, and the events.

    `standing` are all of the agreement's differences, closed ones too; `looked_at` tells which of them the night could
    look at; `settle` is what the agreement itself decides: type -> (decision, reason).
    """
    rows: dict[str, Difference] = {each.identity: each for each in standing}
    changed: dict[str, Difference] = {}
    events: list[Event] = []
    met: set[str] = set()
    for finding in found:
        new = fresh(agreement, finding, night)
        if new.identity in met:
            continue
        met.add(new.identity)
        row, steps = _met(rows.get(new.identity), new, at, settle or {})
        changed[new.identity] = row
        events += steps
    for row in rows.values():
        if row.identity not in met and looked_at(row):
            after, steps = _gone(row, night, at)
            events += steps
            if after != row:
                changed[row.identity] = after
        elif row.identity not in met and row.is_open:
            changed[row.identity] = replace(row, last_night=max(row.last_night, night))
    return [changed[identity] for identity in sorted(changed)], events


class LookedAt:
    """Whether a night could look at what a difference is about."""

    def __init__(self, not_compared: Iterable[str], not_looked_for: Iterable[str] = ()) -> None:
        """`not_compared` are origins that could not be read, `not_looked_for` types that were not looked for at all."""
        self._origins, self._types = frozenset(not_compared), frozenset(not_looked_for)

    def __call__(self, row: Difference) -> bool:
        return row.type not in self._types and not any(ref.origin in self._origins for ref in row.refs)


def _met(
    old: Difference | None, new: Difference, at: str, settle: Mapping[str, tuple[str, str]]
) -> tuple[Difference, list[Event]]:
    """A difference that the night found."""
    if old is None:
        return _settled(new, at, [Event(new.identity, at, NIGHT, "opened", new.last_night)], settle)
    # A night that is closed after a later one says nothing of how things stand since.
    if old.last_night > new.last_night:
        return old, []
    row = replace(
        old, refs=new.refs, severity=new.severity, points=new.points, due=new.due, last_night=new.last_night
    )
    if row.holds and DECISIONS[row.decision].settles:
        if row.state == "closed":
            return row, []
        steps = [Event(row.identity, at, NIGHT, step, row.last_night) for step in ("verified", "closed")]
        return replace(row, state="closed"), steps
    if row.is_open and (row.holds or not row.decision):
        return row, []
    # Closed before and here again, or decided on other revisions than these: somebody has to look anew.
    row = replace(row, state="assigned" if row.assigned and row.is_open else "opened", decision="", reason="", basis=())
    return _settled(row, at, [Event(row.identity, at, NIGHT, "reopened", row.last_night)], settle)


def _settled(
    row: Difference, at: str, events: list[Event], settle: Mapping[str, tuple[str, str]]
) -> tuple[Difference, list[Event]]:
    """What the agreement itself decides of a difference just opened."""
    if row.type not in settle:
        return row, events
    decision, reason = settle[row.type]
    row = replace(row, state="decided", decision=decision, reason=reason, basis=row.refs)
    return row, [*events, Event(row.identity, at, AGREEMENT, "decided", decision, reason)]


def _gone(row: Difference, night: str, at: str) -> tuple[Difference, list[Event]]:
    """A difference that the night looked for and did not find."""
    if row.last_night > night:
        return row, []
    if not row.is_open:
        # What has no revision cannot show that it changed: a decision on it holds only as long as it is there.
        return replace(row, basis=()) if any(not ref.rev for ref in row.basis) else row, []
    steps = ("verified", "closed") if row.state == "decided" else ("closed",)
    row = replace(row, state="closed", last_night=night)
    return row, [Event(row.identity, at, NIGHT, step, night) for step in steps]


# --- what people do ---


def see(row: Difference, who: str, at: str) -> tuple[Difference, list[Event]]:
    """Somebody looked at it; only the first look is a step."""
    if row.state != "opened":
        return row, []
    return replace(row, state="seen"), [Event(row.identity, at, who, "seen")]


def assign(row: Difference, to: str, who: str, at: str) -> tuple[Difference, list[Event]]:
    """Hand it to somebody; HubError where it is decided or closed."""
    if row.state not in ("opened", "seen", "assigned"):
        raise HubError(f"is {row.state} already", where=f"difference {row.identity}", mend="assign what is still undecided")
    return replace(row, state="assigned", assigned=to), [Event(row.identity, at, who, "assigned", to)]


def decide(row: Difference, decision: str, reason: str, who: str, at: str) -> tuple[Difference, list[Event]]:
    """Decide it, or decide it anew; HubError where decision and reason do not fit it, or it is closed for good."""
    where = f"difference {row.identity}"
    if decision not in DECISIONS:
        raise HubError(f"{decision!a} is no decision", where=where, mend=f"one of {', '.join(DECISIONS)}")
    if len(row.refs) < DECISIONS[decision].sides:
        fitting = ", ".join(name for name, each in DECISIONS.items() if each.sides <= len(row.refs))
        raise HubError(f"{decision} is for two sides, and this has one", where=where, mend=f"one of {fitting}")
    if not row.is_open and not row.holds:
        raise HubError("is closed: no night finds it any more", where=where, mend="nothing to do")
    row = replace(row, state="decided", decision=decision, reason=reason, basis=row.refs)
    return row, [Event(row.identity, at, who, "decided", decision, reason)]


def apart(rows: Iterable[Difference]) -> set[frozenset[Ref]]:
    """The pairs that a person judged not to be the same, each as the two revisions that were looked at."""
    return {frozenset(row.basis) for row in rows if row.decision == "not_same" and row.basis}
