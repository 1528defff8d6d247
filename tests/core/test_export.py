"""What a city's system is handed: CSV that no spreadsheet runs, JSON lines, a view only to be read."""

import csv
import io
import json
import sqlite3
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.export import export_records, safe_cell
from hub.kinds import load_kinds

KINDS = load_kinds(Path(__file__).parents[2] / "config" / "kinds")
ROWS = {
    "case/1": [
        {"origin": "330483", "id": "A" * 22, "rev": 1, "stage": "09", "party_name": "=HYPERLINK(\"http://x\")",
         "facts": "第一行\n第二行,\"引号\"", "penalty_types": ["02", "03"],
         "hearing": False, "fine_yuan": "2000.00"},
        {"origin": "330521", "id": "A" * 22, "rev": 12, "stage": "12", "party_name": "@SUM(1)",
         "facts": "-1+2", "hearing": True},
        {"origin": "330521", "id": "B" * 22, "rev": 2, "stage": "12", "party_name": "张*"},
    ],
    "transfer/1": [{"origin": "330483", "id": "C" * 22, "rev": 1, "reminders": 3,
                    "materials": [{"name": "证", "pages": 2}]}],
}  # fmt: skip


def export(folder, how, rows=ROWS):
    return export_records(folder, how, lambda kind: iter(rows.get(kind, ())), KINDS)


@given(st.text(max_size=8))
def test_no_cell_begins_as_a_formula(text):
    cell = safe_cell(text)
    assert cell in (text, "'" + text)
    assert not cell.startswith(tuple("=+-@\t\r\n＝＋－＠"))


@pytest.mark.parametrize("sign", list("=+-@\t\r\n＝＋－＠"))
def test_each_sign_of_a_formula_is_covered(sign):
    assert safe_cell(sign + "1") == "'" + sign + "1"
    assert safe_cell([sign]) == json.dumps([sign], ensure_ascii=False)


def test_plain_values_stay_as_they_are():
    assert [safe_cell(value) for value in ("张*", "2000.00", 7, -7, True, False, None, "a=b")] == [
        "张*",
        "2000.00",
        7,
        -7,
        1,
        0,
        None,
        "a=b",
    ]


def test_csv_reads_back_row_for_row(tmp_path):
    assert [(each["kind"], each["records"]) for each in export(tmp_path, "csv")] == [
        ("case/1", 3),
        ("transfer/1", 1),
    ]
    raw = (tmp_path / "case_v1.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    read = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    assert [row["party_name"] for row in read] == ['\'=HYPERLINK("http://x")', "'@SUM(1)", "张*"]
    assert [row["facts"] for row in read] == ['第一行\n第二行,"引号"', "'-1+2", ""]
    assert json.loads(read[0]["penalty_types"]) == ["02", "03"] and read[0]["hearing"] == "0"
    assert "served_on" not in read[0], "a column that nobody fills is left out"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["case_v1.csv", "transfer_v1.csv"]


def test_json_lines_hold_every_value_unchanged(tmp_path):
    export(tmp_path, "json")
    for kind, rows in ROWS.items():
        lines = (tmp_path / f"{kind.replace('/', '_v')}.json").read_text().splitlines()
        assert [json.loads(line) for line in lines] == rows


@pytest.mark.parametrize("how", ["csv", "json", "sqlite"])
def test_files_are_private(tmp_path, how):
    export(tmp_path / "out", how)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").iterdir()}
    assert modes == {0o400 if how == "sqlite" else 0o600}


def read_view(path, sql, *values):
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return db.execute(sql, values).fetchall()
    finally:
        db.close()


def test_the_view_answers_and_takes_nothing(tmp_path):
    path = tmp_path / "records.sqlite"
    assert {each["file"] for each in export(tmp_path, "sqlite")} == {str(path)}
    assert read_view(path, "SELECT rev, party_name FROM case_v1 WHERE origin = ? ORDER BY rev", "330521") == [
        (2, "张*"),
        (12, "@SUM(1)"),
    ]
    assert read_view(path, "SELECT reminders, materials FROM transfer_v1") == [(3, '[{"name": "证", "pages": 2}]')]
    writer = sqlite3.connect(path)
    for sql in (
        "INSERT INTO case_v1(origin, id) VALUES ('a', 'b')",
        "DELETE FROM case_v1",
        "UPDATE case_v1 SET rev = 9",
    ):
        with pytest.raises(sqlite3.OperationalError):
            writer.execute(sql)
    writer.close()


@pytest.mark.parametrize("how", ["csv", "json", "sqlite"])
def test_what_may_no_longer_be_seen_goes_with_the_next_export(tmp_path, how):
    export(tmp_path, how)
    fewer = {"transfer/1": ROWS["transfer/1"]}
    assert [each["kind"] for each in export(tmp_path, how, fewer)] == ["transfer/1"]
    if how == "sqlite":
        assert read_view(tmp_path / "records.sqlite", "SELECT name FROM sqlite_master WHERE type = 'view'") == [
            ("transfer_v1",)
        ]
    for path in tmp_path.iterdir():
        assert "张*".encode() not in path.read_bytes()
    assert export(tmp_path, how, {}) == []
    assert not any("证".encode() in path.read_bytes() for path in tmp_path.iterdir())


def test_a_reader_of_the_view_keeps_what_it_opened(tmp_path):
    export(tmp_path, "sqlite")
    reader = sqlite3.connect(f"file:{tmp_path / 'records.sqlite'}?mode=ro", uri=True)
    assert reader.execute("SELECT count(*) FROM case_v1").fetchone() == (3,)
    export(tmp_path, "sqlite", {"case/1": ROWS["case/1"][:1]})
    assert reader.execute("SELECT count(*) FROM case_v1").fetchone() == (3,)
    reader.close()
    assert read_view(tmp_path / "records.sqlite", "SELECT count(*) FROM case_v1") == [(1,)]
