"""Kinds at work: what is accepted, split, joined and compared, and that two judges give one verdict.

The fast path (msgspec and compiled tests) and the explanation (marshmallow) judge the same mutated bodies;
whatever one accepts the other must accept too. Bodies come from the generator of the sample cities.
"""

import json
from copy import deepcopy
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from adapters.sample import generator
from adapters.sample.generator import place, seeded
from hub.errors import KindError
from hub.kinds import Kind, load_kinds
from hub.kinds.vocabulary import flaw, plain
from hub.record import content_digest

KEY = bytes(range(32))

ROOT = Path(__file__).resolve().parents[2]
KINDS = load_kinds(ROOT / "config" / "kinds")
TODAY = date(2026, 11, 22)


def made() -> dict[str, list[dict[str, Any]]]:
    random, here, there = seeded("kinds"), place("330483"), place("330521")
    people = generator.parties(random, here, 20)
    return {
        "case/1": [generator.case(random, here, people[n % 20], n, TODAY, n % 2 == 0) for n in range(1, 31)],
        "inspection/1": [generator.inspection(random, here, people[n % 20], n, TODAY) for n in range(1, 31)],
        "transfer/1": [generator.transfer(random, here, there, people[n % 20], n, TODAY) for n in range(1, 31)],
        "framework/1": [
            {
                "agreement": "jiahu",
                "version": 1,
                "in_force_on": "2022-05-01",
                "digest": "0" * 64,
                "text": "{}",
            }
        ],
        "audit/1": [
            {
                "audited_on": "2026-11-22",
                "entries": 4821,
                "tree_root": "9f" * 32,
                "verdict": "sound",
                "cosigned": 4800,
                "node": "330521",
            }
        ],
        "erasure/1": [
            {
                "of_kind": "case/1",
                "of_origin": "330483",
                "of_record": "mB0k2v6xWQm1cQyq0n3l5A",
                "whole": False,
                "gone": "identity.party",
                "reason": "request",
                "erased_at": "2026-11-22T09:00:00+08:00",
                "erased_by": "li.na",
            }
        ],
        "decision/1": [
            {
                "agreement": "jiahu",
                "difference": "0" * 24,
                "type": "double_penalty",
                "night": "2026-11-22",
                "decision": "keep_both",
                "reason": "other_matter",
                "decided_at": "2026-11-22T09:00:00+08:00",
                "decided_by": "li.na",
                "records": [{"origin": "330483", "kind": "case/1", "id": "abc", "rev": 2}],
            }
        ],
        "reconciliation/1": [
            {
                "agreement": "jiahu",
                "night": "2026-11-22",
                "started_at": "2026-11-22T02:00:00+08:00",
                "committed_at": "2026-11-22T02:00:09+08:00",
                "compared": 10,
                "equal": 9,
                "repaired": 1,
                "retracted": 0,
                "open_differences": 1,
                "quarantined": 0,
                "not_compared_count": 1,
                "not_compared": ["330521"],
                "differences": [
                    {"type": "missing", "origin": "330483", "kind": "case/1", "id": "abc", "severity": "high"}
                ],
            }
        ],
    }


BODIES = made()
ALL = [(kind, body) for kind, bodies in BODIES.items() for body in bodies]
INSPECTION, CASE, TRANSFER = KINDS["inspection/1"], KINDS["case/1"], KINDS["transfer/1"]


def accepted(kind: Kind, body: Any) -> bool:
    try:
        kind.accept(body)
    except KindError as error:
        assert 0 < len(error.problems) <= 50
        assert error.problems[0].what != "is refused"
        return False
    return True


def explained(kind: Kind, body: Any) -> list[str]:
    with pytest.raises(KindError) as caught:
        kind.accept(body)
    return [str(problem) for problem in caught.value.problems]


def an(kind: str, n: int = 0, without: tuple[str, ...] = (), **changes: Any) -> dict[str, Any]:
    body = deepcopy(BODIES[kind][n]) | changes
    return {name: value for name, value in body.items() if name not in without}


def organisation() -> dict[str, Any]:
    return next(deepcopy(body) for body in BODIES["inspection/1"] if body["party_type"] == "1")


def test_the_generator_writes_valid_bodies() -> None:
    for kind, body in ALL:
        KINDS[kind].accept(body)


# ---- one verdict ----

scalars: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=True)
    | st.text(max_size=30)
    | st.sampled_from(
        [
            "",
            "01",
            "1",
            "02",
            "99",
            "2026-02-30",
            "2026-11-22",
            "2026-11-22T17:03:11+08:00",
            "2026-11-22T17:03:11Z",
            "2000.00",
            "0.5",
            "330483",
            "330483100",
            "３３０４８３",
            "张三",
            "e\u0301",
            "é",
            "\ud800",
            "a\nb",
            "a\u202eb",
            "12345678901234",
            "12345678901234\n",
            "33048319760213121X",
            "a b",
            "９１３３",
            True,
            False,
            0,
            1,
            2**53,
            3.0,
        ]
    )
)
anything = scalars | st.lists(scalars, max_size=4) | st.dictionaries(st.text(max_size=8), scalars, max_size=3)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[Kind, Any]:
    name, body = draw(st.sampled_from(ALL))
    kind, body = KINDS[name], deepcopy(body)
    for _ in range(draw(st.integers(0, 3))):
        field = draw(st.sampled_from(sorted(kind.fields)))
        how = draw(st.sampled_from(["drop", "replace", "borrow", "lengthen", "item", "unknown", "reorder"]))
        if how == "drop":
            body.pop(field, None)
        elif how == "replace":
            body[field] = draw(anything)
        elif how == "borrow":  # a value that is right for another record of the kind
            other = draw(st.sampled_from(BODIES[name]))
            if field in other:
                body[field] = deepcopy(other[field])
        elif how == "lengthen" and isinstance(body.get(field), str):
            body[field] = (body[field] * 300)[: max(0, kind.fields[field].max + draw(st.integers(-1, 1)))]
        elif how == "item" and isinstance(body.get(field), list) and body[field]:
            at = draw(st.integers(0, len(body[field]) - 1))
            if isinstance(body[field][at], dict) and draw(st.booleans()):
                inner = draw(st.sampled_from([*kind.fields[field].of, "unknown"]))
                body[field][at][inner] = draw(scalars)
            else:
                body[field][at] = draw(anything)
        elif how == "unknown":
            body[draw(st.text(max_size=10))] = draw(scalars)
        else:
            body = dict(draw(st.permutations(list(body.items()))))
    return kind, body


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
def test_the_fast_path_and_the_explanation_give_one_verdict(drawn: tuple[Kind, Any]) -> None:
    kind, body = drawn
    before = deepcopy(body)
    verdict = accepted(kind, body)
    assert verdict is not bool(kind.schema().validate(body))
    assert repr(body) == repr(before)
    if verdict:
        assert not list(Draft202012Validator(kind.json_schema()).iter_errors(body))
        open_, groups = kind.split(body)
        assert kind.join(open_, groups) == body
        assert tuple(sorted(groups)) == kind.groups
        assert all(groups[group] != {} for group in kind.groups)
        volatile = {name for name, field in kind.fields.items() if field.volatile}
        lasting = {name: value for name, value in body.items() if name not in volatile}
        assert content_digest(KEY, kind, body) == content_digest(KEY, kind, lasting)


@given(st.lists(st.text(max_size=6), max_size=6))
def test_texts_joined_by_blanks_are_plain_only_where_each_is(texts: list[str]) -> None:
    if plain(" ".join(texts)):
        assert not any(flaw(text, lines=False) for text in texts)


@pytest.mark.parametrize("body", [None, [], "x", 1, True, {1: 2}, {None: None}, {"a": {}}, {"\ud800": "x"}])
def test_what_is_no_body_is_refused_with_a_reason(body: Any) -> None:
    for kind in KINDS.values():
        assert not accepted(kind, body)


def test_what_json_cannot_tell_is_refused() -> None:
    body = organisation()
    assert not accepted(INSPECTION, MappingProxyType(body))
    assert not accepted(INSPECTION, body | {"officers": tuple(body["officers"])})
    assert not accepted(INSPECTION, body | {"party_name": b"abc"})
    assert not accepted(INSPECTION, body | {"checked_at": datetime(2026, 11, 22, tzinfo=UTC)})
    assert not accepted(KINDS["reconciliation/1"], BODIES["reconciliation/1"][0] | {"not_compared": {"330521"}})


# ---- split, join, content ----


def test_every_field_goes_to_its_group() -> None:
    for name, body in ALL:
        kind = KINDS[name]
        open_, groups = kind.split(body)
        assert all(kind.fields[field].is_open for field in open_)
        for group in kind.groups:
            if group not in kind.masks:
                assert set(groups[group] or ()) == {n for n in body if kind.fields[n].group == group}


def test_groups_without_fields_are_there_and_empty() -> None:
    open_, groups = INSPECTION.split({"region_code": "330483"})
    assert open_ == {"region_code": "330483"} and groups == dict.fromkeys(INSPECTION.groups)


def test_join_leaves_masks_out_and_takes_what_is_disclosed() -> None:
    body = organisation()
    open_, groups = INSPECTION.split(body)
    seen = {group: groups[group] for group in ("facts", "party_masked")}
    joined = INSPECTION.join(open_, seen)
    assert set(joined) == {n for n in body if INSPECTION.fields[n].group in ("open", "facts")}


def test_splitting_shares_nothing_between_bodies() -> None:
    body = organisation()
    first = INSPECTION.split(body)
    first[0]["region_code"] = "changed"
    first[1]["facts"] = None
    assert INSPECTION.join(*INSPECTION.split(body)) == body


def test_content_forgets_only_volatile_fields_and_order() -> None:
    body = organisation()
    again = dict(reversed(body.items())) | {
        "source_batch": "another",
        "source_time": "2026-01-01T00:00:00+08:00",
    }
    assert content_digest(KEY, INSPECTION, again) == content_digest(KEY, INSPECTION, body)
    other = body | {"led_to_case": not body.get("led_to_case")}
    assert content_digest(KEY, INSPECTION, other) != content_digest(KEY, INSPECTION, body)


def test_shapes_are_bounded_however_many_are_sent() -> None:
    kind = load_kinds(ROOT / "config" / "kinds")["reconciliation/1"]
    body = BODIES["reconciliation/1"][0]
    random = seeded("shapes")
    for _ in range(1500):
        items = list(body.items())
        random.shuffle(items)
        kind.accept(dict(items))
    assert len(kind._shapes) <= 1024


# ---- what is refused, and how it is told ----


@pytest.mark.parametrize(
    ("changes", "where", "said"),
    [
        ({"region_code": "3304"}, "region_code: 行政区划代码 (Region): ", "6 to 12 characters, not 4"),
        ({"region_code": "33048"[:5] + "x"}, "region_code: ", "6, 9 or 12 digits"),
        ({"region_code": "３３０４８３"}, "region_code: ", "6, 9 or 12 digits"),
        ({"region_code": "330483\n"}, "region_code: ", "6, 9 or 12 digits"),
        ({"region_code": 330483}, "region_code: ", "not a whole number; send it as text"),
        ({"region_code": None}, "region_code: ", "leave the field out"),
        ({"check_form": "8"}, "check_form: 检查形式 (Form): ", "one of: 1, 2, 3"),
        ({"led_to_case": 1}, "led_to_case: ", "true or false"),
        ({"led_to_case": "true"}, "led_to_case: ", "true or false"),
        ({"checked_at": "2026-02-30T10:00:00+08:00"}, "checked_at: ", "YYYY-MM-DDTHH:MM:SS+08:00"),
        ({"checked_at": "2026-11-09T24:00:00+08:00"}, "checked_at: ", "YYYY-MM-DDTHH:MM:SS+08:00"),
        ({"checked_at": "2026-11-09T10:00:00-00:00"}, "checked_at: ", "YYYY-MM-DDTHH:MM:SS+08:00"),
        ({"checked_at": "2026-11-09T10:00:00.123Z"}, "checked_at: ", "25 characters, not 24"),
        ({"checked_at": "1899-11-09T10:00:00+08:00"}, "checked_at: ", "YYYY-MM-DDTHH:MM:SS+08:00"),
        ({"party_name": "e\u0301"}, "party_name: ", "NFC"),
        ({"party_name": "a\ud800"}, "party_name: ", "half character"),
        ({"party_name": "a\x00b"}, "party_name: ", "control"),
        ({"party_name": "a\nb"}, "party_name: ", "more than one line"),
        ({"party_name": "a\u202eb"}, "party_name: ", "direction"),
        ({"party_name": ""}, "party_name: ", "1 to 200 characters, not 0"),
        ({"party_name": "x" * 201}, "party_name: ", "1 to 200 characters, not 201"),
        ({"agency_uscc": "91330483MA28A1B2CA"}, "agency_uscc: ", "right check digit"),
        ({"agency_name": "张三丰"}, "agency_name: ", "4 to 200 characters"),
        ({"agency_name": "某某局33048319760213121X"}, "agency_name: ", "without a long number"),
        ({"plan_id": "a b"}, "plan_id: ", "letters, digits"),
        ({"plan_id": "330483197602131210"}, "plan_id: ", "looks like a person's identity number"),
        ({"item_code": "123"}, "item_code: ", "14 characters, not 3"),
        ({"officers": [{"name": "王五"}]}, "officers: 检查人员 (Officers): ", "2 to 50 items, not 1"),
        ({"officers": [{"name": "王五"}, {}]}, "officers.1.name: 姓名 (Name): ", "is required"),
        ({"officers": [{"name": "王五"}, {"name": "a\nb"}]}, "officers.1.name: ", "more than one line"),
        ({"officers": [{"name": "王五"}, {"name": "王六", "x": 1}]}, "officers.1: ", "1 unknown field"),
        ({"officers": [{"name": "王五"}, "王六"]}, "officers.1: ", "an object, not a text"),
        ({"officers": {}}, "officers: ", "send a list"),
        ({"items": [{"item": "甲", "rectify_due": "2026-02-30"}]}, "items.0.rectify_due: ", "calendar day"),
        ({"party_nam": "x"}, "1 unknown field", "send only the fields"),
    ],
)
def test_a_problem_names_field_label_and_remedy(changes: dict[str, Any], where: str, said: str) -> None:
    (problem,) = explained(INSPECTION, organisation() | changes)
    assert problem.startswith(where) and said in problem


def test_facts_may_have_lines_and_tabs_and_odd_blanks() -> None:
    INSPECTION.accept(organisation() | {"result_text": "一、\t甲\n二、\u3000乙"})
    assert explained(INSPECTION, organisation() | {"result_text": "甲\r\n乙"})


def test_an_unknown_field_is_never_named_but_the_nearest_known_is() -> None:
    body = organisation()
    body["agency_nmae"] = body.pop("agency_name")
    told = explained(INSPECTION, body)
    assert told[0] == "1 unknown field; did you mean agency_name?"
    assert "agency_nmae" not in str(told)


def test_all_problems_come_at_once_in_the_kind_s_order() -> None:
    body = organisation() | {"check_form": "x", "region_code": "1", "led_to_case": 0}
    del body["party_name"]
    assert [line.split(":")[0] for line in explained(INSPECTION, body)] == [
        "region_code",
        "party_name",
        "check_form",
        "led_to_case",
    ]


def test_no_value_is_ever_told() -> None:
    canary = "CANARY张三33048319760213121X"
    for kind_name, bodies in BODIES.items():
        kind = KINDS[kind_name]
        for bad in (canary + "\x00", [canary], {canary: canary}, [{canary: canary}], [[canary]]):
            body: dict[str, Any] = {field: deepcopy(bad) for field in kind.fields}
            told = str(explained(kind, body | {canary: canary}))
            assert "CANARY" not in told and "张三" not in told and "330483197" not in told
        for field in kind.fields:
            told = str(explained(kind, bodies[0] | {field: canary + "\x00"}))
            assert "CANARY" not in told


def test_problems_are_bounded_by_50_and_by_time() -> None:
    kind = KINDS["reconciliation/1"]
    base = BODIES["reconciliation/1"][0]
    assert len(explained(kind, base | {"differences": [{}] * 5000})) == 50
    assert len(explained(kind, base | {"differences": [{}] * 200_000})) == 1
    assert len(explained(kind, base | {"not_compared": [7] * 200_000})) == 1
    assert len(explained(kind, {f"field_{n}": n for n in range(200_000)})) < 20
    looked_at = kind.schema().validate(base | {"differences": [{}] * 5000})["differences"]
    assert len(looked_at) == 50
    (told,) = explained(kind, base | {f"field_{n}": n for n in range(200_000)})
    assert told.startswith("200000 unknown fields")
    (told,) = explained(kind, base | {"differences": [{f"f{n}": n for n in range(200_000)} | base["differences"][0]]})
    assert "200000 unknown fields" in told


# ---- rules ----


@pytest.mark.parametrize(
    ("drop", "change", "said"),
    [
        ("decided_on", {}, "decided_on: 决定日期 (Decided on): is required where stage is 09"),
        ("", {"penalty_types": ["01"], "fine_yuan": "2000.00"}, "must include 02 where fine_yuan is given"),
        ("", {"penalty_types": ["01", "01"]}, "stands twice"),
        ("", {"penalty_types": []}, "1 to 14 items, not 0"),
        ("", {"filed_on": "2099-01-01"}, "must be no earlier than the one before it"),
        ("", {"fine_yuan": "2000"}, "4 to 19 characters|two places"),
        ("", {"fine_yuan": "2000.0"}, "two places"),
        ("", {"fine_yuan": "02000.00"}, "two places"),
        ("", {"fine_yuan": 2000}, "send it as text"),
        ("", {"party_id": "330483197602131211", "party_id_type": "111"}, "identity number"),
        ("party_id_type", {"party_id": "E1234567"}, "is required where party_id is given"),
        ("hearing", {}, "is required where procedure is 01 or 02"),
        ("", {"is_public": False}, "no_public_reason: 不予公示理由 (Reason for not publishing): is required"),
    ],
)
def test_rules_of_a_decided_case(drop: str, change: dict[str, Any], said: str) -> None:
    decided = next(
        body
        for body in BODIES["case/1"]
        if body["stage"] >= "09" and body["procedure"] != "99" and "no_public_reason" not in body
    )
    body = {name: value for name, value in (deepcopy(decided) | change).items() if name != drop}
    told = "\n".join(explained(CASE, body))
    assert any(part in told for part in said.split("|"))


def test_anhui_may_lack_item_codes_and_zhejiang_may_not() -> None:
    body = organisation()
    for code in ("item_code", "check_list_code"):
        body.pop(code, None)
    INSPECTION.accept(body | {"region_code": "341882"})
    assert "does not begin with 34" in str(explained(INSPECTION, body | {"region_code": "330483"}))


def test_a_report_comes_after_its_check_whatever_the_offset() -> None:
    body = organisation() | {"checked_at": "2026-11-09T10:00:00+08:00"}
    INSPECTION.accept(body | {"reported_at": "2026-11-09T10:00:01+08:00"})
    INSPECTION.accept(body | {"reported_at": "2026-11-09T11:00:01+09:00"})
    for at in ("2026-11-09T10:00:00+08:00", "2026-11-09T11:00:00+09:00", "2026-11-09T09:59:59+08:00"):
        assert "must be later than" in str(explained(INSPECTION, body | {"reported_at": at}))


def test_a_state_belongs_to_its_workflow() -> None:
    letter = next(deepcopy(body) for body in BODIES["transfer/1"] if body["transfer_kind"] == "03")
    assert "is not allowed" in str(explained(TRANSFER, letter | {"state": "06"}))


def test_identity_numbers_warn_of_an_unknown_birthplace_only() -> None:
    person = next(deepcopy(body) for body in BODIES["inspection/1"] if body.get("party_id_type") == "111")
    stem = "99" + person["party_id"][2:17]
    person["party_id"] = next(stem + c for c in "0123456789X" if accepted(INSPECTION, person | {"party_id": stem + c}))
    (warning,) = INSPECTION.warnings(person)
    assert warning.where == "party_id" and person["party_id"] not in str(warning)
    assert not INSPECTION.warnings(organisation())


# ---- the form for machines ----


@pytest.mark.parametrize("name", sorted(KINDS))
def test_json_schema_is_valid_and_takes_what_is_accepted(name: str) -> None:
    schema = KINDS[name].json_schema()
    Draft202012Validator.check_schema(schema)
    json.dumps(schema)
    for body in BODIES[name]:
        assert not list(Draft202012Validator(schema).iter_errors(body))
    required = [field for field, each in KINDS[name].fields.items() if each.required]
    for field in required:
        body = {n: v for n, v in BODIES[name][0].items() if n != field}
        assert list(Draft202012Validator(schema).iter_errors(body))


def test_json_schema_tells_groups_codes_and_rules() -> None:
    schema = CASE.json_schema()
    assert schema["x-groups"]["party"]["personal"] and schema["x-groups"]["party_masked"]["masked"]
    assert schema["properties"]["stage"]["x-codes"]["09"]["zh"] == "决定"
    body = an("case/1", without=("decided_on",), stage="09")
    assert any("decided_on" in error.message for error in Draft202012Validator(schema).iter_errors(body))


def test_a_body_travels_as_json_and_is_still_accepted() -> None:
    for name, body in ALL:
        KINDS[name].accept(msgspec.json.decode(msgspec.json.encode(body)))
