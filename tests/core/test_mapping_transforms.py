"""The transforms against independent readings of the same values, and the dirt of real tables."""

import datetime as dt
import unicodedata
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import transforms
from adapters.transforms import Bad, finder, kind_of, parse_json, zone_of

NULLS = frozenset({"", "— —", "无", "/", "undefined", "2099-12-31"})


def text(value, **rule):
    return transforms.text(rule, NULLS)(value)


def day(value, *formats):
    return transforms.day({"formats": formats} if formats else {}, NULLS)(value)


def moment(value, *formats, **rule):
    return transforms.moment({**rule, **({"formats": formats} if formats else {})}, NULLS)(value)


def money(value, unit="元"):
    return transforms.money({"unit": unit}, NULLS)(value)


# --- text ---


@given(st.text())
def test_text_is_trimmed_nfc_and_stays_as_it_is_the_second_time(value):
    once = text(value)
    expected = unicodedata.normalize("NFC", value.strip()).replace("\r\n", "\n").replace("\r", "\n")
    assert once == (None if expected in NULLS else expected)
    assert once is None or text(once) == once or once.strip() != once


@given(st.text(), st.sets(st.sampled_from(["blanks", "entities", "width", "brackets"])))
def test_folding_in_any_order_of_naming_is_one_folding(value, folds):
    ways = {repr(text(value, fold=order)) for order in (sorted(folds), sorted(folds, reverse=True))}
    assert len(ways) == 1


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        ({"strip_prefix": ["统一社会信用代码："]}, "统一社会信用代码：913304 ", "913304"),
        ({"strip_prefix": ["统一社会信用代码："], "fold": ["width"]}, "统一社会信用代码：９１３", "913"),
        ({"strip_suffix": ["（1/1）"]}, "91330400（1/1）", "91330400"),
        ({"strip_prefix": ["统一社会信用代码："]}, "统一社会信用代码：无", None),
        ({"fold": ["entities", "blanks"]}, "JOE&#39;S   BAR &amp;\u3000GRILL", "JOE'S BAR & GRILL"),
        ({"fold": ["width"]}, "ＡＢＣ　１２３", "ABC 123"),
        ({"fold": ["brackets"]}, "秀综执立[2017]【1】", "秀综执立〔2017〕〔1〕"),
        ({}, "undefined", None),
        ({}, "— —", None),
        ({}, "  ", None),
        ({}, None, None),
        ({}, 12, "12"),
        ({}, True, "true"),
        ({}, "a\r\nb\rc", "a\nb\nc"),
        ({}, "00123", "00123"),
    ],
)
def test_dirt_in_text(rule, value, expected):
    assert text(value, **rule) == expected


def test_text_is_kept_as_it_is_written_where_declared():
    assert text(" e\u0301  x\n ", exact=True) == " \u00e9  x\n "
    assert text(" 无 ", exact=True) is None
    with pytest.raises(Bad, match="at most 2"):
        text(" a ", exact=True, max=2)


@pytest.mark.parametrize("value", [["a"], {"a": 1}, b"a", 1.5])
def test_text_takes_scalars_only(value):
    with pytest.raises(Bad, match="expected text"):
        text(value)


def test_too_long_text_is_refused_by_its_length():
    with pytest.raises(Bad, match="at most 3 characters, found 4"):
        text("abcd", max=3)


# --- money: exact rational arithmetic as the oracle ---


@given(st.integers(0, 10**12), st.integers(0, 6), st.sampled_from(["元", "万元", "分"]))
def test_money_is_exact_or_refused(digits, places, unit):
    written = f"{digits}" if places == 0 else f"{digits / 10**places:.{places}f}"
    yuan = Fraction(written) * {"元": 1, "万元": 10_000, "分": Fraction(1, 100)}[unit]
    if (yuan * 100).denominator == 1 and yuan < 10**16:
        whole, part = divmod(int(yuan * 100), 100)
        assert money(written, unit) == f"{whole}.{part:02}"
    else:
        with pytest.raises(Bad):
            money(written, unit)


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        ("0.2", "万元", "2000.00"),
        ("2,000.00", "元", "2000.00"),
        ("１，０００", "元", "1000.00"),
        (250000, "分", "2500.00"),
        ("￥50", "元", "50.00"),
        (".5", "元", "0.50"),
        ("0", "元", "0.00"),
        ("— —", "元", None),
    ],
)
def test_money_as_people_write_it(value, unit, expected):
    assert money(value, unit) == expected


@pytest.mark.parametrize(
    "value",
    ["-1", "1e3", "1,00", "12,34.5", "一百", ".", "￥", "0.001", "1 000", "9" * 21, "1.2.3", ["1"]],
)
def test_what_is_no_amount_is_refused_without_saying_it(value):
    with pytest.raises(Bad) as caught:
        money(value)
    assert str(value) not in f"{caught.value.what} {caught.value.mend}" or len(str(value)) < 3


# --- dates ---

days = st.dates(min_value=dt.date(1000, 1, 1))


@given(days, st.sampled_from(["%Y-%m-%d", "%Y/%m/%d", "%Y年%m月%d日", "%d.%m.%Y", "%Y%m%d"]))
def test_a_date_in_any_declared_form_is_that_day(value, form):
    assert day(value.strftime(form), form) == value.isoformat()


@given(days)
def test_full_width_digits_are_digits(value):
    wide = value.isoformat().translate({ord(c): ord(c) + 0xFEE0 for c in "0123456789"})
    assert day(wide) == value.isoformat()


ERAS = {  # by the calendar: first and last day
    "昭和": (dt.date(1926, 12, 25), dt.date(1989, 1, 7)),
    "平成": (dt.date(1989, 1, 8), dt.date(2019, 4, 30)),
    "令和": (dt.date(2019, 5, 1), dt.date(2099, 12, 31)),
}


@given(st.data(), st.sampled_from(list(ERAS)), st.booleans(), st.booleans())
def test_era_dates_count_from_the_year_of_accession(data, era, short, first_as_word):
    start, end = ERAS[era]
    value = data.draw(st.dates(start, end))
    year = value.year - start.year + 1
    letter = {"昭和": "S", "平成": "H", "令和": "R"}[era]
    written = "元" if year == 1 and first_as_word else str(year)
    said = f"{letter}{written}.{value.month}.{value.day}" if short else f"{era}{written}年{value.month}月{value.day}日"
    assert day(said, "era-ja") == (None if value.isoformat() in NULLS else value.isoformat())


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("平成29年５月15日", "2017-05-15"),
        ("H28.10.4", "2016-10-04"),
        ("令和元年7月31日", "2019-07-31"),
        ("無", None),
    ],
)
def test_era_dates_of_the_real_publications(said, expected):
    if expected is None:
        with pytest.raises(Bad):
            day(said, "era-ja")
    else:
        assert day(said, "era-ja") == expected


@given(st.dates(dt.date(1900, 3, 1), dt.date(9999, 12, 31)))
def test_excel_serials_count_from_the_end_of_1899(value):
    assert day(str((value - dt.date(1899, 12, 30)).days), "excel") == value.isoformat()


@pytest.mark.parametrize(
    ("serial", "expected"),
    [("1", "1900-01-01"), ("59", "1900-02-28"), ("61", "1900-03-01"), ("45987.5", "2025-11-26")],
)
def test_excel_serials_around_the_day_that_never_was(serial, expected):
    assert day(serial, "excel") == expected


@pytest.mark.parametrize("serial", ["0", "60", "2958466"])
def test_excel_serials_that_are_no_day(serial):
    with pytest.raises(Bad, match="does not exist"):
        day(serial, "excel")


@pytest.mark.parametrize("value", ["2023-02-29", "2023-13-01", "0000-01-01"])
def test_a_day_that_does_not_exist_is_refused(value):
    with pytest.raises(Bad, match="does not exist"):
        day(value)


@pytest.mark.parametrize("value", ["2023/01/02", "20230102", "2023-1-2", "yesterday", "2023-01-02x", "2023-01-02\n1"])
def test_an_undeclared_form_is_refused(value):
    with pytest.raises(Bad, match="expected a date"):
        day(value)


def test_no_end_is_nothing():
    assert day("2099-12-31") is None


@given(st.datetimes(dt.datetime(1900, 1, 2), dt.datetime(2098, 1, 1)), st.integers(-12 * 4, 14 * 4))
def test_a_time_with_an_offset_is_brought_to_beijing_to_the_second(value, quarter):
    zone = dt.timezone(dt.timedelta(minutes=15 * quarter))
    aware = value.replace(tzinfo=zone)
    expected = aware.astimezone(dt.timezone(dt.timedelta(hours=8))).replace(microsecond=0).isoformat()
    assert moment(aware.isoformat()) == expected


@given(
    st.datetimes(dt.datetime(1000, 1, 1)),
    st.sampled_from(["%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M:%S", "%Y年%m月%d日 %H:%M:%S"]),
)
def test_bare_times_are_beijing_time(value, form):
    value = value.replace(microsecond=0)
    assert moment(value.strftime(form), form) == value.isoformat() + "+08:00"


def test_a_time_needs_an_hour_unless_declared():
    with pytest.raises(Bad):
        moment("2026-11-22")
    assert moment("2026-11-22", "%Y-%m-%d") == "2026-11-22T00:00:00+08:00"
    assert moment("2026-11-22T17:03", zone="+09:00") == "2026-11-22T17:03:00+09:00"


@pytest.mark.parametrize(
    "value",
    ["2026-11-22x17:03:11", "2026-11-22 24:00:00", "2026-11-22 17:60:11", "２０２６-11-22 17:03:1x"],
)
def test_times_that_are_none(value):
    with pytest.raises(Bad):
        moment(value)


@given(st.text(max_size=24))
def test_any_text_is_a_time_or_refused(value):
    for formats in ((), ("%Y-%m-%d %H:%M:%S", "iso"), ("era-ja", "excel")):
        try:
            found = moment(value, *formats)
        except Bad:
            continue
        assert found is None or dt.datetime.fromisoformat(found).utcoffset() == dt.timedelta(hours=8)


# --- codes, numbers, lists ---

TABLES = {"penalty": {"罚款": "02", "警告": "01", "（1）": "03"}}


def test_codes_are_a_set_in_one_order():
    codes = transforms.codes({"split": ["；", "、"], "table": "penalty"}, NULLS, TABLES)
    assert codes("罚款；警告、罚款；无；") == ["01", "02"]
    assert codes(["罚款", "无"]) == ["02"]
    assert codes("无") is None
    first = codes("罚款；警告")
    first.append("spoiled by its user")
    assert codes("罚款；警告") == ["01", "02"]


def test_an_unknown_code_is_refused_omitted_or_replaced():
    for rule, expected in (({"else": "omit"}, None), ({"else": "99"}, "99")):
        assert transforms.code({"table": "penalty", **rule}, NULLS, TABLES)("吊销") == expected
    with pytest.raises(Bad, match="not in the table penalty") as caught:
        transforms.code({"table": "penalty"}, NULLS, TABLES)("吊销")
    assert "吊销" not in str(caught.value) + caught.value.mend
    assert transforms.code({"table": "penalty", "fold": ["width"]}, NULLS, TABLES)("(1)") == "03"


@pytest.mark.parametrize(("value", "expected"), [("12", 12), ("１２", 12), ("-3", -3), (7, 7), ("", None), ("/", None)])
def test_whole_numbers(value, expected):
    assert transforms.integer({}, NULLS)(value) == expected


@pytest.mark.parametrize("value", ["1.0", "1_000", "9007199254740992", "１.", "٣", "1e3", "true"])
def test_what_is_no_whole_number(value):
    with pytest.raises(Bad):
        transforms.integer({}, NULLS)(value)


def test_booleans_by_their_spelling():
    read = transforms.boolean({"yes": ["有", "1"], "no": ["0", "没有"]}, NULLS)
    assert [read(v) for v in ("有", 1, "没有", 0, "无")] == [True, True, False, False, None]
    with pytest.raises(Bad, match="yes or no"):
        read("也许")
    assert transforms.boolean({}, NULLS)(True) is True


def test_lists_keep_order_and_repeats():
    assert transforms.texts({"split": ["，", ","]}, NULLS)("乙, 甲，乙,，无") == ["乙", "甲", "乙"]


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("秀综执立[2017]第1-001号", "秀综执立〔2017〕第1-001号"),
        ("浙桐 罚决字【２０２３】第０００００１号", "浙桐罚决字〔2023〕第000001号"),
        ("湖市监罚（2021）3－12号", "湖市监罚〔2021〕3-12号"),
        ("安综执罚〔2022〕第7号", "安综执罚〔2022〕第7号"),
        ("某局（复）罚(2020)1号", "某局(复)罚〔2020〕1号"),
    ],
)
def test_document_numbers_have_one_normal_form(written, normal):
    number = transforms.doc_no({}, NULLS)
    assert number(written) == normal
    assert number(normal) == normal


# --- nested ---


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_that_python_writes_is_read(value):
    import json

    def as_text(found):  # numbers beyond 18 digits come as text
        if isinstance(found, bool) or not isinstance(found, int):
            return (
                {k: as_text(v) for k, v in found.items()}
                if isinstance(found, dict)
                else [as_text(v) for v in found]
                if isinstance(found, list)
                else found
            )
        return found if len(str(found)) <= 18 else str(found)

    assert parse_json(json.dumps(value)) == as_text(value)


@pytest.mark.parametrize(
    "bad", ['{"a":1,"a":2}', "NaN", "[Infinity]", '{"a":', "[" * 100_000, "", "1 2", "9" * 5000 + "x"]
)
def test_json_that_is_none(bad):
    with pytest.raises(ValueError):
        parse_json(bad)


def test_numbers_with_a_point_stay_text():
    assert parse_json('{"a": 0.20, "b": 1E2, "c": 3, "d": 12345678901234567890}') == {
        "a": "0.20",
        "b": "1E2",
        "c": 3,
        "d": "12345678901234567890",
    }


def test_paths():
    nested = {"a": {"b": [{"c": 1}, {"c": 2}]}, "名": {"称": "x"}}
    assert finder("a.b[1].c")(nested) == 2
    assert finder("名.称")(nested) == "x"
    assert finder("a.z.c")(nested) is None
    assert finder("a")("text") is None
    for bad in ("a.[", "", "a b"):
        with pytest.raises(ValueError):
            finder(bad)


@pytest.mark.parametrize("bad", ["8", "+8:00", "+08:60", "Z", "+15:00", "Asia/Shanghai"])
def test_zones_are_fixed_offsets(bad):
    with pytest.raises(ValueError):
        zone_of(bad)


def test_kinds_of_values_never_say_the_value():
    assert kind_of("秘密") == "text of 2 characters"
    assert kind_of([1, 2]) == "a list of 2"
    assert kind_of({"秘": 1}) == "a map"
