"""Deadlines: which terms run for a record, when they end, and how that stands.

Rule 1. The rules are data (config/deadlines.yaml) and look at open fields alone.
Rule 2. Days are local dates: the day of the start is not counted, a term of days ends with the last second of its last day.
Hours run by the clock. Working days leave out rest days and holidays and count the Saturdays and Sundays worked instead.
Rule 3. A year whose holidays are not known counts Monday to Friday, and whoever used it is told so (`assumed`).
Rule 4. A term of days ends on its last day though that is a holiday, because 行政处罚法 says nothing else; where another law
has it end on the next working day (as 民事诉讼法 does), the rule `rolls`.
Rule 5. What is agreed may end a term of law sooner and never later; a term that is the agreement's own to set says so.
Source: 行政处罚法 art. 85 (terms of 2, 3, 5 and 7 days are working days); holidays by the yearly notice of the State Council
(国务院办公厅关于部分节假日安排的通知), as PyPI `chinesecalendar` holds them, or the operator's own table.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import chinese_calendar
from marshmallow import Schema, fields, validate

from adapters.declared import DeclarationError, Doc, Read, check, did_you_mean
from hub.kinds.declare import Conditions
from hub.kinds.vocabulary import Condition, Field
from hub.reconcile.types import TYPES
from hub.reconcile.worklist import Point, Ref

POINT = "deadline"
AGREED = ("stricter", "allowed")
STATES = ("passed", "near", "running", "late", "met")
_END = time(23, 59, 59)
_NOTHING = "0.00"


class Term(NamedTuple):
    """A length of time as people agree on it: `unit` is minutes, hours, days or working days."""

    number: int
    unit: str

    def __str__(self) -> str:
        return f"{self.number} {self.unit[:-1] if self.number == 1 else self.unit}"

    @property
    def working(self) -> bool:
        return self.unit == "working days"

    def span(self) -> timedelta:
        """The term as a time span; ValueError for working days, which take a calendar."""
        if self.working:
            raise ValueError("working days need a calendar")
        return timedelta(**{self.unit: self.number})


_term = re.compile(r"([1-9][0-9]{0,4}) (minute|hour|day|working day)s?").fullmatch


def parse_term(text: str) -> Term:
    """The term of a text such as "30 minutes", "24 hours" or "5 working days"; ValueError otherwise."""
    match = _term(text)
    if not match:
        raise ValueError("not a term")
    return Term(int(match[1]), match[2] + "s")


# --- the calendar ---


class Year(NamedTuple):
    """An operator's table of one year: days off beyond weekends, and weekend days that are worked."""

    holidays: frozenset[date]
    workdays: frozenset[date]


@dataclass(frozen=True)
class Calendar:
    """Which days are worked; `tables` go before what is published."""

    tables: Mapping[int, Year] = field(default_factory=dict)

    def knows(self, year: int) -> bool:
        """Whether the year's holidays are known."""
        if year in self.tables:
            return True
        try:
            chinese_calendar.is_workday(date(year, 1, 1))
        except NotImplementedError:
            return False
        return True

    def works(self, day: date) -> bool:
        """Whether a day is worked; of an unknown year Monday to Friday are."""
        table = self.tables.get(day.year)
        if table is not None:
            return day in table.workdays or (day.weekday() < 5 and day not in table.holidays)
        try:
            return bool(chinese_calendar.is_workday(day))
        except NotImplementedError:
            return day.weekday() < 5


class Due(NamedTuple):
    """The end of a term; `assumed` where a year was walked through whose holidays are not known."""

    at: datetime
    assumed: bool


def due(start: datetime, term: Term, calendar: Calendar, rolls: bool = False) -> Due:
    """When a term ends that begins at a time of its own zone; one of days that `rolls` ends on a day that is worked."""
    if term.unit not in ("days", "working days"):
        return Due(start + term.span(), False)
    day, left, assumed = start.date(), term.number, False
    if term.unit == "days":
        day += timedelta(days=term.number)
        # One more working day after the day before the end is the end itself where that is worked.
        day, left = (day - timedelta(days=1), 1) if rolls else (day, 0)
    while left:
        day += timedelta(days=1)
        left -= calendar.works(day)
        assumed = assumed or not calendar.knows(day.year)
    return Due(datetime.combine(day, _END, start.tzinfo), assumed)


def working_days(today: date, until: date, works: Callable[[date], bool]) -> int:
    """How many days are worked after today up to and on a day; below zero how many have been since it."""
    low, high, sign = (today, until, 1) if until >= today else (until, today, -1)
    return sign * sum(works(low + timedelta(days=n)) for n in range(1, (high - low).days + 1))


# --- rules ---


@dataclass(frozen=True)
class Rule:
    """One term: what it runs from and to; a rule without `kind` only names a term and is not watched.

    `agency` and `region` name the fields of who has to act and where, `reason` the field without which `extended_by` does
    not count. `agreed` is stricter (agreements may only shorten it) or allowed (they set it).
    """

    name: str
    label: Mapping[str, str]
    law: str
    article: str
    term: Term
    near: Term | None = None
    kind: str = ""
    starts: str = ""
    ends: tuple[str, ...] = ()
    when: tuple[Condition, ...] = ()
    extended_by: str = ""
    agency: str = ""
    difference: str = "deadline_passed"
    region: str = ""
    reason: str = ""
    agreed: str = "stricter"
    rolls: bool = False

    @property
    def watched(self) -> bool:
        return bool(self.kind)

    def runs(self, open_: Mapping[str, Any]) -> bool:
        """Whether the rule applies to a record with these open fields."""
        return self.starts in open_ and all(each.meets(open_) for each in self.when)

    def end(self, start: datetime, agreed: Sequence[Term], calendar: Calendar) -> Due:
        """When it ends under what is agreed: the soonest of all terms that count."""
        terms = agreed if agreed and self.agreed == "allowed" else (self.term, *agreed)
        return min(due(start, term, calendar, self.rolls) for term in terms)

    def outlasted(self, term: Term, calendar: Calendar, first: date) -> bool:
        """Whether a term ends later than this law's from some day of the year that begins on `first`."""
        days = (datetime.combine(first + timedelta(days=n), time()) for n in range(366))
        return self.agreed == "stricter" and term != self.term and any(
            due(day, term, calendar, self.rolls).at > due(day, self.term, calendar, self.rolls).at for day in days
        )

    def judge(
        self, open_: Mapping[str, Any], now: datetime, calendar: Calendar, zone: ZoneInfo, agreed: Sequence[Term] = ()
    ) -> "Deadline | None":
        """How a record stands with this rule; None where it does not run. `agreed` are the terms of its agreements."""
        if not self.watched or not self.runs(open_):
            return None
        end = self.end(moment(open_[self.starts], zone), agreed, calendar)
        asked = self.extended_by in open_
        extended = asked and (not self.reason or self.reason in open_)
        if extended:
            end = max(end, Due(moment(open_[self.extended_by], zone, _END), False))
        # An amount of nothing paid ends nothing.
        ended = [open_[name] for name in self.ends if open_.get(name, _NOTHING) != _NOTHING]
        times = [moment(each, zone) for each in ended if _is_time(each)]
        if ended:
            state = "late" if times and min(times) > end.at else "met"
        elif now > end.at:
            state = "passed"
        else:
            near = due(now, self.near, calendar).at >= end.at if self.near else False
            state = "near" if near else "running"
        return Deadline(self, end.at, state, end.assumed, extended, asked and not extended)


class Deadline(NamedTuple):
    """A rule as it stands for one record: state is running, near, passed, met, or late (met after its end).

    `unreasoned` where an extension does not count because no reason is given for it.
    """

    rule: Rule
    at: datetime
    state: str
    assumed: bool
    extended: bool
    unreasoned: bool = False

    @property
    def day(self) -> str:
        return self.at.date().isoformat()


def _is_time(value: Any) -> bool:
    return isinstance(value, str) and value[4:5] == "-"


def moment(text: str, zone: ZoneInfo, clock: time = time()) -> datetime:
    """A date or time of a record as a time in the zone; a date alone is taken at `clock`."""
    if len(text) > 10:
        return datetime.fromisoformat(text).astimezone(zone)
    return datetime.combine(date.fromisoformat(text), clock, zone)


class DueRow(NamedTuple):
    """A line of an agency's due list: who has to act (`code` where one is known) and where, and on which records."""

    agency: str
    code: str
    region: str
    refs: tuple[Ref, ...]
    deadline: Deadline


def due_list(
    rows: Iterable[DueRow], states: Sequence[str] = ("passed", "near"), agency: str | None = None
) -> dict[str, list[DueRow]]:
    """What each agency has to do, soonest first; agencies in the order of their names. `agency` is a name or a code.

    A code stands for every name it is seen with, because letters name their authorities only.
    """
    rows = sorted(rows, key=lambda row: (row.agency, row.deadline.at, row.refs, row.deadline.rule.name))
    names = {row.agency for row in rows if agency in (None, row.agency, row.code or None)}
    lists: dict[str, list[DueRow]] = {}
    for row in rows:
        if row.deadline.state in states and row.agency in names:
            lists.setdefault(row.agency, []).append(row)
    return lists


# --- the shape of deadlines.yaml ---


def _term_field(**options: Any) -> fields.Field[Any]:
    return Read(parse_term, 'a term like "10 days", "5 working days" or "24 hours"', **options)


def _line(**options: Any) -> fields.String:
    return fields.String(validate=validate.Length(1, 200), **options)


class _Both(Schema):
    zh = _line(required=True)
    en = _line(required=True)


class _RuleYaml(Schema):
    label = fields.Nested(_Both, required=True)
    law = _line(required=True)
    article = _line(required=True)
    term = _term_field(required=True)
    near = _term_field()
    kind = _line()
    starts = _line()
    ends = fields.List(_line(), validate=validate.Length(1))
    when = fields.Dict(keys=fields.String(), values=fields.Dict(keys=fields.String()), load_default=dict)
    extended_by = _line(load_default="")
    reason = _line(load_default="")
    agency = _line(load_default="")
    region = _line(load_default="")
    agreed = fields.String(load_default="stricter", validate=validate.OneOf(AGREED))
    rolls = fields.Boolean(load_default=False, truthy={True}, falsy={False})
    difference = fields.String(load_default="deadline_passed")


class _YearYaml(Schema):
    holidays = fields.List(Read(date.fromisoformat, "a date like 2027-01-01"), load_default=list)
    workdays = fields.List(Read(date.fromisoformat, "a date like 2027-01-01"), load_default=list)


class _FileYaml(Schema):
    rules = fields.Dict(keys=fields.String(), values=fields.Nested(_RuleYaml), required=True)
    calendar = fields.Dict(keys=fields.String(), values=fields.Nested(_YearYaml), load_default=dict)


class Deadlines(NamedTuple):
    """The rules by name, and the calendar."""

    rules: Mapping[str, Rule]
    calendar: Calendar

    def of(self, kind: str) -> list[Rule]:
        """The rules that watch records of a kind."""
        return [rule for rule in self.rules.values() if rule.kind == kind]


OpenFields = Mapping[str, Mapping[str, Field]]


def deadlines_of(doc: Doc, open_fields: OpenFields | None) -> Deadlines:
    """The rules that deadlines.yaml declares; DeclarationError with every problem at once.

    `open_fields` are each kind's open fields; None where the kinds could not be read: then `when` is left out.
    """
    read = check(doc, _FileYaml())
    problems: list[str] = []
    rules = {name: _rule(doc, name, each, open_fields, problems) for name, each in read["rules"].items()}
    tables = {}
    for name, each in read["calendar"].items():
        at = ("calendar", name)
        if not re.fullmatch(r"20[0-9]{2}", name):
            problems.append(doc.problem(at, "not a year", 'write it in quotes, such as "2027"'))
            continue
        strange = [day for days in each.values() for day in days if day.year != int(name)]
        problems += [doc.problem(at, f"{day} is a day of another year", "move it") for day in strange]
        for day in each["workdays"]:
            if day.weekday() < 5:
                problems.append(doc.problem((*at, "workdays"), f"{day} is no Saturday or Sunday", "leave it out"))
        tables[int(name)] = Year(frozenset(each["holidays"]), frozenset(each["workdays"]))
    if problems:
        raise DeclarationError(problems)
    return Deadlines(rules, Calendar(tables))


_Say = Callable[[tuple[str | int, ...], str, str], None]
_TIMES = ("date", "datetime")
# The keys that name one field, and of which types it may be.
_NAMING: Mapping[str, tuple[str, ...]] = {
    "starts": _TIMES, "extended_by": _TIMES, "reason": (), "agency": ("agency", "uscc"), "region": ("region",),
}  # fmt: skip


def _rule(doc: Doc, name: str, read: Mapping[str, Any], open_fields: OpenFields | None, problems: list[str]) -> Rule:
    at = ("rules", name)

    def say(place: tuple[str | int, ...], what: str, mend: str) -> None:
        problems.append(doc.problem((*at, *place), what, mend))

    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        say((), "not the name of a rule", "small letters, digits and _")
    together = [key for key in ("kind", "starts", "ends") if key in read]
    if together and len(together) < 3:
        say((), f"{together[0]} goes with kind, starts and ends", "give all three, or none where no record shows it")
    if read["reason"] and not read["extended_by"]:
        say(("reason",), "goes with extended_by", "name the field that sets the other end, or leave it out")
    if read["rolls"] and read["term"].unit != "days":
        say(("rolls",), "is for a term of days", "working days never end on a holiday, hours run by the clock")
    if read["difference"] not in TYPES:
        say(("difference",), "not a type of difference", did_you_mean(read["difference"], TYPES))
    when: list[Condition] = []
    if "kind" in read and open_fields is not None:
        if read["kind"] not in open_fields:
            say(("kind",), "no such kind", did_you_mean(read["kind"], open_fields))
        else:
            known = open_fields[read["kind"]]
            _check_fields(read, known, say)
            conditions = Conditions(doc, known)
            found = [conditions.condition((*at, "when", each), each, how) for each, how in read["when"].items()]
            when = [each for each in found if each is not None]
            problems += [text for _, text in conditions.wrong]
    return Rule(
        name, read["label"], read["law"], read["article"], read["term"], read.get("near"), read.get("kind", ""),
        read.get("starts", ""), tuple(read.get("ends", ())), tuple(when), read["extended_by"], read["agency"],
        read["difference"], read["region"], read["reason"], read["agreed"], read["rolls"],
    )  # fmt: skip


def _check_fields(read: Mapping[str, Any], known: Mapping[str, Field], say: _Say) -> None:
    named: list[tuple[tuple[str | int, ...], str, tuple[str, ...]]]
    named = [((key,), read.get(key, ""), types) for key, types in _NAMING.items()]
    named += [(("ends", n), name, ()) for n, name in enumerate(read.get("ends", ()))]
    for place, name, types in named:
        if name and name not in known:
            say(place, f"no open field of {read['kind']}", did_you_mean(name, known))
        elif name and types and known[name].type not in types:
            say(place, f"{name} is of type {known[name].type}", f"name a field of type {' or '.join(types)}")


def rule_named(points: Iterable[Point]) -> str:
    """The name of the rule that a difference's points speak of; empty where they speak of none."""
    return next((point.verdict for point in points if point.field == POINT), "")


def told_by_rule(told: Mapping[str, Mapping[str, str]], rule: Rule | None) -> dict[str, Mapping[str, str]]:
    """What is told of a difference, where it is of a rule with the rule's own words: what is due, by which article."""
    if rule is None:
        return dict(told)
    label = {lang: f"{told['label'][lang]}: {rule.label[lang]}" for lang in ("zh", "en")}
    return dict(told) | {"label": label, "clause": dict.fromkeys(("zh", "en"), rule.law + rule.article)}


def notes(deadlines: Deadlines, today: date) -> list[str]:
    """What is worth knowing: years whose holidays are not known."""
    return [
        f"deadlines.yaml: the holidays of {year} are not known: working days count Monday to Friday; add them below "
        f"calendar · {year} 年节假日安排未知，按周一至周五推定"
        for year in (today.year, today.year + 1)
        if not deadlines.calendar.knows(year)
    ]
