"""Masks: what of a person is shown, and that a mask is a group of its own computed from the body alone."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.cn import ric

from adapters.sample import generator
from hub.kinds import Kind, load_kinds
from hub.kinds.masks import HIDDEN, Mask, mask_address, mask_id, mask_name, mask_phone, mask_shape

ROOT = Path(__file__).resolve().parents[2]


def number(born: str) -> str:
    stem = f"330483{born}121"
    return stem + str(ric.calc_check_digit(stem + "0"))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("张三", "张*"),
        ("张三丰", "张*"),
        ("欧阳修", "欧阳*"),
        ("欧阳", "欧*"),
        ("司马相如", "司马*"),
        ("李", "*"),
        ("买买提·艾力", "买*"),
        ("John Smith", "J*"),
    ],
)
def test_a_name_keeps_its_surname(name: str, shown: str) -> None:
    assert mask_name(name) == shown


def test_an_identity_number_keeps_six_and_four() -> None:
    assert mask_id("33048319760213121X") == "330483********121X"
    assert mask_id("330483760213121") == "330483*****3121"
    assert mask_id("E12345678") == "E******78"
    assert mask_id("A1") == "**"


def test_a_telephone_number_keeps_three_and_four() -> None:
    assert mask_phone("13812341234") == "138****1234"
    assert mask_phone("0573-88111111") == "***********11"
    assert mask_phone("110") == "***"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("浙江省嘉兴市桐乡市乌镇镇环河路1号", "浙江省嘉兴市桐乡市乌镇镇"),
        ("桐乡市梧桐街道振东新区1幢201室", "桐乡市梧桐街道"),
        ("湖州市吴兴区织里镇利济路88号", "湖州市吴兴区织里镇"),
        ("安徽省宣城市广德市柏垫镇前程村12号", "安徽省宣城市广德市柏垫镇"),
        ("长兴县水口乡顾渚村3号", "长兴县水口乡"),
        ("宁波市镇海区骆驼街道12号", "宁波市镇海区骆驼街道"),
        ("桐乡市环城南路5号", "桐乡市"),
        ("环城南路5号", HIDDEN),
        ("12号", HIDDEN),
        ("", HIDDEN),
    ],
)
def test_an_address_ends_at_its_town(address: str, shown: str) -> None:
    assert mask_address(address) == shown


@given(st.text("浙江省嘉兴市桐乡市乌镇镇街道路号村1234", max_size=60))
def test_no_house_number_survives(address: str) -> None:
    assert not any(c.isdigit() for c in mask_address(address))


@given(st.text(min_size=1, max_size=30))
def test_every_mask_takes_any_text(text: str) -> None:
    for mask in (mask_name, mask_id, mask_phone, mask_address):
        shown = mask(text)
        assert shown and (shown != text or "*" in text or mask is mask_address)


@pytest.fixture(scope="module")
def case() -> Kind:
    return load_kinds(ROOT / "config" / "kinds")["case/1"]


def masked(case: Kind, **fields: Any) -> dict[str, Any] | None:
    return case.split({"decided_on": "2026-11-22", **fields})[1]["party_masked"]


def test_an_organisation_stays_and_its_representative_does_not(case: Kind) -> None:
    party = {"party_name": "桐乡市某某有限公司", "party_id": "91330483MA28A1B2CE"}
    for kind in ("1", "3"):
        shown = masked(case, party_type=kind, legal_rep_name="张三", **party)
        assert shown == {**party, "legal_rep_name": "张*"}


def test_a_person_is_masked(case: Kind) -> None:
    adult = number("19760213")
    shown = masked(case, party_type="2", party_name="欧阳修远", party_id=adult)
    assert shown == {"party_name": "欧阳*", "party_id": mask_id(adult)}


def test_a_party_of_unsaid_type_is_masked_as_a_person(case: Kind) -> None:
    assert masked(case, party_name="张三") == {"party_name": "张*"}


@pytest.mark.parametrize(
    ("born", "hidden"), [("20081123", True), ("20081122", False), ("20081121", False), ("20200229", True)]
)
def test_a_minor_on_the_day_of_the_decision_is_suppressed(case: Kind, born: str, hidden: bool) -> None:
    shown = masked(case, party_type="2", party_name="张三", party_id=number(born), legal_rep_name="张父")
    assert shown is not None
    assert shown["party_name"] == (HIDDEN if hidden else "张*")
    assert (shown["party_id"] == HIDDEN) is hidden
    assert shown["legal_rep_name"] == "张*"


def test_a_leap_day_child_comes_of_age_with_the_day_after(case: Kind) -> None:
    body = {"party_type": "2", "party_name": "张三", "party_id": number("20080229")}
    assert masked(case, **body | {"decided_on": "2026-02-28"})["party_name"] == HIDDEN  # type: ignore[index]
    assert masked(case, **body | {"decided_on": "2026-03-01"})["party_name"] == "张*"  # type: ignore[index]


def test_without_a_decision_the_day_of_filing_counts(case: Kind) -> None:
    groups = case.split({"filed_on": "2026-11-22", "party_name": "张三", "party_id": number("20200101")})[1]
    assert groups["party_masked"] == {"party_name": HIDDEN, "party_id": HIDDEN}


def test_nothing_to_mask_is_an_empty_group(case: Kind) -> None:
    assert masked(case, party_type="2") is None


def test_a_preview_shows_no_person_and_no_free_text(case: Kind) -> None:
    body = {
        "case_code": "C-1",
        "party_type": "2",
        "party_name": "张三",
        "party_id": number("19760213"),
        "party_id_type": "111",
        "legal_rep_name": "李四",
        "facts": "张三无证经营",
        "fine_yuan": "2000.00",
        "licence_no": "L-123456",
    }
    assert case.masked(body) == body | {
        "party_name": "张*",
        "party_id": mask_id(body["party_id"]),
        "legal_rep_name": "李*",
        "facts": "*** (6)",
        "licence_no": HIDDEN,
    }


def test_a_title_keeps_its_words_and_masks_the_party_it_names():
    mask = Mask(
        (("party_name", mask_name, False),),
        ("party_type", frozenset({"2"})),
        None,
        titles=("case_name",),
        names=("party_name",),
    )
    person = {"party_type": "2", "party_name": "欧阳小明", "case_name": "欧阳小明无证经营案"}
    assert mask.of(person) == {"party_name": "欧阳*", "case_name": "欧阳*无证经营案"}
    firm = {"party_type": "1", "party_name": "湖州某某有限公司", "case_name": "湖州某某有限公司超标排放案"}
    assert mask.of(firm) == {"party_name": firm["party_name"], "case_name": firm["case_name"]}


def test_a_title_is_hidden_where_nothing_tells_which_of_it_is_the_name():
    mask = Mask((), None, None, titles=("case_name",))
    assert mask.of({"case_name": "张三无证经营案"}) == {"case_name": HIDDEN}


def test_no_shipped_kind_shows_a_natural_persons_name_in_a_group_without_personal_data():
    kinds = load_kinds(Path(__file__).parents[2] / "config" / "kinds")
    where, random = generator.place("330483"), generator.seeded("titles")
    people = [p for p in generator.parties(random, where, 300) if p["party_type"] == generator.PERSON]
    for n, person in enumerate(people):
        for kind, body in (
            ("case/1", generator.case(random, where, person, n, date(2026, 11, 1), True)),
            ("inspection/1", generator.inspection(random, where, person, n, date(2026, 11, 1))),
        ):
            open_, groups = kinds[kind].split(body)
            shown = str([open_, *(fields for group, fields in groups.items() if group not in kinds[kind].personal)])
            assert person["party_name"] not in shown, kind


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("330483199003070015", "3***5"),
        ("2026-13-45", "2***5"),
        (13800001234, "1***4"),
        ("某某省某某市某某路1号", "某***号"),
        ("", ""),
        (None, ""),
        # Of these the ends would be most of it, or no shape.
        ("欧阳修", HIDDEN),
        ("张三无证经营", HIDDEN),
        (1234567, HIDDEN),
        (True, HIDDEN),
        (["13800001234"], HIDDEN),
        ({"姓名": "张三"}, HIDDEN),
        ("\u202e3304831990", HIDDEN),
        ("<script>alert(1)</script>", HIDDEN),
    ],
)
def test_a_value_that_nobody_knows_is_shown_by_its_shape(value: Any, shown: str) -> None:
    assert mask_shape(value) == shown


@given(st.one_of(st.text(), st.integers(), st.lists(st.text()), st.dictionaries(st.text(), st.text())))
def test_no_more_than_two_characters_of_any_value_are_shown(value: Any) -> None:
    shown = mask_shape(value)
    assert shown in ("", HIDDEN) or (len(shown) == 5 and shown[1:4] == HIDDEN and len(str(value)) >= 8)
