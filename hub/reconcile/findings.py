"""What a night can tell by looking across jurisdictions: each detector takes records as they may be compared.

Rule 1. A detector sees only `Seen.fields`: open fields, and those of the groups that the members it compares give each
other. Who may be compared with whom is the caller's to say.
Rule 2. It gives findings by reference, with points that name fields and verdicts, counts and dates of open fields.
Money is yuan in decimal texts, times ISO texts; records without what a detector needs are passed over.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from statistics import median
from typing import Any, NamedTuple

from hub.reconcile.worklist import Point, Ref

MARK = "_mark"
"""What stands behind the name of a field that is compared as a keyed mark alone."""
NAMED = 20
MOST_SPREAD = 0.25
_JOINT = "6"
_ENDED = ("91", "92", "93", "94")


class Seen(NamedTuple):
    """A standing record as it may be compared; `party` is a keyed mark of whom it concerns, empty where unknown."""

    ref: Ref
    fields: Mapping[str, Any]
    party: str = ""


class Found(NamedTuple):
    """A finding before its severity is known."""

    type: str
    refs: tuple[Ref, ...]
    points: tuple[Point, ...] = ()
    due: str = ""
    key: str = ""


# --- inspections ---


def repeated_inspections(seen: Iterable[Seen], window: timedelta, until: date) -> Iterator[Found]:
    """Parties that several authorities inspected within the window before a date, each in a visit of its own.

    Visits under one joint task, and visits for several authorities at once, are what is wished for and do not count.
    """
    by_party: dict[str, list[Seen]] = defaultdict(list)
    since = until - window
    for each in seen:
        day = str(each.fields.get("checked_at", ""))[:10]
        if each.party and since.isoformat() < day <= until.isoformat() and each.fields.get("check_type") != _JOINT:
            by_party[each.party].append(each)
    for party, visits in sorted(by_party.items()):
        tasks: set[Any] = set()
        own = []
        for each in sorted(visits, key=lambda visit: (str(visit.fields["checked_at"]), visit.ref)):
            task = each.fields.get("joint_task_id")
            if task is None or task not in tasks:
                own.append(each)
            tasks.add(task)
        if len({(each.ref.origin, each.fields.get("agency_uscc")) for each in own}) > 1:
            points = (
                Point("visits", "repeated", number=str(len(own))),
                Point("checked_at", "first", number=str(own[0].fields["checked_at"])[:10]),
                Point("checked_at", "last", number=str(own[-1].fields["checked_at"])[:10]),
            )
            yield Found("repeated_inspection", tuple(each.ref for each in own[-NAMED:]), points, key=f"party {party}")


# --- penalties ---


def outliers(
    cases: Iterable[Seen], least: int, factor: int, crosswalk: Mapping[str, str] | None = None
) -> Iterator[Found]:
    """Fines that lie more than `factor` usual spreads from what the other members fine for the same item.

    The spread is the median distance from the median of logarithms (so that ten times more is as far as ten times less);
    `least` is how many cases of others it takes.
    """
    by_item: dict[str, list[tuple[Seen, float]]] = defaultdict(list)
    for each in cases:
        fine, item = _yuan(each.fields.get("fine_yuan")), each.fields.get("item_code")
        if fine > 0 and item:
            by_item[(crosswalk or {}).get(item, item)].append((each, math.log(fine)))
    for _, found in sorted(by_item.items()):
        for each, level in found:
            others = [other for seen, other in found if seen.ref.origin != each.ref.origin]
            if len(others) < least:
                continue
            middle = median(others)
            spread = max(1.4826 * median(abs(other - middle) for other in others), MOST_SPREAD)
            if abs(level - middle) > factor * spread:
                ratio = math.exp(level - middle)
                points = (
                    Point("fine_yuan", "higher" if ratio > 1 else "lower", number=f"{ratio:.2f}"),
                    Point("others", "median", number=f"{math.exp(middle):.2f}"),
                    Point("others", "cases", number=str(len(others))),
                )
                yield Found("penalty_outlier", (each.ref,), points)


def _yuan(text: Any) -> float:
    return float(text) if isinstance(text, str) and text else 0.0


def same_matter(kind: str, one: Seen, other: Seen, points: Sequence[Point], score: float, same: float) -> Found | None:
    """What it means that records of two jurisdictions match: perhaps the same, or the same and something to say of it."""
    if score < same:
        return Found("maybe_same", _pair(one, other), (*points, Point("score", "asked", score=score)))
    if kind == "case/1":
        return same_case(one, other, points)
    return disagreement("records_disagree", one, other, LINKED_FIELDS, points)


def same_case(one: Seen, other: Seen, points: Sequence[Point]) -> Found | None:
    """What it means that two jurisdictions have the same case: two fines (29), or two who claim it (25)."""
    refs = _pair(one, other)
    if one.ref > other.ref:
        one, other = other, one
    if all(_yuan(each.fields.get("fine_yuan")) > 0 and each.fields.get("decided_on") for each in (one, other)):
        return Found("double_penalty", refs, tuple(points))
    claims = [each for each in (one, other) if each.fields.get("filed_on") and each.fields.get("stage") not in _ENDED]
    if len(claims) == 2 and not all(each.fields.get("decided_on") for each in claims):
        first, second = (str(each.fields["filed_on"]) for each in (one, other))
        verdict = "a_first" if first < second else "b_first" if second < first else "same_day"
        return Found("competing_jurisdiction", refs, (*points, Point("filed_on", verdict, number=min(first, second))))
    return None


def _pair(one: Seen, other: Seen) -> tuple[Ref, Ref]:
    first, second = sorted((one.ref, other.ref))
    return first, second


# --- linked records ---


def disagreement(type: str, one: Seen, other: Seen, names: Iterable[str], points: Sequence[Point] = ()) -> Found | None:
    """Linked records that differ in a field which both have; None where they agree. Dates compare by day."""
    verdicts = []
    for name in names:
        left, right = (_day(each.fields.get(name)) for each in (one, other))
        if left is not None and right is not None:
            verdicts.append(Point(name, "equal" if left == right else "differs"))
    if all(point.verdict == "equal" for point in verdicts):
        return None
    named = {point.field for point in verdicts}
    kept = [point for point in points if point.field not in named]
    return Found(type, _pair(one, other), (*verdicts, *kept))


def _day(value: Any) -> Any:
    if isinstance(value, str) and len(value) > 10 and value[4:5] == "-" and value[10:11] == "T":
        return datetime.fromisoformat(value).date().isoformat()
    return value


LINKED_FIELDS = ("party_type", "party_id", "party_name", "checked_at", "result_code", "led_to_case")
"""What two records of the same inspection must have alike."""
LETTER_FIELDS = ("transfer_kind", "party_name", "party_id", "case_code", "filed_on", "from_region", "to_region", "sent_at")
"""What both sides of a letter must have alike: it is the sender's to say."""


class Letter(NamedTuple):
    """One letter: what its sides know of it together, and each side that is on the ledger."""

    fields: Mapping[str, Any]
    sides: tuple[Seen, ...]


def letters(seen: Iterable[Seen]) -> Iterator[Letter]:
    """Join the two sides of each letter by its number; what the addressee says of its own doing goes before."""
    by_number: dict[tuple[Any, ...], list[Seen]] = defaultdict(list)
    for each in seen:
        number = each.fields.get("letter_no")
        own = (each.ref.origin, each.ref.id) if number is None else ()
        by_number[(number, each.fields.get("from_region"), each.fields.get("to_region"), *own)].append(each)
    for _, sides in sorted(by_number.items(), key=lambda item: str(item[0])):
        sides.sort(key=lambda side: (not _sent(side), side.ref))
        joined: dict[str, Any] = {}
        for side in sides:
            joined |= side.fields
        yield Letter(joined, tuple(sides))


def _sent(side: Seen) -> bool:
    return str(side.fields.get("from_region", "")).startswith(side.ref.origin)


def letter_disagreement(letter: Letter) -> Found | None:
    """Whether the two sides of a letter differ in what the letter itself says."""
    if len(letter.sides) < 2:
        return None
    return disagreement("letter_disagrees", letter.sides[0], letter.sides[1], LETTER_FIELDS)
