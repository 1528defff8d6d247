"""The record generator: the same seed gives the same records, whose codes and dates could be real ones."""

import csv
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.cn import ric
from stdnum.cn import uscc as stdnum_uscc

from adapters.sample import generator
from adapters.sample.generator import place, seeded

TODAY = date(2026, 11, 24)


def cases(seed: str, n: int = 40, decided: bool = False) -> list[generator.Body]:
    random, where = seeded(seed), place("330483")
    people = generator.parties(random, where, 10)
    return [generator.case(random, where, random.choice(people), i, TODAY, decided) for i in range(1, n + 1)]


def inspections(seed: str, n: int = 40) -> list[generator.Body]:
    random, where = seeded(seed), place("330523")
    people = generator.parties(random, where, 10)
    return [generator.inspection(random, where, random.choice(people), i, TODAY) for i in range(1, n + 1)]


@given(
    kind=st.sampled_from(("11", "91", "92")),
    region=st.sampled_from(("330483", "341882")),
    serial=st.integers(0, 10**8 - 1),
)
def test_credit_codes_have_right_check_characters(kind: str, region: str, serial: int) -> None:
    code = generator.uscc(kind, region, f"{serial:08d}")
    assert stdnum_uscc.is_valid(code)
    assert not stdnum_uscc.is_valid(code[:-1] + ("0" if code[-1] != "0" else "1"))


@given(born=st.dates(date(1930, 1, 1), date(2020, 1, 1)), serial=st.integers(0, 999))
def test_resident_ids_have_right_check_characters(born: date, serial: int) -> None:
    number = generator.resident_id("330521", born, serial)
    assert ric.calc_check_digit(number) == number[-1]
    assert ric.get_birth_date(number) == born


def test_the_same_seed_gives_the_same_records() -> None:
    assert cases("a") == cases("a") != cases("b")
    assert inspections("a") == inspections("a") != inspections("b")


def test_a_publicity_table_holds_only_decided_cases() -> None:
    assert all("decided_on" in body and "doc_no" in body for body in cases("publicity", decided=True))
    assert any("decided_on" not in body for body in cases("book"))


def test_the_events_of_a_case_follow_one_another_and_lie_in_the_past() -> None:
    for body in cases("order", 200):
        days = [body[name] for name in ("filed_on", "decided_on", "served_on", "closed_on") if name in body]
        assert days == sorted(days)
        assert body["filed_on"] <= TODAY.isoformat()
        assert days[-1] <= TODAY.isoformat()


def test_penalties_and_amounts_agree() -> None:
    for body in cases("penalties", 200, decided=True):
        assert ("02" in body["penalty_types"]) == ("fine_yuan" in body)
        assert ("03" in body["penalty_types"]) == ("confiscated_income_yuan" in body)
        assert body["penalty_types"] == sorted(set(body["penalty_types"]))


def test_document_numbers_are_misspelt_yet_keep_their_right_form() -> None:
    spelt = [(body["doc_no"], body["doc_no_norm"]) for body in cases("numbers", 200, decided=True)]
    assert all("〔" in norm and "〕" in norm and " " not in norm for _, norm in spelt)
    assert all(any(mark in original for original, _ in spelt) for mark in ("[", "【", " 〔"))
    assert any("-" in norm for _, norm in spelt)
    assert any(original == norm for original, norm in spelt)


def test_an_inspection_has_two_officers_and_is_reported_after_it_took_place() -> None:
    for body in inspections("officers", 200):
        assert len({officer["name"] for officer in body["officers"]}) >= 2
        assert body["checked_at"] < body["reported_at"]


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("year") / "huzhou.csv"
    generator.write_huzhou_year(path, 5_000)
    return path


def test_a_year_of_huzhou_holds_every_department_item_and_town(year: Path) -> None:
    with year.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5_000
    assert len({row["implement_institution"] for row in rows}) == 39
    assert len({row["supervise_item_implement_code"] for row in rows}) == 4_038
    assert len({row["area_number"] for row in rows}) == 72
    assert len({row["check_action_code"] for row in rows}) == 5_000
    times = [row["check_date"] for row in rows]
    assert times == sorted(times) and times[0][:4] == times[-1][:4] == "2025"


def test_a_year_of_huzhou_is_the_same_file_every_time(year: Path, tmp_path: Path) -> None:
    generator.write_huzhou_year(tmp_path / "again.csv", 5_000)
    assert (tmp_path / "again.csv").read_bytes() == year.read_bytes()
    generator.write_huzhou_year(tmp_path / "other.csv", 5_000, seed=2)
    assert (tmp_path / "other.csv").read_bytes() != year.read_bytes()
