"""Check digits and days, held to the package python-stdnum and to the calendar."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.cn import ric
from stdnum.cn import uscc as oracle

from hub.kinds.checkdigits import (
    birth_date,
    is_authority_uscc,
    is_birthplace,
    is_date,
    is_resident_id,
    is_uscc,
)

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
stems = st.builds(
    str.__add__,
    st.text("0123456789", min_size=8, max_size=8),
    st.text(ALPHABET, min_size=9, max_size=9),
)


@given(stems, st.sampled_from(ALPHABET))
def test_a_credit_code_is_right_where_stdnum_says_so(stem: str, check: str) -> None:
    assert is_uscc(stem + check) is oracle.is_valid(stem + check)
    assert is_uscc(stem + oracle.calc_check_digit(stem))


@given(stems, st.integers(0, 17), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_always_seen(stem: str, place: int, other: str) -> None:
    right = stem + oracle.calc_check_digit(stem)
    wrong = right[:place] + other + right[place + 1 :]
    assert is_uscc(wrong) is (wrong == right)


@given(st.text(max_size=20))
def test_any_text_is_no_credit_code_unless_stdnum_says_so(text: str) -> None:
    assert not is_uscc(text) or oracle.is_valid(text)
    assert is_authority_uscc(text) is is_uscc(text)


def test_rural_collectives_begin_with_a_letter() -> None:
    stem = "N2330483MF1234567"
    check = next(c for c in ALPHABET if is_uscc(stem + c))
    assert is_uscc(stem + check) and not is_uscc(stem + check.lower() + "0")


@pytest.mark.parametrize("text", ["", "9133", "91330483MA28A1B2I0", "９1330483MA28A1B2CE", "91330483MA28A1B2Ce"])
def test_what_is_no_credit_code(text: str) -> None:
    assert not is_uscc(text)


born = st.dates(date(1900, 1, 1), date(2100, 12, 31))


@given(born, st.integers(0, 999), st.sampled_from("0123456789X"))
def test_an_identity_number_is_right_where_stdnum_says_so(day: date, serial: int, check: str) -> None:
    # 110000 is a place stdnum knows for every year; the birthplace is no matter here.
    stem = f"110000{day:%Y%m%d}{serial:03}"
    right = stem + ric.calc_check_digit(stem + "0")
    assert is_resident_id(right)
    assert is_resident_id(stem + check) is (check == right[-1])
    assert birth_date(right) == day.isoformat()


@given(st.text("0123456789X", min_size=18, max_size=18))
def test_no_number_is_right_that_stdnum_calls_wrong(text: str) -> None:
    try:
        ric.validate(text)
    except ric.InvalidComponent:
        return  # a birthplace that is none, which only warns here, or no day
    except ric.ValidationError:
        assert not is_resident_id(text)
    else:
        assert is_resident_id(text)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("330483760213121", True),
        ("330483760230121", False),  # 30 February
        ("33048376021312X", False),
        ("33048319760213121x", False),
        ("３３0483760213121", False),
        ("", False),
    ],
)
def test_old_and_odd_identity_numbers(text: str, right: bool) -> None:
    assert is_resident_id(text) is right
    assert (birth_date(text) == "1976-02-13") is right


def test_counties_that_did_not_exist_at_birth_are_no_error() -> None:
    # 341882 was made in 2019; python-stdnum refuses a man born there in 1976.
    stem = "34188219760213121"
    number = stem + ric.calc_check_digit(stem + "0")
    assert is_resident_id(number) and is_birthplace(number) and not ric.is_valid(number)
    assert not is_birthplace("99" + number[2:])


def test_every_day_of_two_centuries_is_a_day() -> None:
    first = date(1900, 1, 1)
    days = [(first + timedelta(n)).isoformat() for n in range((date(2101, 1, 1) - first).days)]
    assert all(map(is_date, days)) and all(map(is_date, days))


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-29",
        "2026-02-30",
        "2026-13-01",
        "2026-00-10",
        "2026-1-01",
        "20260101",
        "2026/01/01",
        "1899-12-31",
        "2101-01-01",
        "2026-01-01\n",
        "２026-01-01",
        "",
        "2026-01-0a",
        "+026-01-01",
        "2026--1-01",
        "20260101--",
    ],
)
def test_what_is_no_day(text: str) -> None:
    assert not is_date(text)
