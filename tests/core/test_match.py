"""Matching: folding, blocks, scores that add up, one to one, and nothing of a value in what comes out."""

import random
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from hub.reconcile import match as matching
from hub.reconcile.match import MatchYaml, candidates, match, organisation, place, rule_of, rule_plain

YAML = {
    "id": "same_case",
    "kind": "case/1",
    "block": [["party_id_mark"], [{"field": "party_name", "how": "name"}, {"field": "filed_on", "days": 30}]],
    "compare": [
        {"field": "party_id_mark", "how": "exact", "weight": 4},
        {"field": "party_name", "how": "name", "weight": 3},
        {"field": "op_address", "how": "address", "weight": 2},
        {"field": "filed_on", "how": "date", "within": 30, "weight": 2},
        {"field": "fine_yuan", "how": "amount", "within": "0.5", "weight": 1},
        {"field": "item_code", "how": "item", "weight": 2},
    ],
    "same": "0.9",
    "ask": "0.5",
}
RULE = rule_of(MatchYaml().load(YAML))
ONE = {
    "party_id_mark": "a1", "party_name": "湖州童诚电子商务有限公司", "op_address": "浙江省湖州市南浔区练市镇人民路12号",
    "filed_on": "2026-10-01", "fine_yuan": "1000.00", "item_code": "33021700100101",
}  # fmt: skip
ABROAD = {"34021700100101": "33021700100101", "33021700100101": "33021700100101"}


def only(left, right, **options):
    (found,) = match(RULE, [left], [right], **options)
    return found


def verdicts(found):
    return {point.field: point.verdict for point in found.points}


# --- folding ---


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("湖州童诚电子商务有限公司", "童诚电子商务有限责任公司"),
        ("浙江省长兴县 鼎力 椅业（有限公司）", "长兴鼎力椅业有限公司"),
        ("练市镇裕丰商行", "裕丰商行"),
        ("ＡＢＣ建材（安吉）有限公司", "abc建材(安吉)有限公司"),
    ],
)
def test_one_organisation_by_several_spellings(one, other):
    left, right = organisation(one), organisation(other)
    assert left == right or left in right or right in left


@pytest.mark.parametrize("text", ["有限公司", "湖州市", "店", "浙江", "A"])
def test_a_name_that_is_nothing_but_its_form_stays_whole(text):
    assert organisation(text) == text


def test_an_address_begins_below_its_county():
    assert place("浙江省湖州市南浔区练市镇人民路12号") == place("练市镇人民路１２号") == "练市镇人民路12号"


# --- scores ---


def test_equal_records_are_the_same_and_each_field_says_so():
    found = only(ONE, dict(ONE))
    assert found.score == 1.0 and set(verdicts(found).values()) == {"equal"}


def test_what_is_missing_counts_neither_way_and_little_is_no_score():
    less = {name: value for name, value in ONE.items() if name not in ("op_address", "fine_yuan")}
    found = only(ONE, less)
    assert found.score == 1.0 and verdicts(found)["op_address"] == verdicts(found)["fine_yuan"] == "missing"
    assert match(RULE, [ONE], [{"party_id_mark": "a1", "fine_yuan": "1000.00"}]) == []


def test_a_field_that_differs_lowers_the_score_by_its_weight():
    found = only(ONE, ONE | {"item_code": "33022500100107"})
    assert found.score == round(12 / 14, 4) and verdicts(found)["item_code"] == "differs"
    assert only(ONE, ONE | {"item_code": "34021700100101"}, crosswalk=ABROAD).score == 1.0
    assert only(ONE, ONE | {"item_code": "34021700100101"}).score < 1.0


@pytest.mark.parametrize(("days", "part"), [(0, 1.0), (1, 30 / 31), (15, 16 / 31), (31, 0.0), (300, 0.0)])
def test_dates_count_by_how_far_apart_they_are(days, part):
    other = ONE | {"filed_on": (date(2026, 10, 1) + timedelta(days=days)).isoformat()}
    (point,) = (each for each in only(ONE, other).points if each.field == "filed_on")
    assert point.score == round(part, 4)


@pytest.mark.parametrize(("fine", "part"), [("1000.00", 1.0), ("800.00", 0.6), ("500.00", 0.0), ("1.00", 0.0)])
def test_amounts_count_by_their_part_of_the_larger(fine, part):
    (point,) = (each for each in only(ONE, ONE | {"fine_yuan": fine}).points if each.field == "fine_yuan")
    assert point.score == part


def test_what_cannot_be_read_is_missing():
    found = only(ONE, ONE | {"filed_on": "soon", "fine_yuan": "much"})
    assert verdicts(found)["filed_on"] == verdicts(found)["fine_yuan"] == "missing"


# --- blocks and assignment ---


def test_a_window_of_days_brings_together_what_lies_within_it():
    near = {"party_name": ONE["party_name"], "item_code": ONE["item_code"], "op_address": ONE["op_address"]}
    for days in range(-30, 31):
        other = near | {"filed_on": (date(2026, 10, 1) + timedelta(days=days)).isoformat()}
        assert candidates(RULE, [ONE], [other], {}) == [(0, 0)]
    assert candidates(RULE, [ONE], [near | {"filed_on": "2027-03-01"}], {}) == []
    assert candidates(RULE, [ONE], [near], {}) == []


def test_what_everybody_has_brings_nobody_together(monkeypatch):
    monkeypatch.setattr(matching, "MOST_IN_BLOCK", 8)
    assert len(candidates(RULE, [ONE] * 2, [ONE] * 4, {})) == 8
    assert candidates(RULE, [ONE] * 3, [ONE] * 3, {}) == []


def test_each_record_goes_to_one_and_pairs_told_apart_to_none():
    close = ONE | {"fine_yuan": "900.00"}
    found = match(RULE, [ONE, close], [close, ONE])
    assert [(each.left, each.right, each.score) for each in found] == [(0, 1, 1.0), (1, 0, 1.0)]
    apart = match(RULE, [ONE, close], [close, ONE], apart={(0, 1)})
    assert (0, 1) not in {(each.left, each.right) for each in apart} and apart[0].score == 1.0


fields = st.fixed_dictionaries(
    {},
    optional={
        "party_id_mark": st.sampled_from("abc"),
        "party_name": st.sampled_from(["童诚电子商务有限公司", "童诚电商有限公司", "裕丰商行", "裕丰店"]),
        "op_address": st.sampled_from(["练市镇人民路12号", "练市镇人民路2号"]),
        "filed_on": st.dates(date(2026, 1, 1), date(2026, 3, 1)).map(str),
        "fine_yuan": st.integers(1, 5000).map(lambda n: f"{n}.00"),
        "item_code": st.sampled_from(["33021700100101", "34021700100101"]),
    },
)
sides = st.lists(fields, max_size=6)


@given(sides, sides)
def test_scores_add_up_are_symmetric_and_one_to_one(left, right):
    found = match(RULE, left, right, ABROAD)
    assert len({each.left for each in found}) == len({each.right for each in found}) == len(found)
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)
    for each in found:
        here = [point for point in each.points if point.verdict != "missing"]
        weight = sum(point.weight for point in here)
        total = sum(point.weight * point.score for point in here) / weight
        assert abs(each.score - total) < 0.001 and each.score >= RULE.ask
        assert weight * 2 >= sum(point.weight for point in each.points)
    # A pair by itself scores the same from either side.
    for one, other in zip(left, right, strict=False):
        there, back = match(RULE, [one], [other], ABROAD), match(RULE, [other], [one], ABROAD)
        assert [each.score for each in there] == [each.score for each in back]


@given(sides, sides)
def test_nothing_of_a_value_comes_out(left, right):
    told = repr(match(RULE, left, right, ABROAD))
    for value in ("童诚", "裕丰", "人民路", "33021700100101"):
        assert value not in told


def test_the_best_pairs_are_kept_whatever_the_order():
    draw = random.Random(4)
    left = [ONE | {"party_id_mark": f"m{n}", "fine_yuan": f"{100 * n + 100}.00"} for n in range(40)]
    right = [dict(each) for each in left]
    order = list(range(40))
    draw.shuffle(order)
    found = match(RULE, left, [right[n] for n in order])
    assert {(each.left, order[each.right]) for each in found} == {(n, n) for n in range(40)}


# --- the shape ---


def test_a_rule_is_the_same_there_and_back():
    assert rule_of(MatchYaml().load(rule_plain(RULE))) == RULE


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("same", 0.9, "with a point in quotes"),
        ("same", "1.5", "from 0 to 1"),
        ("block", [[]], "Length must be between 1 and 5"),
        ("block", [[{"field": "x", "first": 0}]], "greater than or equal to 1"),
        ("block", [[3]], "expected a field's name"),
        ("compare", [{"field": "x", "how": "like", "weight": 1}], "Must be one of: exact, words"),
        ("id", "Same", "does not match"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused(key, value, said):
    with pytest.raises(ValidationError, match=said):
        MatchYaml().load(YAML | {key: value})
