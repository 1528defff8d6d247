"""A difference's life: what a night, a person and the agreement make of it; and that a quiet night changes nothing."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import HubError
from hub.kinds import load_kinds
from hub.reconcile import worklist
from hub.reconcile.worklist import DECISIONS, Finding, LookedAt, Ref, decide, turn

A, B = Ref("330483", "case/1", "aaa", 1), Ref("330503", "case/1", "bbb", 1)
PAIR = Finding("double_penalty", (A, B), "high")
FEED = Finding("not_compared", (Ref("330483", "cases", "case/1"),), "high")
EVERYTHING = LookedAt(())


class Book:
    """An agreement's differences over nights, as a store keeps them."""

    def __init__(self, settle=None):
        self.rows, self.events, self.settle = {}, [], settle or {}

    def night(self, day, *found, looked_at=EVERYTHING):
        rows, events = turn(
            "pair", f"2026-11-{day:02}", self.rows.values(), found, f"at {day}", looked_at=looked_at, settle=self.settle
        )
        self.take(rows, events)
        return [(event.step, event.identity) for event in events]

    def take(self, rows, events):
        self.rows |= {row.identity: row for row in rows}
        self.events += events

    def one(self):
        (row,) = self.rows.values()
        return row

    def steps(self):
        return [event.step for event in self.events]

    def do(self, step, *args):
        row, events = step(self.one(), *args)
        self.take([row], events)


@pytest.fixture
def book():
    made = Book()
    made.night(1, PAIR)
    return made


def changed(finding, **revs):
    return replace(finding, refs=tuple(ref._replace(rev=revs.get(ref.id, ref.rev)) for ref in finding.refs))


def test_the_same_finding_is_the_same_difference_every_night(book):
    first = book.one()
    assert (first.state, first.first_night, first.last_night) == ("opened", "2026-11-01", "2026-11-01")
    assert book.night(2, changed(PAIR, aaa=2)) == []
    again = book.one()
    assert (again.identity, again.first_night, again.last_night) == (first.identity, "2026-11-01", "2026-11-02")
    assert again.refs[0].rev == 2 and again.state == "opened"


def test_what_differs_in_type_agreement_or_record_is_another(book):
    other = [replace(PAIR, type="maybe_same"), replace(PAIR, refs=(A, B._replace(id="ccc"))), replace(PAIR, refs=(B, A))]
    identities = {worklist.identity_of("pair", each) for each in [PAIR, *other]} | {worklist.identity_of("two", PAIR)}
    assert len(identities) == 5
    keyed = replace(PAIR, key="party 1")
    assert worklist.identity_of("pair", keyed) == worklist.identity_of("pair", replace(keyed, refs=(A,)))


def test_found_no_more_is_closed_and_found_again_is_reopened_with_its_history(book):
    book.night(2)
    assert book.one().state == "closed" and not book.one().is_open and book.steps() == ["opened", "closed"]
    book.night(3, PAIR)
    assert book.one().state == "opened" and book.one().first_night == "2026-11-01"
    assert book.steps() == ["opened", "closed", "reopened"]


def test_what_could_not_be_looked_at_stays_as_it_is(book):
    assert book.night(2, looked_at=LookedAt({"330503"})) == [] and book.one().last_night == "2026-11-02"
    assert book.night(3, looked_at=LookedAt((), {"double_penalty"})) == [] and book.one().is_open
    assert book.night(4, looked_at=LookedAt({"330400"}, {"missing"})) == [("closed", book.one().identity)]


def test_seen_and_assigned_are_steps_of_people(book):
    book.do(worklist.see, "li", "t1")
    book.do(worklist.see, "wang", "t2")
    assert book.one().state == "seen" and [(each.who, each.step) for each in book.events[1:]] == [("li", "seen")]
    book.do(worklist.assign, "wang", "li", "t3")
    book.night(2, PAIR)
    assert (book.one().state, book.one().assigned) == ("assigned", "wang") and book.events[-1].code == "wang"


@pytest.mark.parametrize("decision", [name for name, each in DECISIONS.items() if each.settles])
def test_a_decision_that_settles_is_verified_and_holds_until_a_side_changes(book, decision):
    book.do(decide, decision, "checked", "li", "t")
    assert book.one().state == "decided" and book.one().is_open
    book.night(2, PAIR)
    assert book.one().state == "closed" and book.steps() == ["opened", "decided", "verified", "closed"]
    assert book.night(3, PAIR) == [] and book.night(4) == [] and book.night(5, PAIR) == []
    book.night(6, changed(PAIR, bbb=2))
    assert (book.one().state, book.one().decision, book.steps()[-1]) == ("opened", "", "reopened")


@pytest.mark.parametrize("decision", [name for name, each in DECISIONS.items() if not each.settles])
def test_a_decision_that_waits_for_a_city_stays_open_until_it_is_gone(book, decision):
    book.do(decide, decision, "asked", "li", "t")
    assert book.night(2, PAIR) == [] and book.one().state == "decided"
    again = Book()
    again.rows, again.events = dict(book.rows), list(book.events)
    book.night(3)
    assert book.one().state == "closed" and book.steps()[-2:] == ["verified", "closed"]
    again.night(3, changed(PAIR, aaa=2))
    assert again.one().state == "opened" and again.steps()[-1] == "reopened"


def test_what_has_no_revision_is_waived_only_as_long_as_it_lasts():
    book = Book()
    book.night(1, FEED)
    book.do(decide, "waive", "asked", "li", "t")
    assert book.night(2, FEED) and book.night(3, FEED) == [] and book.one().state == "closed"
    book.night(4)
    book.night(5, FEED)
    assert book.one().state == "opened"


def test_the_agreement_settles_what_it_says_and_nothing_else():
    book = Book({"double_penalty": ("waive", "minor")})
    book.night(1, PAIR, FEED)
    assert [(each.who, each.step, each.code) for each in book.events if each.who != "night"] == [
        ("agreement", "decided", "waive")
    ]
    assert {row.type: row.state for row in book.rows.values()} == {"double_penalty": "decided", "not_compared": "opened"}
    book.night(2, PAIR, FEED)
    assert {row.type: row.state for row in book.rows.values()} == {"double_penalty": "closed", "not_compared": "opened"}
    book.night(3, changed(PAIR, aaa=2), FEED)
    assert {row.type: row.state for row in book.rows.values()} == {"double_penalty": "decided", "not_compared": "opened"}


def test_a_night_closed_late_says_nothing_of_later_ones(book):
    book.night(9, PAIR)
    assert book.night(5) == [] and book.one().is_open
    assert book.night(6, changed(PAIR, aaa=7)) == [] and book.one().refs[0].rev == 1
    assert book.one().last_night == "2026-11-09"


def test_a_decision_that_does_not_fit_is_refused_with_what_would(book):
    with pytest.raises(HubError, match="'maybe' is no decision; one of accept_a, "):
        book.do(decide, "maybe", "checked", "li", "t")
    book.night(2)
    with pytest.raises(HubError, match="is closed"):
        book.do(decide, "waive", "checked", "li", "t")
    with pytest.raises(HubError, match="is closed already"):
        book.do(worklist.assign, "li", "wang", "t")
    single = Book()
    single.night(1, FEED)
    with pytest.raises(HubError, match="not_same is for two sides, and this has one; one of ask_city, waive"):
        single.do(decide, "not_same", "checked", "li", "t")


def test_pairs_judged_apart_are_told_with_the_revisions_that_were_looked_at(book):
    assert worklist.apart(book.rows.values()) == set()
    book.do(decide, "not_same", "other_matter", "li", "t")
    assert worklist.apart(book.rows.values()) == {frozenset((A, B))}
    book.night(2, changed(PAIR, aaa=2))
    assert worklist.apart(book.rows.values()) == set()


def test_the_kind_of_a_decision_names_every_decision_there_is():
    kind = load_kinds(Path(__file__).parents[2] / "config" / "kinds")["decision/1"]
    assert set(kind.codes["judgement"]) == set(DECISIONS)


findings = st.builds(
    Finding,
    st.sampled_from(("double_penalty", "maybe_same")),
    st.tuples(
        st.builds(Ref, st.just("330483"), st.just("case/1"), st.sampled_from("ab"), st.integers(1, 2)),
        st.builds(Ref, st.just("330503"), st.just("case/1"), st.sampled_from("cd"), st.integers(1, 2)),
    ),
    st.sampled_from(("high", "low")),
)
nights = st.lists(
    st.tuples(st.lists(findings, max_size=4), st.sampled_from([None, *DECISIONS]), st.integers(0, 3)), min_size=1, max_size=8
)


@given(nights)
def test_after_any_nights_and_decisions_a_night_run_again_changes_nothing(history):
    book = Book()
    for day, (found, decision, which) in enumerate(history, 1):
        book.night(day, *found)
        # What is open is what was found and not settled, no more and no less.
        identities = {worklist.identity_of("pair", each) for each in found}
        for row in book.rows.values():
            settled = row.holds and DECISIONS[row.decision].settles
            assert row.is_open == (row.identity in identities and not settled)
        before = dict(book.rows)
        assert book.night(day, *found) == [] and book.rows == before
        choice = [row for row in book.rows.values() if row.is_open]
        if decision and choice:
            row, events = decide(choice[which % len(choice)], decision, "checked", "li", "t")
            book.take([row], events)
    for row in book.rows.values():
        own = [event.step for event in book.events if event.identity == row.identity]
        assert own[0] == "opened" and (own[-1] == "closed") == (not row.is_open)
