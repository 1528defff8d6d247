"""Rows become bodies by compiled rules; what nobody mapped is counted, what cannot be says who it was."""

import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from adapters.base import Refuse, Row, faulty
from adapters.mapping import Mapper, Plan
from adapters.transforms import MEMO

CANARY = "秘密330483199001011234"


def mapper(rules, key=("code",), **plan):
    return Mapper(Plan("330483", {"code": {"from": "BH"}, **rules}, key, **plan))


def one(rules, data, **plan):
    return mapper(rules, **plan)(Row({"BH": "1", **data}, "x.csv:2")).body


def refusal(made, data, where="x.csv:2"):
    with pytest.raises(Refuse) as caught:
        made(Row(data, where))
    assert CANARY not in str(caught.value)
    return caught.value


# --- rules ---


@pytest.mark.parametrize(
    ("rule", "data", "expected"),
    [
        ({"from": "A"}, {"A": " 甲 "}, "甲"),
        ({"from": "A"}, {"A": None}, None),
        ({"from": "A"}, {}, None),
        ({"from": "A", "null": ["2099-12-31"], "as": "date"}, {"A": "2099-12-31"}, None),
        ({"from": ["A", "B"], "first": True}, {"A": "无", "B": "乙"}, "乙"),
        ({"from": ["A", "B"], "join": "；"}, {"A": "无", "B": "乙", "C": "丙"}, "乙"),
        (
            {"from": ["A", "B"], "join": "；", "as": "codes", "split": ["；"]},
            {"A": "2", "B": "1"},
            ["1", "2"],
        ),
        ({"as": "const", "value": "99"}, {}, "99"),
        ({"from": "A", "as": "pick", "path": "a.b"}, {"A": {"a": {"b": 3}}}, "3"),
        ({"from": "A", "as": "pick", "path": "a.b"}, {"A": '{"a": {"b": "无"}}'}, None),
        (
            {"from": "A", "as": "pick", "path": "d", "then": {"as": "date"}},
            {"A": {"d": "2026-01-02"}},
            "2026-01-02",
        ),
        ({"from": "A", "as": "pick", "path": "d", "then": "date"}, {"A": "无"}, None),
        (
            {
                "from": "A",
                "as": "objects",
                "split": ["、"],
                "between": ["/"],
                "parts": {"name": 0, "cert_no": 1},
            },
            {"A": "张三/11、李四/12、王五"},
            [{"name": "张三", "cert_no": "11"}, {"name": "李四", "cert_no": "12"}, {"name": "王五"}],
        ),
        (
            {
                "from": "A",
                "as": "objects",
                "split": ["，"],
                "between": ["（", "）"],
                "parts": {"name": 0, "cert_no": 1},
            },
            {"A": "张三（11），李四（12）"},
            [{"name": "张三", "cert_no": "11"}, {"name": "李四", "cert_no": "12"}],
        ),
        (
            {"from": "A", "as": "objects", "parts": {"name": "xm", "due": {"at": "d", "as": "date"}}},
            {"A": [{"xm": "张三", "d": "2026-01-02", "other": 1}, {"xm": ""}]},
            [{"name": "张三", "due": "2026-01-02"}],
        ),
        (
            {
                "from": ["N", "C"],
                "as": "objects",
                "split": [","],
                "parallel": True,
                "parts": {"name": 0, "cert_no": 1},
            },
            {"N": "张三,李四", "C": "11,12"},
            [{"name": "张三", "cert_no": "11"}, {"name": "李四", "cert_no": "12"}],
        ),
        (
            {
                "from": ["N", "C"],
                "as": "objects",
                "split": [","],
                "parallel": True,
                "parts": {"name": 0, "cert_no": 1},
            },
            {"N": "张三,李四", "C": "无"},
            [{"name": "张三"}, {"name": "李四"}],
        ),
    ],
)
def test_rules(rule, data, expected):
    assert one({"x": rule}, data, nulls=["无"]).get("x") == expected


@pytest.mark.parametrize(
    ("rule", "data", "column"),
    [
        ({"from": "A", "as": "date"}, {"A": CANARY}, "A"),
        ({"from": "A", "as": "code", "table": "t"}, {"A": CANARY}, "A"),
        ({"from": "A"}, {"A": [CANARY]}, "A"),
        ({"from": ["A", "B"], "first": True, "as": "money"}, {"A": CANARY}, "A + B"),
        ({"from": "A", "as": "pick", "path": "a", "then": {"as": "integer"}}, {"A": {"a": CANARY}}, "A"),
        ({"from": "A", "as": "pick", "path": "a"}, {"A": f'{{"a": "{CANARY}"'}, "A"),
        ({"from": "A", "as": "pick", "path": "a"}, {"A": '{"a": "\\ud800"}'}, "A"),
        (
            {"from": "A", "as": "objects", "between": ["/"], "parts": {"name": 0}},
            {"A": f"a/{CANARY}"},
            "A",
        ),
        (
            {"from": ["N", "C"], "as": "objects", "split": [","], "parallel": True, "parts": {"n": 0}},
            {"N": f"a,{CANARY}", "C": "1"},
            "N + C",
        ),
    ],
)
def test_a_refusal_names_place_and_field_and_who_it_was_but_no_value(rule, data, column):
    found = refusal(mapper({"x": rule}, tables={"t": {}}), {"BH": "17", **data})
    assert (found.row, found.field, found.key, found.origin) == ("x.csv:2", column, '["17"]', "330483")
    assert str(found).startswith(f"x.csv:2: {column}: x: ")


def test_one_bad_row_spoils_no_other():
    made = mapper({"d": {"from": "D", "as": "date"}})
    refusal(made, {"BH": "1", "D": "no day"})
    assert made(Row({"BH": "2", "D": "2026-01-02"}, "")).body == {"code": "2", "d": "2026-01-02"}


def test_a_row_its_transport_could_not_read_is_refused_unknown():
    found = mapper({})
    with pytest.raises(Refuse, match=r"x\.csv:9: 3 cells where the header has 4") as caught:
        found(faulty("x.csv:9", "3 cells where the header has 4"))
    assert (caught.value.key, caught.value.origin) == (None, None)
    assert found.leftovers == {}


# --- key, origin, operation ---


@given(st.lists(st.text(min_size=1).filter(lambda t: t.strip()), min_size=1, max_size=4))
def test_the_key_is_canonical_json_of_its_parts(values):
    rules = {f"f{n}": {"from": f"C{n}"} for n in range(len(values))}
    mapped = Mapper(Plan("1", rules, list(rules)))(Row({f"C{n}": v for n, v in enumerate(values)}, ""))
    assert mapped.key.encode() == rfc8785.dumps([mapped.body[name] for name in rules])


def test_a_key_without_a_value_is_refused_with_its_origin():
    found = refusal(mapper({}), {"BH": " "})
    assert (found.field, found.key, found.origin) == ("BH", None, "330483")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=30))
def test_ordinals_count_rows_of_one_key_refused_ones_too(rows):
    made = mapper({"d": {"from": "D", "as": "date"}}, key=("code", "ordinal"))
    met = {"a": 0, "b": 0}
    for code, good in rows:
        met[code] += 1
        row = Row({"BH": code, "D": "2026-01-02" if good else "x"}, "")
        key = made(row).key if good else refusal(made, row.data).key
        assert json.loads(key) == [code, met[code]]


def test_one_publication_is_divided_among_origins():
    made = mapper(
        {},
        origin={"from": "管轄", "table": "bureau"},
        tables={"bureau": {"北海道労働局": "jp-01", "青森労働局": "jp-02"}},
    )
    assert made(Row({"BH": "1", "管轄": " 青森労働局"}, "")).origin == "jp-02"
    for missing in ({"管轄": CANARY}, {"管轄": ""}, {}):
        found = refusal(made, {"BH": "1", **missing})
        assert (found.field, found.origin) == ("管轄", None)


def test_ordinals_of_two_origins_do_not_mix():
    made = mapper(
        {},
        key=("code", "ordinal"),
        origin={"from": "O", "table": "t"},
        tables={"t": {"a": "A", "b": "B"}},
    )
    keys = [made(Row({"BH": "1", "O": o}, "")).key for o in "aab"]
    assert keys == ['["1",1]', '["1",2]', '["1",1]']


def test_a_retraction_needs_its_key_only():
    made = mapper({"d": {"from": "D", "as": "date"}}, operation={"from": "op", "retract": ["d", "D"]})
    gone = made(Row({"BH": "1", "op": " D ", "D": "no day"}, ""))
    assert (gone.retract, gone.key, gone.body) == (True, '["1"]', {})
    assert not made(Row({"BH": "1", "op": "u"}, "")).retract
    assert refusal(made, {"op": "d"}).field == "BH"


# --- audit ---


def test_leftovers_count_columns_nobody_named_by_their_rows():
    made = mapper(
        {"x": {"from": ["A", "B"], "first": True}},
        ignore=["BZ"],
        operation={"from": "op", "retract": ["d"]},
    )
    made(Row({"BH": "1", "A": "", "NEW": "", "BZ": ""}, ""))
    made(Row({"BH": "2", "B": "", "NEW": "", "OTHER": ""}, ""))
    refused = {"BH": "", "NEW": "", "op": "u"}
    refusal(made, refused)
    assert made.leftovers == {"NEW": 3, "OTHER": 1}
    assert made.leftovers == {"NEW": 3, "OTHER": 1}


def test_leftovers_of_ever_new_column_sets_stay_bounded_and_right():
    made = mapper({})
    for n in range(1_000):
        made(Row({"BH": "1", f"X{n % 500}": ""}, ""))
    assert len(made._column_sets) <= 257
    assert made.leftovers == {f"X{n}": 2 for n in range(500)}


# --- memory ---


def test_what_is_remembered_is_what_would_be_read_again():
    rules = {
        "a": {"from": "A"},
        "d": {"from": "D", "as": "date"},
        "m": {"from": "M", "as": "money", "unit": "万元"},
    }
    long_lived = mapper(rules)
    for n in range(4 * MEMO):
        data = {
            "BH": f"{n}",
            "A": f" {n % 7}\u0301 ",
            "D": f"20{n % 90 + 10}-01-{n % 28 + 1:02}",
            "M": f"{n}.5",
        }
        assert (
            long_lived(Row(data, "")).body == mapper(rules)(Row(data, "")).body
            if n % 97 == 0
            else long_lived(Row(data, ""))
        )
    cells = {each[0]: each[3] for each in long_lived._fast}
    assert "m" not in cells, "amounts that never repeat are no longer remembered"
    assert len(cells["a"].seen) == 7


def test_long_texts_are_not_remembered():
    made = mapper({"a": {"from": "A"}})
    for n in range(10):
        made(Row({"BH": "1", "A": f"{n}" * 65}, ""))
    assert {each[0]: len(each[3].seen) for each in made._fast} == {"code": 1, "a": 0}


def test_bodies_share_nothing_that_can_be_changed():
    made = mapper(
        {
            "l": {"from": "L", "as": "codes", "split": [","]},
            "o": {"from": "O", "as": "objects", "split": [","], "parts": {"name": 0}},
            "t": {"from": "L", "as": "list", "split": [","]},
        }
    )
    row = Row({"BH": "1", "L": "a,b", "O": "x,y"}, "")
    first = made(row).body
    first["l"].append("c")
    first["t"].append("c")
    first["o"][0]["name"] = "z"
    assert made(row).body == {
        "code": "1",
        "l": ["a", "b"],
        "t": ["a", "b"],
        "o": [{"name": "x"}, {"name": "y"}],
    }
