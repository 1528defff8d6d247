"""How long records of a kind are kept: spans of a law or rule, counted from a date of the record, after which parts of it go.

Rule 1. Nothing ends that is not declared, and nothing whose first day is not known: a record without the date is kept.
Rule 2. Days are local dates. A span of months or years ends on the same day of its last month, or on that month's last day;
that day is still kept. Rule 3. A retracted record has no fields any more: its spans run from its retraction.
"""

import re
from calendar import monthrange
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from hub.kinds.vocabulary import Condition

ALL = "*"
LAST_REVISION = "last revision"
REASON = "retention"
_span = re.compile(r"([1-9][0-9]{0,4}) (day|month|year)s?").fullmatch
_MOST_YEARS = 200


class Span(NamedTuple):
    """A length of time that records are kept: `unit` is day, month or year."""

    number: int
    unit: str

    def __str__(self) -> str:
        return f"{self.number} {self.unit}" + ("s" if self.number > 1 else "")

    def last(self, day: date) -> date:
        """The last day of the span that begins on a day; the last day there is where it ends beyond."""
        with suppress(ValueError, OverflowError):
            if self.unit == "day":
                return day + timedelta(days=self.number)
            months = day.year * 12 + day.month - 1 + self.number * (12 if self.unit == "year" else 1)
            year, month = divmod(months, 12)
            return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
        return date.max


def parse_span(text: str) -> Span:
    """The span of a text such as "30 days", "6 months" or "5 years"; ValueError otherwise, or beyond 200 years."""
    found = _span(text)
    span = Span(int(found[1]), found[2]) if found else None
    if span is None or span.last(date(2000, 1, 1)) > date(2000 + _MOST_YEARS, 1, 1):
        raise ValueError("not a span")
    return span


@dataclass(frozen=True, slots=True)
class Retention:
    """One rule of a kind: `groups` go, or the whole record where it names none, once `after` has passed since `start`.

    `start` is an open field, or LAST_REVISION; `when` are conditions on open fields; `reason` is a code of erasure/1.
    """

    after: Span
    start: str
    law: str
    article: str
    groups: tuple[str, ...] = ()
    when: tuple[Condition, ...] = ()
    reason: str = REASON

    def __str__(self) -> str:
        when = f" where {' and '.join(map(str, self.when))}" if self.when else ""
        what = ", ".join(self.groups) or "the whole record"
        return f"{what} erased {self.after} after {self.start}{when} ({self.law}{self.article})"

    def last(self, fields: Mapping[str, Any], at: datetime, zone: ZoneInfo, *, retracted: bool) -> date | None:
        """The last day on which a record is kept, None where nothing ends it; `at` is the time of its last revision."""
        if retracted or self.start == LAST_REVISION:
            first: date | None = at.astimezone(zone).date()
        else:
            first = _day(fields.get(self.start), zone)
        if first is None or not (retracted or all(each.meets(fields) for each in self.when)):
            return None
        return self.after.last(first)


def _day(value: str | None, zone: ZoneInfo) -> date | None:
    """The local date of a date or a time as records write them."""
    if value is None or len(value) == 10:
        return date.fromisoformat(value) if value else None
    return datetime.fromisoformat(value).astimezone(zone).date()
