"""The detectors on records by hand: what each finds, what it leaves alone, and how it explains itself."""

from datetime import date, timedelta

from hub.crosscheck import circles
from hub.reconcile import findings
from hub.reconcile.findings import Seen
from hub.reconcile.worklist import Point, Ref

UNTIL = date(2026, 11, 23)
MONTH = timedelta(days=30)


def seen(origin, id, kind="case/1", party="p", **fields):
    return Seen(Ref(origin, kind, id, 1), fields, party)


def points(found):
    return {(each.field, each.verdict): each.number for each in found.points}


# --- inspections ---


def visit(origin, id, day, agency="a", party="p", **more):
    fields = {"checked_at": f"2026-11-{day:02}T09:00:00+08:00", "agency_uscc": agency, "check_type": "1"} | more
    return seen(origin, id, "inspection/1", party, **fields)


def repeated(*visits):
    return list(findings.repeated_inspections(visits, MONTH, UNTIL))


def test_a_party_inspected_by_two_authorities_within_the_window_is_told_once():
    (found,) = repeated(visit("330503", "b", 20), visit("330483", "a", 2), visit("330483", "c", 20, agency="b"))
    assert found.type == "repeated_inspection" and [ref.id for ref in found.refs] == ["a", "c", "b"]
    assert points(found) == {
        ("visits", "repeated"): "3", ("checked_at", "first"): "2026-11-02", ("checked_at", "last"): "2026-11-20",
    }  # fmt: skip


def test_the_same_party_is_the_same_finding_whatever_visits_come():
    (one,) = repeated(visit("330483", "a", 2), visit("330503", "b", 3))
    (other,) = repeated(visit("330503", "b", 3), visit("330521", "c", 22))
    assert one.key == other.key and one.refs != other.refs


def test_what_is_no_repetition_is_left_alone():
    assert repeated(visit("330483", "a", 2), visit("330483", "b", 3)) == []  # one authority may come twice
    assert repeated(visit("330483", "a", 2), visit("330503", "b", 3, party="q")) == []
    assert repeated(visit("330483", "a", 2, party=""), visit("330503", "b", 3, party="")) == []
    assert repeated(visit("330483", "a", 2), visit("330503", "b", 3, check_type="6")) == []
    assert repeated(visit("330483", "a", 2, joint_task_id="t"), visit("330503", "b", 3, joint_task_id="t")) == []
    early = visit("330483", "a", 2, checked_at="2026-10-24T23:00:00+08:00")
    assert repeated(early, visit("330503", "b", 3)) == []
    assert len(repeated(early._replace(fields=early.fields | {"checked_at": "2026-10-25T00:00:00+08:00"}),
                        visit("330503", "b", 3))) == 1  # fmt: skip


# --- penalties ---


def fine(origin, id, yuan, item="i", **more):
    return seen(origin, id, fine_yuan=f"{yuan}.00", item_code=item, **more)


def test_a_fine_far_from_what_others_fine_is_told_with_how_far():
    others = [fine("330503", f"o{n}", 1000 + 10 * n) for n in range(8)]
    (found,) = findings.outliers([*others, fine("330483", "x", 9000), fine("330483", "y", 1200)], 8, 3)
    assert [ref.id for ref in found.refs] == ["x"] and found.type == "penalty_outlier"
    assert points(found)["others", "cases"] == "8" and points(found)["others", "median"] == f"{(1030 * 1040) ** 0.5:.2f}"
    assert float(points(found)["fine_yuan", "higher"]) > 8
    (low,) = findings.outliers([*others, fine("330483", "z", 100)], 8, 3)
    assert ("fine_yuan", "lower") in points(low)


def test_practice_is_that_of_others_of_the_same_item_and_takes_enough_cases():
    others = [fine("330503", f"o{n}", 1000) for n in range(8)]
    far = fine("330483", "x", 9000)
    assert list(findings.outliers([*others[1:], far], 8, 3)) == []
    assert list(findings.outliers([*others, fine("330483", "x", 9000, item="j")], 8, 3)) == []
    assert list(findings.outliers([fine("330483", f"s{n}", 1000) for n in range(8)] + [far], 8, 3)) == []
    assert len(list(findings.outliers([*others, fine("330483", "x", 9000, item="j")], 8, 3, {"j": "i"}))) == 1
    assert list(findings.outliers([*others, seen("330483", "x", item_code="i")], 8, 3)) == []


def test_two_fines_for_one_matter_and_two_who_claim_it():
    one = fine("330503", "b", 500, decided_on="2026-03-02", filed_on="2026-02-02", stage="12")
    other = fine("330483", "a", 800, decided_on="2026-03-09", filed_on="2026-02-01", stage="09")
    found = findings.same_case(one, other, (Point("party_id_mark", "equal"),))
    assert found.type == "double_penalty" and [ref.id for ref in found.refs] == ["a", "b"]
    assert ("party_id_mark", "equal") in points(found)
    open_ = seen("330483", "a", filed_on="2026-02-01", stage="03")
    found = findings.same_case(one, open_, ())
    assert found.type == "competing_jurisdiction" and points(found) == {("filed_on", "a_first"): "2026-02-01"}
    later = seen("330483", "a", filed_on="2026-02-09", stage="03")
    assert points(findings.same_case(later, one, ())) == {("filed_on", "b_first"): "2026-02-02"}
    for stage in ("91", "92", "93", "94"):
        assert findings.same_case(one, seen("330483", "a", filed_on="2026-02-01", stage=stage), ()) is None
    decided = seen("330483", "a", filed_on="2026-02-01", decided_on="2026-03-01", stage="12")
    assert findings.same_case(one, decided, ()) is None


def test_a_match_below_the_same_is_asked():
    one, other = fine("330483", "a", 1), fine("330503", "b", 1)
    found = findings.same_matter("case/1", one, other, (), 0.8, 0.9)
    assert found.type == "maybe_same" and found.points[-1] == Point("score", "asked", score=0.8)


def test_the_same_inspection_told_differently_says_in_which_fields():
    one, other = visit("330483", "a", 2, result_code="1"), visit("330503", "b", 2, result_code="A")
    found = findings.same_matter("inspection/1", one, other, (), 1.0, 0.9)
    assert found.type == "records_disagree"
    assert points(found) == {("checked_at", "equal"): "", ("result_code", "differs"): ""}
    assert findings.same_matter("inspection/1", one, visit("330503", "b", 2, result_code="1"), (), 1.0, 0.9) is None
    hour_later = visit("330503", "b", 2, result_code="1", checked_at="2026-11-02T11:00:00+08:00")
    assert findings.same_matter("inspection/1", one, hour_later, (), 1.0, 0.9) is None


# --- letters ---


def letter(origin, id, number="L1", **more):
    fields = {"letter_no": number, "from_region": "330483", "to_region": "330503", "state": "04"} | more
    return seen(origin, id, "transfer/1", **fields)


def test_the_two_sides_of_a_letter_are_joined_and_the_addressee_goes_before():
    sender = letter("330483", "s", sent_at="2026-11-02T09:00:00+08:00", party_name="甲")
    addressee = letter("330503", "r", state="06", signed_at="2026-11-04T09:00:00+08:00")
    (joined,) = findings.letters([addressee, sender])
    assert [side.ref.id for side in joined.sides] == ["s", "r"]
    assert joined.fields["state"] == "06" and joined.fields["party_name"] == "甲" and "signed_at" in joined.fields


def test_letters_of_another_number_direction_or_without_one_stand_alone():
    rows = [letter("330483", "s"), letter("330503", "r", number="L2"), letter("330503", "x", from_region="330503",
            to_region="330483")]  # fmt: skip
    unnumbered = [Seen(row.ref, {k: v for k, v in row.fields.items() if k != "letter_no"}) for row in rows[:2]]
    assert len(list(findings.letters([*rows, *(each._replace(ref=each.ref._replace(id=each.ref.id + "2"))
                                               for each in unnumbered)]))) == 5  # fmt: skip


def test_sides_that_disagree_are_told_by_field():
    sender = letter("330483", "s", party_name="甲", sent_at="2026-11-02T09:00:00+08:00")
    same = letter("330503", "r", party_name="甲", sent_at="2026-11-02T17:00:00+08:00", state="06")
    (joined,) = findings.letters([sender, same])
    assert findings.letter_disagreement(joined) is None
    other = letter("330503", "r", party_name="乙", sent_at="2026-11-02T17:00:00+08:00")
    (joined,) = findings.letters([sender, other])
    found = findings.letter_disagreement(joined)
    assert found.type == "letter_disagrees" and ("party_name", "differs") in points(found) and "甲" not in repr(found)
    (alone,) = findings.letters([sender])
    assert findings.letter_disagreement(alone) is None


# --- who may be compared with whom ---


def test_circles_are_the_largest_sets_in_which_every_two_are_a_pair():
    assert circles([("a", "b"), ("b", "c"), ("a", "c"), ("c", "d")]) == [("a", "b", "c"), ("c", "d")]
    assert circles([]) == [] and circles([("a", "b")]) == [("a", "b")]
    square = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")]
    assert circles(square) == [("a", "b"), ("a", "d"), ("b", "c"), ("c", "d")]
