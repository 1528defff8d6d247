"""A city's file: its shape, what contradicts itself, and what its sample says about it."""

from datetime import timedelta
from decimal import Decimal

import pytest

from adapters.base import Look
from adapters.declaration import Declaration, lint, load
from adapters.declared import DeclarationError

CITY = """\
code: "330483"
name: {zh: 桐乡市, en: Tongxiang}
connection: {directory: drops, access_key: env:TX_KEY}
feeds:
  - feed: cases
    kind: case/1
    transport: table_file
    source: {pattern: "CF_*.csv", format: csv}
    completeness: snapshot
    key: [case_code]
    null: [无]
    tables: {penalty: {罚款: "02"}}
    map:
      case_code: {from: AJBH}
      penalty_types: {from: LB, as: codes, split: "；", table: penalty}
      fine_yuan: {from: FK, as: money, unit: 万元}
    ignore: [BZ]
    sample: cases.csv
"""
SAMPLE = "AJBH,LB,FK,BZ\n1,罚款,0.2,\n2,无,,x\n"
KINDS = {"case/1": ["case_code", "penalty_types", "fine_yuan"]}


@pytest.fixture
def city(tmp_path):
    def write(*changes: tuple[str, str], sample: str | None = SAMPLE):
        text = CITY
        for old, new in changes:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        (tmp_path / "330483.yaml").write_text(text, encoding="utf-8")
        if sample is not None:
            (tmp_path / "cases.csv").write_text(sample, encoding="utf-8")
        return tmp_path / "330483.yaml"

    return write


def problems(path) -> list[str]:
    with pytest.raises(DeclarationError) as caught:
        load(path)
    return caught.value.problems


def test_a_declaration_is_read(city):
    declared = load(
        city(
            (
                "completeness: snapshot",
                'completeness: snapshot\n    expect: {min_rows: 1, max_loss: "0.65"}',
            )
        )
    )
    assert isinstance(declared, Declaration)
    [feed] = declared.feeds
    assert (declared.code, feed.name, feed.kind, feed.absent, feed.duplicates) == (
        "330483",
        "cases",
        "case/1",
        "retract",
        "refuse",
    )
    assert (feed.key, feed.origins, feed.window, feed.completeness) == (
        ("case_code",),
        ("330483",),
        None,
        "snapshot",
    )
    assert feed.expect == (1, None, Decimal("0.65"))
    assert lint(declared, KINDS) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('code: "330483"', "code: 330483", "1: code: a code written as a number; put it in quotes"),
        ("env:TX_KEY", "s3cret", "3: connection.access_key: a literal secret; write env:NAME"),
        (
            "directory: drops",
            "database: postgresql://u:s3cret@h/db",
            "3: connection.database: a password in the address",
        ),
        ("directory: drops", "base_url: ftp://h", "3: connection.base_url: expected an address"),
        ("transport: table_file", "transport: tabel_file", "7: feeds.0.transport: expected one of"),
        ("format: csv", "fromat: csv", "8: feeds.0.source.fromat: unknown key; did you mean format?"),
        ('"CF_*.csv"', '"../*.csv"', "8: feeds.0.source.pattern: expected a file name"),
        (
            "key: [case_code]",
            "key: [case_cod]",
            "10: feeds.0.key.0: is not mapped; did you mean case_code?",
        ),
        ("key: [case_code]", "key: [ordinal]", "10: feeds.0.key.0: is not mapped"),
        ("completeness: snapshot", "completeness: window", "9: feeds.0.completeness: window: goes with"),
        (
            "completeness: snapshot",
            "completeness: snapshot\n    window: {field: x, days: 3}",
            "9: feeds.0.completeness: window: goes with",
        ),
        (
            "table: penalty",
            "table: penalyt",
            "15: feeds.0.map.penalty_types.table: unknown table; did you mean penalty?",
        ),
        (", table: penalty", "", "12: feeds.0.tables.penalty: is not used"),
        (
            "as: money",
            "as: mony",
            "16: feeds.0.map.fine_yuan.as: unknown transform; did you mean money?",
        ),
        ("unit: 万元", "unit: 亿元", "16: feeds.0.map.fine_yuan.unit: expected one of 元, 万元, 分"),
        ("unit: 万元", "unti: 万元", "16: feeds.0.map.fine_yuan.unti: unknown key; did you mean unit?"),
        (
            "{from: AJBH}",
            "{from: [AJBH, X]}",
            "14: feeds.0.map.case_code: reads several columns; say how",
        ),
        (
            "{from: AJBH}",
            "{from: AJBH, first: true}",
            "14: feeds.0.map.case_code.first: is for several columns",
        ),
        (
            "{from: AJBH}",
            "{as: const, value: x, from: A}",
            "14: feeds.0.map.case_code: a const reads no column",
        ),
        ("{from: AJBH}", "{as: date}", "14: feeds.0.map.case_code: says no column"),
        ("{from: AJBH}", "{from: A, as: date, formats: [%y]}", "14: "),
        (
            "{from: AJBH}",
            '{from: A, as: date, formats: ["%y-%m-%d"]}',
            "14: feeds.0.map.case_code.formats.0: expected iso",
        ),
        (
            "{from: AJBH}",
            '{from: A, as: pick, path: "a.["}',
            "14: feeds.0.map.case_code.path: not a JMESPath",
        ),
        (
            "{from: AJBH}",
            "{from: A, as: pick, path: a, then: {as: dat}}",
            "14: feeds.0.map.case_code.then.as: unknown transform; did you mean date?",
        ),
        (
            "{from: AJBH}",
            "{from: A, as: objects, parts: {name: -1}}",
            "14: feeds.0.map.case_code.parts.name: expected a place",
        ),
        ("{from: AJBH}", "{from: A, exact: true, fold: [width]}", "14: feeds.0.map.case_code.exact: keeps"),
        ("{from: AJBH}", "AJBH", "14: feeds.0.map.case_code: expected keys and values"),
        ("ignore: [BZ]", "ignore: [FK]", "17: feeds.0.ignore.0: is mapped too"),
        ("null: [无]", "null: [无, 0]", "11: feeds.0.null.1: expected text"),
        (
            "completeness: snapshot",
            'completeness: snapshot\n    expect: {max_loss: "1.5"}',
            "10: feeds.0.expect.max_loss: expected a part",
        ),
    ],
)
def test_every_mistake_is_told_with_its_line(city, old, new, expected):
    found = problems(city((old, new)))
    assert any(problem.startswith(f"330483.yaml:{expected}") for problem in found), found
    assert "s3cret" not in "".join(found)


def test_all_mistakes_are_told_at_once(city):
    assert len(problems(city(("as: money", "as: mony"), ("ignore: [BZ]", "ignore: [LB]"), ("[case_code]", "[x]")))) == 3


def test_feeds_have_names_of_their_own(city):
    path = city()
    feed = CITY[CITY.index("  - feed") :]
    path.write_text(CITY + feed, encoding="utf-8")
    assert any("feeds.1.feed: this name stands twice" in problem for problem in problems(path))


def test_ordinal_belongs_to_whole_reads(city):
    assert load(city(("key: [case_code]", "key: [case_code, ordinal]"))).feeds[0].key == (
        "case_code",
        "ordinal",
    )
    found = problems(city(("key: [case_code]", "key: [case_code, ordinal]"), ("snapshot", "delta")))
    assert "feeds.0.key.1: ordinal counts within a whole read" in found[0]


def test_a_feed_of_several_origins_names_them(city):
    declared = load(
        city(
            (
                'penalty: {罚款: "02"}',
                'penalty: {罚款: "02"}, bureau: {甲: jp-02, 乙: jp-01, 丙: jp-02}',
            ),
            ("key: [case_code]", "key: [case_code]\n    origin: {from: JG, table: bureau}"),
        )
    )
    assert declared.feeds[0].origins == ("jp-01", "jp-02")


# --- lint ---


@pytest.mark.parametrize(
    ("changes", "sample", "expected"),
    [
        (
            [],
            SAMPLE.replace("BZ", "BZ,NEW").replace("0.2,", "0.2,,").replace(",x", ",x,"),
            "330483.yaml:13: feeds.0.map: column NEW is neither",
        ),
        (
            [("ignore: [BZ]", "ignore: [BZ, BY]")],
            SAMPLE,
            "330483.yaml:17: feeds.0.ignore.1: no column BY in the sample",
        ),
        ([], SAMPLE.replace("0.2", "canary"), "cases.csv:2: FK: fine_yuan: expected an amount in 万元"),
        ([], SAMPLE + "1,罚款,0.3,\n", "cases.csv:4: has the key (case_code) of another row above"),
        ([], SAMPLE.replace("FK", "FKJE"), "cases.csv:1: no column FK"),
        ([], SAMPLE + "1,2\n", "cases.csv:4: 2 cells where the header has 4"),
        ([], "AJBH,LB,FK,BZ\n", "330483.yaml:18: feeds.0.sample: holds no rows"),
        ([], None, "cases.csv: the sample is missing"),
        (
            [("case/1", "case/2")],
            SAMPLE,
            "330483.yaml:6: feeds.0.kind: unknown kind; did you mean case/1?",
        ),
        (
            [("fine_yuan", "fine_yaun")],
            SAMPLE,
            "330483.yaml:16: feeds.0.map.fine_yaun: is no field of case/1; did you mean fine_yuan?",
        ),
        ([("    sample: cases.csv\n", "")], SAMPLE, "330483.yaml:5: feeds.0: has no sample"),
    ],
)
def test_lint_says_what_the_sample_tells(city, changes, sample, expected):
    found = lint(load(city(*changes, sample=sample)), KINDS)
    assert any(problem.startswith(expected) for problem in found), found
    assert "canary" not in "".join(found)


def test_repeated_rows_with_one_content_are_no_finding(city):
    assert lint(load(city(sample=SAMPLE + "1,罚款,0.2,\n")), KINDS) == []


# --- connections ---


def opened(declared, connection, secret=lambda reference: reference):
    return declared.feeds[0].source(connection, secret, now=lambda: None)


def test_overrides_win_key_by_key_and_relative_folders_start_at_the_file(city, tmp_path):
    declared = load(city())
    (tmp_path / "drops").mkdir()
    (tmp_path / "drops" / "CF_1.csv").write_text(SAMPLE, encoding="utf-8")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "CF_1.csv").write_text(SAMPLE + "3,,,\n", encoding="utf-8")
    assert [len(page.rows) for page in opened(declared, {}).pages(None)] == [2]
    assert [len(page.rows) for page in opened(declared, {"directory": str(tmp_path / "elsewhere")}).pages(None)] == [3]


def test_a_missing_or_literal_connection_value_is_a_look(city):
    declared = load(city(("directory: drops, ", "")))
    with pytest.raises(Look, match=r"330483 cases: connection\.directory is missing"):
        list(opened(declared, {}).pages(None))


def test_a_secret_that_cannot_be_had_is_named_by_its_reference_only(city):
    def fails(reference: str) -> str:
        raise KeyError("hunter2")

    with pytest.raises(Look) as caught:
        list(opened(load(city(("directory: drops", "directory: env:DROPS"))), {}, fails).pages(None))
    assert "env:DROPS" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_lengths_of_time(city):
    declared = load(
        city(
            ("table_file", "http_json"),
            ('{pattern: "CF_*.csv", format: csv}', "{path: /a, records: rows, timeout: 10 seconds}"),
        )
    )
    assert declared.feeds[0].options["timeout"] == timedelta(seconds=10)
