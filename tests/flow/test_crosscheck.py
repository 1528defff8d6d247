"""Across jurisdictions on a real hub: what the shipped agreements let be compared is found, and nothing else is looked at."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hub_parts import START, bodies, rig

from adapters.sample.generator import resident_id, uscc
from hub.reconcile.worklist import Difference

NIGHT = START.date()
NUMBER, CARD = uscc("91", "330522", "12345678"), resident_id("330522", date(1980, 1, 1), 123)
COMPANY = {"party_type": "1", "party_name": "长兴鼎力建材有限公司", "party_id_type": "001", "party_id": NUMBER}
PERSON = {"party_type": "2", "party_name": "欧阳文远", "party_id_type": "111", "party_id": CARD}
REPRESENTATIVE = ("legal_rep_name", "legal_rep_id_type", "legal_rep_id")


@pytest.fixture
def made(tmp_path):
    with rig(tmp_path, selves=(), pullers=()) as found:
        yield found


def case(code, party, filed=40, **more):
    """One decided case of a city about a party, filed so many days before the night."""
    body = next(
        each
        for n in range(200)
        for each in bodies("case/1", code, 1, seed=f"x{n}").values()
        if each["stage"] == "12" and each["procedure"] == "02" and "confiscated_income_yuan" not in each
    )
    day = NIGHT - timedelta(days=filed)
    body = {name: value for name, value in body.items() if name not in REPRESENTATIVE} | party
    if party["party_type"] != "2":
        body["legal_rep_name"] = "王小明"
    dates = {"filed_on": day, "decided_on": day + timedelta(days=10), "served_on": day + timedelta(days=12),
             "closed_on": day + timedelta(days=15), "publish_on": day + timedelta(days=11)}  # fmt: skip
    body |= {name: value.isoformat() for name, value in dates.items()}
    body.pop("publish_end", None)
    item = "34021700100101" if code.startswith("34") else "33021700100101"
    return body | {"item_code": item, "fine_yuan": "1000.00", "paid_yuan": "1000.00"} | more


def visit(code, party, days, **more):
    (body,) = bodies("inspection/1", code, 1, seed="v").values()
    body = {name: value for name, value in body.items() if name not in REPRESENTATIVE} | party
    at = START - timedelta(days=days)
    stamps = {"checked_at": at.isoformat(), "reported_at": (at + timedelta(hours=1)).isoformat()}
    return body | stamps | {"object_name": party["party_name"], "check_type": "1"} | more


def look(made, agreement, standing=()):
    return made.hub.crosscheck(made.hub.framework.agreements[agreement], NIGHT, made.clock(), standing)


def pairs(across, *types):
    return {(each.type, tuple(ref.origin for ref in each.refs)) for each in across.found if each.type in types}


CROSS = ("double_penalty", "competing_jurisdiction", "maybe_same", "records_disagree", "repeated_inspection", "penalty_outlier")


def test_two_fines_across_the_province_line_are_found_by_number_and_crosswalk(made):
    made.put("330522", "case/1", {"a": case("330522", COMPANY)})
    made.put("341882", "case/1", {"b": case("341882", COMPANY, filed=38)})
    across = look(made, "zhewan")
    assert pairs(across, *CROSS) == {("double_penalty", ("330522", "341882"))}
    (found,) = (each for each in across.found if each.type == "double_penalty")
    assert found.severity == "high" and {p.field: p.verdict for p in found.points}["item_code"] == "equal"
    told = repr(across)
    for value in (COMPANY["party_id"], COMPANY["party_name"], "鼎力"):
        assert value not in told


def test_a_person_is_matched_by_a_keyed_mark_alone(made):
    made.put("330522", "case/1", {"a": case("330522", PERSON)})
    made.put("341882", "case/1", {"b": case("341882", PERSON, filed=38)})
    across = look(made, "zhewan")
    assert pairs(across, *CROSS) == {("double_penalty", ("330522", "341882"))}
    (found,) = (each for each in across.found if each.type == "double_penalty")
    # The name is masked for partners: it says nothing, and is not compared.
    assert {p.field: p.verdict for p in found.points}["party_name"] == "missing"
    assert PERSON["party_id"] not in repr(across) and "欧阳" not in repr(across)


def test_members_that_do_not_give_each_other_a_kind_are_not_compared(made):
    made.put("330400", "case/1", {"a": case("330400", COMPANY)})  # a city
    made.put("330483", "case/1", {"b": case("330483", COMPANY, filed=38)})  # a county below it
    assert pairs(look(made, "jiahu"), *CROSS) == set()
    made.put("330503", "case/1", {"c": case("330503", COMPANY, filed=39)})  # its peer
    assert pairs(look(made, "jiahu"), *CROSS) == {("double_penalty", ("330483", "330503"))}
    assert pairs(look(made, "zhewan"), *CROSS) == set()


def test_what_a_person_told_apart_stays_apart_until_a_side_changes(made):
    made.put("330522", "case/1", {"a": case("330522", COMPANY)})
    made.put("341882", "case/1", {"b": case("341882", COMPANY, filed=38)})
    (found,) = (each for each in look(made, "zhewan").found if each.type == "double_penalty")
    told = Difference("x", "zhewan", found.type, found.refs, "high", "2026-11-22", "2026-11-22", decision="not_same",
                      basis=found.refs)  # fmt: skip
    assert pairs(look(made, "zhewan", [told]), *CROSS) == set()
    made.put("341882", "case/1", {"b": case("341882", COMPANY, filed=38, fine_yuan="900.00", paid_yuan="900.00")})
    assert pairs(look(made, "zhewan", [told]), *CROSS) == {("double_penalty", ("330522", "341882"))}


def test_repeated_inspections_of_peers_are_found_and_those_of_others_are_not(made):
    made.put("330483", "inspection/1", {"a": visit("330483", COMPANY, 5)})
    made.put("330503", "inspection/1", {"b": visit("330503", COMPANY, 12)})
    made.put("330400", "inspection/1", {"c": visit("330400", COMPANY, 3)})
    assert pairs(look(made, "jiahu"), *CROSS) == {("repeated_inspection", ("330503", "330483"))}
    made.put("330503", "inspection/1", {"b": visit("330503", COMPANY, 40)})
    assert pairs(look(made, "jiahu"), *CROSS) == set()


def test_a_letter_is_judged_by_both_its_sides(made):
    (letter,) = bodies("transfer/1", "330483", 1, to="330503").values()
    sent = START - timedelta(days=9)
    letter = {name: value for name, value in letter.items() if name not in ("signed_by", "signed_at", "request_items")}
    letter |= {"transfer_kind": "01", "state": "04", "sent_at": sent.isoformat(), "due_at": (sent + timedelta(20)).isoformat(),
               "approved_at": (sent - timedelta(hours=2)).isoformat()}  # fmt: skip
    made.put("330483", "transfer/1", {"s": letter})
    across = look(made, "jiahu")
    assert pairs(across, "letter_unreceived", "letter_disagrees") == {("letter_unreceived", ("330483",))}
    (late,) = (each for each in across.found if each.type == "letter_unreceived")
    assert late.due < NIGHT.isoformat()
    # The addressee has signed for it, and has another day in its book.
    signed = letter | {"state": "06", "signed_by": "李强", "signed_at": (sent + timedelta(days=1)).isoformat()}
    made.put("330503", "transfer/1", {"r": signed | {"sent_at": (sent - timedelta(hours=1, days=1)).isoformat(),
             "approved_at": (sent - timedelta(days=2)).isoformat()}})  # fmt: skip
    across = look(made, "jiahu")
    assert pairs(across, "letter_unreceived", "letter_disagrees") == {("letter_disagrees", ("330483", "330503"))}
    assert "李强" not in repr(across) and letter["party_name"] not in repr(across)


def test_an_agreement_that_asks_for_nothing_is_not_searched_and_says_so(made):
    agreements = dict(made.hub.framework.agreements)
    agreements["zhewan"] = replace(agreements["zhewan"], reconcile=None)
    made.hub.framework = replace(made.hub.framework, agreements=agreements)
    made.put("330522", "case/1", {"a": case("330522", COMPANY)})
    made.put("341882", "case/1", {"b": case("341882", COMPANY, filed=38)})
    across = look(made, "zhewan")
    assert pairs(across, *CROSS) == set() and {"double_penalty", "penalty_outlier"} <= across.not_looked_for
