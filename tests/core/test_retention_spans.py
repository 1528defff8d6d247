"""Spans of retention: the day on which one ends, by the field it runs from, and what never ends."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.kinds.retention import LAST_REVISION, Retention, Span, parse_span
from hub.kinds.vocabulary import Condition

ZONE = ZoneInfo("Asia/Shanghai")
AT = datetime.fromisoformat("2026-11-22T23:30:00+08:00")


@pytest.mark.parametrize(
    ("text", "begins", "ends"),
    [
        ("30 days", "2026-10-23", "2026-11-22"),
        ("1 day", "2026-12-31", "2027-01-01"),
        ("1 month", "2026-01-31", "2026-02-28"),
        ("6 months", "2026-08-31", "2027-02-28"),
        ("12 months", "2023-12-31", "2024-12-31"),
        ("1 year", "2024-02-29", "2025-02-28"),
        ("4 years", "2024-02-29", "2028-02-29"),
        ("10 years", "2026-11-22", "2036-11-22"),
        ("30 years", "9980-01-01", "9999-12-31"),
    ],
)
def test_a_span_ends_on_the_same_day_or_the_months_last(text: str, begins: str, ends: str) -> None:
    assert parse_span(text).last(date.fromisoformat(begins)) == date.fromisoformat(ends)
    assert str(parse_span(text)) == text


@pytest.mark.parametrize(
    "text", ["", "0 days", "5", "5 weeks", "five years", "-1 year", "201 years", "99999 days", "1.5 years", "５ years"]
)
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a span"):
        parse_span(text)


@given(st.dates(date(1990, 1, 1), date(2100, 1, 1)), st.dates(date(1990, 1, 1), date(2100, 1, 1)),
       st.builds(Span, st.integers(1, 99), st.sampled_from(["day", "month", "year"])))  # fmt: skip
def test_what_begins_later_never_ends_sooner(one: date, other: date, span: Span) -> None:
    first, second = sorted((one, other))
    assert first < span.last(first) <= span.last(second)


def rule(start: str = "closed_on", *when: Condition) -> Retention:
    return Retention(Span(30, "day"), start, "某规定", "第一条", when=when)


def last(found: Retention, *, retracted: bool = False, **fields: str) -> date | None:
    return found.last(fields, AT, ZONE, retracted=retracted)


def test_a_span_runs_from_a_date_a_time_or_the_last_revision() -> None:
    assert last(rule(), closed_on="2026-11-01") == date(2026, 12, 1)
    # 23:30 in UTC is the next day here.
    assert last(rule("seen_at"), seen_at="2026-11-01T23:30:00+00:00") == date(2026, 12, 2)
    assert last(rule(LAST_REVISION)) == date(2026, 12, 22)


def test_without_its_first_day_nothing_ends() -> None:
    assert last(rule()) is None and last(rule(), filed_on="1990-01-01") is None


def test_conditions_hold_a_record_back_until_it_is_retracted() -> None:
    settled = rule("closed_on", Condition("litigation", "in", ("0",)))
    assert last(settled, closed_on="2026-11-01", litigation="1") is None and last(settled, closed_on="2026-11-01") is None
    assert last(settled, closed_on="2026-11-01", litigation="0") == date(2026, 12, 1)
    assert last(settled, retracted=True) == date(2026, 12, 22)
