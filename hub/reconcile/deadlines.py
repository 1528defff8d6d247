"""Deadlines: which terms run for a record, when they end, and how that stands.

Rule 1. The rules are data (config/deadlines.yaml) and look at open fields alone.
Rule 2. Days are local dates: the day of the start is not counted, a term of days ends with the last second of its last day.
Hours run by the clock. Working days leave out rest days and holidays and count the Saturdays and Sundays worked instead.
Rule 3. A year whose holidays are not known counts Monday to Friday, and whoever used it is told so (`assumed`).
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
from hub.kinds.vocabulary import Condition
from hub.reconcile.types import TYPES
from hub.reconcile.worklist import Point

HOW = ("in", "present", "prefix", "not_prefix")
POINT = "deadline"
STATES = ("passed", "near", "running", "late", "met")
_END = time(23, 59, 59)


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

    def longest(self) -> timedelta:
        """At most how long it lasts: no run of rest days is longer than what is allowed for here."""
        return timedelta(days=2 * self.number + 14) if self.working else self.span()


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


def due(start: datetime, term: Term, calendar: Calendar) -> Due:
    """When a term ends that begins at a time of its own zone."""
    if not term.working:
        end = start + term.span()
        return Due(_evening(end) if term.unit == "days" else end, False)
    day, left = start.date(), term.number
    assumed = False
    while left:
        day += timedelta(days=1)
        left -= calendar.works(day)
        assumed = assumed or not calendar.knows(day.year)
    return Due(datetime.combine(day, _END, start.tzinfo), assumed)


def _evening(moment: datetime) -> datetime:
    return datetime.combine(moment.date(), _END, moment.tzinfo)


def working_days(today: date, until: date, works: Callable[[date], bool]) -> int:
    """How many days are worked after today up to and on a day; below zero how many have been since it."""
    low, high, sign = (today, until, 1) if until >= today else (until, today, -1)
    return sign * sum(works(low + timedelta(days=n)) for n in range(1, (high - low).days + 1))


# --- rules ---


@dataclass(frozen=True)
class Rule:
    """One term: what it runs from and to; a rule without `kind` only names a term and is not watched."""

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

    @property
    def watched(self) -> bool:
        return bool(self.kind)

    def runs(self, open_: Mapping[str, Any]) -> bool:
        """Whether the rule applies to a record with these open fields."""
        return self.starts in open_ and all(_meets(each, open_) for each in self.when)

    def judge(
        self, open_: Mapping[str, Any], now: datetime, calendar: Calendar, zone: ZoneInfo, term: Term | None = None
    ) -> "Deadline | None":
        """How a record stands with this rule; None where it does not run. `term` replaces the rule's own."""
        if not self.watched or not self.runs(open_):
            return None
        start = moment(open_[self.starts], zone)
        end = due(start, term or self.term, calendar)
        extended = self.extended_by in open_
        if extended:
            end = Due(max(end.at, moment(open_[self.extended_by], zone, _END)), end.assumed)
        ended = [moment(open_[name], zone) for name in self.ends if name in open_ and _is_time(open_[name])]
        if any(name in open_ for name in self.ends):
            state = "late" if ended and min(ended) > end.at else "met"
        elif now > end.at:
            state = "passed"
        else:
            near = due(now, self.near, calendar).at >= end.at if self.near else False
            state = "near" if near else "running"
        return Deadline(self, end.at, state, end.assumed, extended)


class Deadline(NamedTuple):
    """A rule as it stands for one record: state is running, near, passed, met, or late (met after its end)."""

    rule: Rule
    at: datetime
    state: str
    assumed: bool
    extended: bool

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


def _meets(condition: Condition, open_: Mapping[str, Any]) -> bool:
    if condition.how == "present":
        return (condition.name in open_) is bool(condition.values[0])
    return condition.name in open_ and bool(condition.test()(open_[condition.name]))


class DueRow(NamedTuple):
    """A line of an agency's due list."""

    agency: str
    origin: str
    kind: str
    id: str
    deadline: Deadline
    rev: int = 0


def due_list(rows: Iterable[DueRow], states: Sequence[str] = ("passed", "near")) -> dict[str, list[DueRow]]:
    """What each agency has to do, soonest first; agencies in the order of their names."""
    lists: dict[str, list[DueRow]] = {}
    for row in sorted(rows, key=lambda row: (row.agency, row.deadline.at, row.origin, row.id)):
        if row.deadline.state in states:
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
    agency = _line(load_default="")
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


def deadlines_of(doc: Doc, open_fields: Mapping[str, Mapping[str, str]] | None) -> Deadlines:
    """The rules that deadlines.yaml declares; DeclarationError with every problem at once.

    `open_fields` are each kind's open fields with their types (None: unchecked).
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


def _rule(
    doc: Doc, name: str, read: Mapping[str, Any], open_fields: Mapping[str, Mapping[str, str]] | None, problems: list[str]
) -> Rule:
    at = ("rules", name)

    def say(place: tuple[str | int, ...], what: str, mend: str) -> None:
        problems.append(doc.problem((*at, *place), what, mend))

    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        say((), "not the name of a rule", "small letters, digits and _")
    together = [key for key in ("kind", "starts", "ends") if key in read]
    if together and len(together) < 3:
        say((), f"{together[0]} goes with kind, starts and ends", "give all three, or none where no record shows it")
    if read["difference"] not in TYPES:
        say(("difference",), "not a type of difference", did_you_mean(read["difference"], TYPES))
    conditions = []
    for field_, word in read["when"].items():
        if len(word) != 1 or next(iter(word)) not in HOW:
            say(("when", field_), f"expected one of {', '.join(HOW)}", "such as {in: [\"01\"]}")
            continue
        [(how, value)] = word.items()
        if (how == "present") != isinstance(value, bool) or (how != "present" and not isinstance(value, list)):
            say(("when", field_, how), "expected a list, and true or false for present", "mend it")
            continue
        conditions.append(Condition(field_, how, (value,) if how == "present" else tuple(value)))
    if "kind" in read and open_fields is not None:
        if read["kind"] not in open_fields:
            say(("kind",), "no such kind", did_you_mean(read["kind"], open_fields))
        else:
            _check_fields(read, open_fields[read["kind"]], say)
    return Rule(
        name, read["label"], read["law"], read["article"], read["term"], read.get("near"), read.get("kind", ""),
        read.get("starts", ""), tuple(read.get("ends", ())), tuple(conditions), read["extended_by"], read["agency"],
        read["difference"],
    )  # fmt: skip


def _check_fields(
    read: Mapping[str, Any], known: Mapping[str, str], say: Callable[[tuple[str | int, ...], str, str], None]
) -> None:
    named: list[tuple[tuple[str | int, ...], str]] = [(("starts",), read.get("starts", ""))]
    named += [(("extended_by",), read["extended_by"]), (("agency",), read["agency"])]
    named += [(("ends", n), name) for n, name in enumerate(read.get("ends", ()))]
    named += [(("when", name), name) for name in read["when"]]
    for place, name in named:
        if name and name not in known:
            say(place, f"no open field of {read['kind']}", did_you_mean(name, known))
    for key in ("starts", "extended_by"):
        name = read.get(key, "")
        if name in known and known[name] not in ("date", "datetime"):
            say((key,), "is no date", "name a field that holds a date or a time")


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
        f"calendar · {year} 年节假日安排未知,按周一至周五推定"
        for year in (today.year, today.year + 1)
        if not deadlines.calendar.knows(year)
    ]
