"""Terms, working days and rules: by hand from the published holidays, against a naive walk, and as declared."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.declared import DeclarationError, read_yaml
from hub import framework as rules
from hub import settings as configuration
from hub.kinds.vocabulary import Condition, Field
from hub.reconcile import deadlines
from hub.reconcile.deadlines import Calendar, DueRow, Rule, Term, Year, deadlines_of, due, due_list, parse_term, working_days
from hub.reconcile.worklist import Ref

ROOT = Path(__file__).parents[2]
ZONE = ZoneInfo("Asia/Shanghai")
CALENDAR = Calendar()


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=ZONE)


def ends(start, number, unit, calendar=CALENDAR):
    return due(at(start), Term(number, unit), calendar)


# --- counting ---


@pytest.mark.parametrize(
    ("start", "number", "end"),
    [
        # 2025: National Day 1–8 October, worked on Sunday 28 September and Saturday 11 October.
        ("2025-09-26T10:00", 1, "2025-09-28"),
        ("2025-09-30T10:00", 1, "2025-10-09"),
        ("2025-09-30T23:59", 3, "2025-10-11"),
        ("2025-10-10T08:00", 1, "2025-10-11"),
        # 2026: Spring Festival 15–23 February, worked on Saturdays 14 and 28 February.
        ("2026-02-13T09:00", 1, "2026-02-14"),
        ("2026-02-14T09:00", 1, "2026-02-24"),
        ("2026-02-25T09:00", 3, "2026-02-28"),
        # An ordinary week: seven working days from a Thursday.
        ("2026-11-19T16:00", 7, "2026-11-30"),
    ],
)
def test_working_days_by_the_published_holidays(start, number, end):
    found = ends(start, number, "working days")
    assert (found.at.date().isoformat(), found.assumed) == (end, False)
    assert found.at.time().isoformat() == "23:59:59" and found.at.tzinfo is ZONE


def test_calendar_days_end_with_their_last_day_and_hours_by_the_clock():
    assert ends("2026-09-21T10:00", 10, "days").at.isoformat() == "2026-10-01T23:59:59+08:00"
    assert ends("2026-09-30T10:30", 24, "hours").at.isoformat() == "2026-10-01T10:30:00+08:00"
    assert ends("2026-01-31T00:00", 90, "days").at.date() == date(2026, 5, 1)


@pytest.mark.parametrize(
    ("start", "number", "stays", "rolls"),
    [
        # The fifteenth day is 3 October 2025, within National Day: the first day worked is the 9th.
        ("2025-09-18T10:00", 15, "2025-10-03", "2025-10-09"),
        # It is Saturday 14 February 2026, which is worked.
        ("2026-01-30T10:00", 15, "2026-02-14", "2026-02-14"),
        ("2026-11-06T10:00", 15, "2026-11-21", "2026-11-23"),
        ("2026-11-09T10:00", 15, "2026-11-24", "2026-11-24"),
    ],
)
def test_a_term_of_days_ends_on_a_holiday_unless_its_law_has_it_roll(start, number, stays, rolls):
    term = Term(number, "days")
    assert due(at(start), term, CALENDAR).at.date().isoformat() == stays
    rolled = due(at(start), term, CALENDAR, rolls=True)
    assert (rolled.at.date().isoformat(), rolled.assumed) == (rolls, False)
    assert due(at("2026-12-30T10:00"), term, CALENDAR, rolls=True).assumed


def test_a_year_without_a_table_counts_monday_to_friday_and_says_so():
    assert ends("2026-12-31T10:00", 1, "working days").assumed
    assert ends("2026-12-31T10:00", 1, "working days").at.date() == date(2027, 1, 1)
    assert not ends("2026-12-30T10:00", 1, "working days").assumed
    given_ = Calendar({2027: Year(frozenset({date(2027, 1, 1)}), frozenset({date(2027, 1, 2)}))})
    found = ends("2026-12-31T10:00", 1, "working days", given_)
    assert (found.at.date(), found.assumed) == (date(2027, 1, 2), False)


@given(
    st.dates(date(2024, 1, 1), date(2028, 6, 1)), st.integers(1, 40), st.sets(st.dates(date(2027, 1, 1), date(2027, 12, 31)))
)
def test_working_days_are_what_a_walk_day_by_day_gives(start, number, holidays):
    calendar = Calendar({2027: Year(frozenset(holidays), frozenset())})
    end = due(datetime.combine(start, datetime.min.time(), ZONE), Term(number, "working days"), calendar).at.date()
    days = [start + timedelta(days=n) for n in range(1, (end - start).days + 1)]
    assert sum(map(calendar.works, days)) == number and calendar.works(days[-1])
    assert working_days(start, end, calendar.works) == number and working_days(end, start, calendar.works) == -number


@given(st.dates(date(2024, 1, 1), date(2027, 1, 1)), st.integers(0, 30), st.integers(1, 30), st.integers(0, 9))
def test_later_starts_and_longer_terms_never_end_earlier(start, later, number, more):
    moments = [datetime.combine(day, datetime.min.time(), ZONE) for day in (start, start + timedelta(days=later))]
    for unit in ("working days", "days"):
        first, second = (due(each, Term(number, unit), CALENDAR).at for each in moments)
        assert first <= second and first <= due(moments[0], Term(number + more, unit), CALENDAR).at


# --- a rule on a record ---

SERVICE = Rule(
    "service", {}, "行政处罚法", "第六十一条", Term(7, "working days"), Term(2, "working days"), "case/1", "decided_on",
    ("served_on",), (Condition("stage", "in", ("09", "10")),), "extended_to",
)  # fmt: skip
DECIDED = {"stage": "09", "decided_on": "2026-11-19"}  # the seventh working day is Monday 30 November


@pytest.mark.parametrize(
    ("more", "now", "state"),
    [
        ({}, "2026-11-24T09:00", "running"),
        ({}, "2026-11-26T00:00", "near"),
        ({}, "2026-11-30T23:59", "near"),
        ({}, "2026-12-01T00:00", "passed"),
        ({"served_on": "2026-11-30"}, "2026-12-05T00:00", "met"),
        ({"served_on": "2026-12-01"}, "2026-12-05T00:00", "late"),
        ({"extended_to": "2026-12-04"}, "2026-12-04T23:00", "near"),
        ({"extended_to": "2026-12-04T12:00:00+08:00"}, "2026-12-04T23:00", "passed"),
        ({"extended_to": "2026-11-20"}, "2026-11-30T23:00", "near"),
    ],
)
def test_a_rule_says_how_a_record_stands(more, now, state):
    found = SERVICE.judge(DECIDED | more, at(now), CALENDAR, ZONE)
    assert found.state == state and found.extended == ("extended_to" in more)


def test_a_rule_runs_only_where_it_says():
    now = at("2026-12-05T00:00")
    assert SERVICE.judge({"stage": "12", "decided_on": "2026-11-19"}, now, CALENDAR, ZONE) is None
    assert SERVICE.judge({"stage": "09"}, now, CALENDAR, ZONE) is None
    assert SERVICE.judge({"decided_on": "2026-11-19"}, now, CALENDAR, ZONE) is None
    named = Rule("x", {}, "l", "a", Term(1, "days"))
    assert not named.watched and named.judge(DECIDED, now, CALENDAR, ZONE) is None


@pytest.mark.parametrize(
    ("agreed", "by_law", "by_agreement"),
    [
        ([], "2026-11-30", "2026-11-30"),
        (["3 working days"], "2026-11-24", "2026-11-24"),
        (["20 working days"], "2026-11-30", "2026-12-17"),
        # Ten days end before seven working days here and after them elsewhere: the day decides, not the number.
        (["10 days"], "2026-11-29", "2026-11-29"),
        (["12 days"], "2026-11-30", "2026-12-01"),
        (["20 working days", "20 days"], "2026-11-30", "2026-12-09"),
    ],
)
def test_what_is_agreed_may_end_a_term_of_law_sooner_and_never_later(agreed, by_law, by_agreement):
    terms = [parse_term(each) for each in agreed]
    for rule, day in ((SERVICE, by_law), (replace(SERVICE, agreed="allowed"), by_agreement)):
        assert rule.judge(DECIDED, at("2026-11-20T00:00"), CALENDAR, ZONE, terms).day == day


TERMS = st.builds(Term, st.integers(1, 40), st.sampled_from(["hours", "days", "working days"]))


@given(st.dates(date(2024, 1, 1), date(2026, 12, 31)), st.lists(TERMS, max_size=3), TERMS, st.booleans())
def test_no_agreement_puts_off_a_term_of_law(day, agreed, term, rolls):
    start, rule = datetime.combine(day, datetime.min.time(), ZONE), replace(SERVICE, term=term, rolls=rolls)
    law = rule.end(start, (), CALENDAR)
    assert rule.end(start, agreed, CALENDAR).at <= law.at
    free = replace(rule, agreed="allowed").end(start, agreed, CALENDAR)
    assert free.at == min((due(start, each, CALENDAR, rolls).at for each in agreed), default=law.at)
    if rolls and term.unit == "days":
        assert CALENDAR.works(law.at.date()) and law.at >= due(start, term, CALENDAR).at


def test_an_agreement_that_can_outlast_the_law_is_told():
    first = date(2026, 1, 1)
    outlasts = {text: SERVICE.outlasted(parse_term(text), CALENDAR, first) for text in
                ("6 working days", "7 working days", "8 working days", "8 days", "9 days", "24 hours")}  # fmt: skip
    # Seven working days take nine days from a Sunday on, and eight where a Saturday is worked: 5 to 13 May 2026.
    assert outlasts == {"6 working days": False, "7 working days": False, "8 working days": True, "8 days": False,
                        "9 days": True, "24 hours": False}  # fmt: skip
    assert not replace(SERVICE, agreed="allowed").outlasted(parse_term("90 days"), CALENDAR, first)


def test_an_extension_counts_with_its_reason():
    rule, now = replace(SERVICE, reason="why"), at("2026-12-03T00:00")
    told = {
        each: rule.judge(DECIDED | more, now, CALENDAR, ZONE)
        for each, more in {
            "none": {}, "silent": {"extended_to": "2026-12-18"}, "given": {"extended_to": "2026-12-18", "why": "1"},
            "only": {"why": "1"},
        }.items()
    }  # fmt: skip
    assert {each: (d.state, d.extended, d.unreasoned) for each, d in told.items()} == {
        "none": ("passed", False, False), "silent": ("passed", False, True), "given": ("running", True, False),
        "only": ("passed", False, False),
    }  # fmt: skip


def test_a_day_that_is_given_is_not_assumed():
    rule, start = replace(SERVICE, reason=""), {"stage": "09", "decided_on": "2026-12-30"}
    assert rule.judge(start, at("2027-01-02T00:00"), CALENDAR, ZONE).assumed
    assert not rule.judge(start | {"extended_to": "2027-03-01"}, at("2027-01-02T00:00"), CALENDAR, ZONE).assumed


def test_a_payment_of_nothing_is_no_payment():
    rule = Rule("payment", {}, "行政处罚法", "第六十七条", Term(15, "days"), None, "case/1", "served_on", ("paid_yuan",))
    served = {"served_on": "2026-11-01"}
    states = {
        paid: rule.judge(served | {"paid_yuan": paid}, at("2026-12-01T00:00"), CALENDAR, ZONE).state
        for paid in ("0.00", "0.01", "2000.00")
    }
    assert states == {"0.00": "passed", "0.01": "met", "2000.00": "met"}


def test_a_rule_between_provinces_is_told_by_its_regions():
    across = (Condition("from_region", "prefix", ("33",)), Condition("to_region", "not_prefix", ("33",)))
    rule = Rule("x", {}, "l", "a", Term(10, "working days"), None, "transfer/1", "sent_at", ("signed_at",), across)
    letter = {"sent_at": "2026-11-19T10:00:00+08:00", "from_region": "330522"}
    now = at("2026-11-20T00:00")
    assert rule.judge(letter | {"to_region": "341882"}, now, CALENDAR, ZONE).day == "2026-12-03"
    assert rule.judge(letter | {"to_region": "330523"}, now, CALENDAR, ZONE) is None


def test_due_lists_are_per_authority_soonest_first():
    def row(agency, decided, id, code=""):
        judged = SERVICE.judge({"stage": "09", "decided_on": decided}, at("2026-12-02T00:00"), CALENDAR, ZONE)
        return DueRow(agency, code, "330483", (Ref("330483", "case/1", id),), judged)

    rows = [row("乙局", "2026-11-19", "a", "1Y"), row("甲局", "2026-11-20", "b"), row("甲局", "2026-11-12", "c"),
            row("甲局", "2026-11-30", "d", "1J")]  # fmt: skip

    def told(*asked):
        return {name: "".join(each.refs[0].id for each in found) for name, found in due_list(rows, *asked).items()}

    assert told() == {"乙局": "a", "甲局": "cb"} and list(told()) == ["乙局", "甲局"]
    assert told(("running",)) == {"甲局": "d"}
    soon = ("passed", "near")
    # A code finds what only names the authority, once any line says that they are the same.
    assert told(soon, "1J") == told(soon, "甲局") == {"甲局": "cb"}
    assert told(soon, "1Y") == {"乙局": "a"} and told(soon, "") == told(soon, "丙局") == {}


# --- as declared ---


@pytest.fixture(scope="module")
def shipped():
    return configuration.load(ROOT / "config").deadlines


def test_the_shipped_rules_hold_the_terms_of_the_law(shipped):
    law = {name: (str(rule.term), rule.law, rule.article) for name, rule in shipped.rules.items()}
    assert law["decision"] == ("90 days", "行政处罚法", "第六十条")
    assert law["service"] == ("7 working days", "行政处罚法", "第六十一条、第八十五条")
    assert law["payment"] == ("15 days", "行政处罚法", "第六十七条")
    assert law["publicity_withdrawal"] == ("3 working days", "行政处罚法", "第四十八条、第八十五条")
    assert law["cross_province_push"][0] == law["cross_province_publish"][0] == "10 working days"
    assert law["assistance_answer"][0] == "10 days" and law["transfer_report"][0] == "3 working days"
    crime = "行政执法机关移送涉嫌犯罪案件的规定"
    assert law["criminal_approval"] == ("3 days", crime, "第五条") and law["criminal_send"] == ("24 hours", crime, "第五条")
    assert law["criminal_review"] == ("3 days", crime, "第八条")
    assert {rule.kind for rule in shipped.rules.values() if rule.watched} == {"case/1", "transfer/1"}


GOOD = """\
rules:
  service:
    label: {zh: 送达, en: service}
    law: 法
    article: 条
    term: 7 working days
    kind: case/1
    starts: decided_on
    ends: [served_on]
    when: {stage: {in: ["09"]}}
calendar: {}
"""
OPEN = {
    "case/1": {
        name: Field(name, type, {}, codes=("09", "10"))
        for name, type in {
            "decided_on": "date", "served_on": "date", "stage": "code", "agency_uscc": "uscc", "region_code": "region",
        }.items()
    }
}  # fmt: skip


def problems(tmp_path, text):
    path = tmp_path / "deadlines.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        deadlines_of(read_yaml(path), OPEN)
    except DeclarationError as error:
        return error.problems
    return []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("7 working days", "seven days", "deadlines.yaml:6: rules.service.term: expected a term like"),
        ("kind: case/1", "kind: cases/1", "deadlines.yaml:7: rules.service.kind: no such kind; did you mean case/1?"),
        ("starts: decided_on", "starts: decided", "deadlines.yaml:8: rules.service.starts: no open field of case/1; did you"),
        ("starts: decided_on", "starts: stage", "rules.service.starts: stage is of type code; name a field of type date or"),
        ("law: 法", "law: 法\n    agency: region_code", "service.agency: region_code is of type region; name a field of type"),
        ("law: 法", "law: 法\n    region: agency_uscc", "rules.service.region: agency_uscc is of type uscc"),
        ("law: 法", "law: 法\n    reason: stage", "rules.service.reason: goes with extended_by"),
        ("law: 法", "law: 法\n    rolls: true", "rules.service.rolls: is for a term of days"),
        ("law: 法", "law: 法\n    rolls: yes", "rules.service.rolls: expected true or false"),
        ("law: 法", "law: 法\n    agreed: longer", "deadlines.yaml:5: rules.service.agreed: "),
        ("    starts: decided_on\n", "", "rules.service: kind goes with kind, starts and ends"),
        ("[served_on]", "[served]", "rules.service.ends.0: no open field of case/1; did you mean served_on?"),
        ("in: [", "among: [", "deadlines.yaml:10: rules.service.when.stage.among: unknown condition 'among'"),
        ('["09"]', '["9"]', "deadlines.yaml:10: rules.service.when.stage.in.0: unknown code '9'; did you mean 09?"),
        ("{stage:", "{stages:", "rules.service.when.stages: unknown field 'stages'; did you mean stage?"),
        ('{in: ["09"]}', '{in: "09"}', "rules.service.when.stage.in: expected a list of values"),
        ("law: 法", "law: 法\n    difference: late", "rules.service.difference: not a type of difference"),
        ("law: 法", "laws: 法", "laws: unknown key; did you mean law?"),
        ("calendar: {}", "calendar: {next: {}}", "calendar.next: not a year"),
        ("calendar: {}", 'calendar: {"2027": {holidays: [2026-01-01]}}', "2026-01-01 is a day of another year"),
        ("calendar: {}", 'calendar: {"2027": {workdays: [2027-01-04]}}', "2027-01-04 is no Saturday or Sunday"),
        ("calendar: {}", 'calendar: {"2027": {holidays: [soon]}}', "expected a date like 2027-01-01"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, old, new, said):
    assert problems(tmp_path, GOOD) == []
    assert GOOD.count(old) == 1
    found = problems(tmp_path, GOOD.replace(old, new))
    assert any(said in each for each in found), found


def test_unknown_years_are_noted(shipped):
    assert deadlines.notes(shipped, date(2026, 11, 1))[0].startswith("deadlines.yaml: the holidays of 2027")
    assert deadlines.notes(shipped, date(2024, 11, 1)) == []
    _, notes = configuration.check(ROOT / "config", date(2026, 11, 1))
    assert any("2027" in note for note in notes)


def test_what_the_law_outlasts_is_noted(shipped):
    framework = configuration.load(ROOT / "config").framework
    agreement = framework.agreements["jiahu"]
    longer = {"decision": Term(120, "days"), "assistance_answer": Term(30, "days"), "service": Term(5, "working days")}
    framework = replace(framework, agreements={"jiahu": replace(agreement, deadlines=longer)})
    told = [each for each in rules.notes(framework, date(2026, 11, 1), shipped) if "can end later" in each]
    assert len(told) == 1
    assert told[0].startswith("jiahu: decision of 120 days can end later than 90 days by 行政处罚法第六十条; the law's end")


def test_what_stands_in_a_law_is_only_shortened_and_what_is_agreed_is_set(shipped):
    free = {name for name, rule in shipped.rules.items() if rule.agreed == "allowed"}
    assert free == {"transfer_report", "transfer_receipt", "transfer_answer", "transfer_result", "assistance_answer"}
    assert {shipped.rules[name].law for name in free} == {"协作协议"}
    # Every extension that counts has a reason, and every letter says who has to act, and where.
    for rule in shipped.rules.values():
        assert bool(rule.extended_by) == bool(rule.reason)
        assert rule.kind != "transfer/1" or (rule.region and rule.region.split("_")[0] == rule.agency.split("_")[0])
