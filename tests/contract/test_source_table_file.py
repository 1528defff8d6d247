"""CSV, TSV and XLSX drops keep the contract of sources, and are read strictly."""

import csv
import io
import struct
import zipfile
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_contract import CANARY, NOW, SourceContract, everything, no_secret, refused, rows_of

from adapters import table_file
from adapters.base import FAULT, Look, Retry
from adapters.connection import Connection
from adapters.files import natural
from adapters.table_file import CELL, cell_text


def reading(folder: Path, columns=("id",), **options):
    options = {"pattern": "CF_*", "format": "csv", **options}
    connection = Connection("330483 cases", {"directory": str(folder)}, no_secret, lambda: NOW, folder)
    return table_file.source(table_file.SourceYaml().load(options), connection, set(columns))


class Folder:
    """A folder that a city drops files into."""

    incremental = False

    def __init__(self, folder: Path, form: str, encoding: str = "utf-8-sig") -> None:
        self.folder, self.form, self.encoding = folder, form, encoding
        self.columns = ["id", "name", "at"]

    @property
    def path(self) -> Path:
        return self.folder / f"CF_1.{self.form}"

    def put(self, rows):
        table = [self.columns, *(list(row.values()) for row in rows)]
        if self.form == "xlsx":
            book = openpyxl.Workbook(write_only=True)
            sheet = book.create_sheet("台账")
            for row in table:
                sheet.append([openpyxl.cell.WriteOnlyCell(sheet, value=cell) for cell in row])
            book.save(self.path)
            return
        out = io.StringIO()
        csv.writer(out, delimiter="," if self.form == "csv" else "\t").writerows(table)
        self.path.write_bytes(out.getvalue().encode(self.encoding))

    def source(self, **options):
        return reading(self.folder, **{"format": self.form, "encodings": ["utf-8-sig", "gb18030"], **options})

    def ruin(self):
        self.path.write_bytes(b"id,name\n" + CANARY.encode() + b"\x80\xff\n")

    def go(self):
        self.path.unlink()


class TestCsv(SourceContract):
    @pytest.fixture
    def city(self, tmp_path):
        return Folder(tmp_path, "csv")


class TestTsvInGb18030(SourceContract):
    @pytest.fixture
    def city(self, tmp_path):
        return Folder(tmp_path, "tsv", "gb18030")


class TestXlsx(SourceContract):
    many = 1_200

    @pytest.fixture
    def city(self, tmp_path):
        return Folder(tmp_path, "xlsx")

    def test_every_row_comes_in_order_as_it_stands(self, city):
        rows = rows_of(3)
        city.put(rows)
        assert everything(city.source())[0] == rows


# --- which files ---


def write(folder: Path, name: str, content: bytes = b"id\n1\n") -> None:
    (folder / name).write_bytes(content)


def test_the_newest_is_the_last_by_name_with_numbers_as_numbers(tmp_path):
    for n in (1, 2, 10):
        write(tmp_path, f"CF_{n}.csv", f"id\n{n}\n".encode())
    assert everything(reading(tmp_path))[0] == [{"id": "10"}]
    assert everything(reading(tmp_path, pick="all"))[0] == [{"id": "1"}, {"id": "2"}, {"id": "10"}]
    assert natural("CF_2a") < natural("CF_10") < natural("CG_1")


def test_a_folder_without_a_drop_is_for_later(tmp_path):
    with refused(Retry, "no file CF_*"):
        everything(reading(tmp_path))
    with refused(Retry, "its folder cannot be read"):
        everything(reading(tmp_path / "gone"))


def test_links_out_of_the_folder_and_what_is_no_file_are_refused(tmp_path):
    (tmp_path / "drops").mkdir()
    write(tmp_path, "CF_elsewhere")
    (tmp_path / "drops" / "CF_1").symlink_to(tmp_path / "CF_elsewhere")
    with refused(Look, "a link out of its folder"):
        everything(reading(tmp_path / "drops"))
    (tmp_path / "drops" / "CF_2").mkdir()
    with refused(Look, "no plain file"):
        everything(reading(tmp_path / "drops"))


# --- delimited text ---


@given(
    rows=st.lists(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\0\r\ufeff")),
            min_size=3,
            max_size=3,
        ).filter(any),
        max_size=8,
    ),
    encoding=st.sampled_from(["utf-8-sig", "utf-8", "gb18030", "utf-16"]),
    form=st.sampled_from(["csv", "tsv"]),
)
def test_any_table_written_by_the_book_is_read_cell_by_cell(tmp_path_factory, rows, encoding, form):
    folder = tmp_path_factory.mktemp("table")
    out = io.StringIO()
    csv.writer(out, delimiter="," if form == "csv" else "\t", quoting=csv.QUOTE_ALL).writerows([["a", "b", "c"], *rows])
    write(folder, "CF_1", out.getvalue().encode(encoding))
    found, _ = everything(reading(folder, ("a",), format=form, encodings=[encoding]))
    assert [list(row.values()) for row in found] == rows


def test_a_row_stands_where_it_begins(tmp_path):
    write(tmp_path, "CF_1", b'id,name\r\n1,"a\r\nb\tc"\r\n\r\n2,x\r\n')
    [page] = reading(tmp_path).pages(None)
    assert [(row.where, row.data["id"]) for row in page.rows] == [("CF_1:2", "1"), ("CF_1:5", "2")]
    assert page.rows[0].data["name"] == "a\r\nb\tc"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("2", "1 cells where the header has 2"),
        ("2,a,b", "3 cells where the header has 2"),
        ("2,a\0b", "a NUL character"),
        ('2,"a"b', "text after a closing quote"),
    ],
)
def test_a_broken_row_is_faulty_and_the_others_go_on(tmp_path, line, words):
    write(tmp_path, "CF_1", f"id,name\n1,x\n{line}\n3,z\n".encode())
    [page] = reading(tmp_path).pages(None)
    assert [row.data.get("id") for row in page.rows] == ["1", None, "3"]
    assert page.rows[1] == ({FAULT: words}, "CF_1:3")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f'id,name\n1,x\n2,"{CANARY}\n3,z\n', "CF_1:3: a quoted cell without its end"),
        (f'id,name\n1,"{CANARY * 60_000}"\n', "CF_1:2: a quoted cell without its end"),
        (CANARY * 300_000, "a line of more than"),
        ("", "no header line"),
        (f"name,at\n{CANARY},2\n", "CF_1:1: no column id"),
        (f"id,id\n{CANARY},2\n", "a column stands twice"),
        (f"{CANARY},{CANARY},2\n", "a column stands twice"),
        (f"id,,x\n{CANARY},2,3\n", "empty or too many columns"),
    ],
)
def test_a_broken_file_is_refused_whole(tmp_path, content, words):
    write(tmp_path, "CF_1", content.encode())
    assert len(CANARY) * 60_000 > CELL
    with refused(Look, words):
        everything(reading(tmp_path, encodings=["utf-8"]))


def test_encodings_are_tried_strictly_and_in_order(tmp_path):
    write(tmp_path, "CF_1", "id,名称\n1,联通\n".encode("gb18030"))
    assert everything(reading(tmp_path, encodings=["utf-8-sig", "gb18030"]))[0] == [{"id": "1", "名称": "联通"}]
    with refused(Look, "not readable as utf-8-sig"):
        everything(reading(tmp_path, encodings=["utf-8-sig"]))


def test_damaged_utf_8_is_never_read_as_gb18030(tmp_path):
    whole = ("id,name\n" + "".join(f"{n},行政处罚决定书\n" for n in range(9))).encode()
    write(tmp_path, "CF_1", whole[:-3])  # cut within the last character
    with refused(Look, "CF_1:10: UTF-8 that is damaged or cut off"):
        everything(reading(tmp_path, encodings=["utf-8-sig", "gb18030"]))


def test_of_each_encoding_it_is_said_in_which_line_it_broke(tmp_path):
    rows = "id,name\n" + "".join(f"{n},行政处罚决定书\n" for n in range(9))
    write(tmp_path, "CF_1", rows.encode("gb18030")[:-2])  # cut within the last character
    with refused(Look, "not readable as utf-8-sig (line 2) or gb18030 (line 10)"):
        everything(reading(tmp_path, encodings=["utf-8-sig", "gb18030"]))


def test_nothing_is_given_of_a_file_whose_end_is_in_another_encoding(tmp_path):
    write(tmp_path, "CF_1", b"id,name\n" + b"1,plain\n" * 5_000 + "2,甲".encode("gb18030"))
    pages = reading(tmp_path, encodings=["utf-8-sig"]).pages(None)
    with refused(Look, "not readable"):
        next(pages)


def test_a_header_below_a_title(tmp_path):
    write(tmp_path, "CF_1", "某市台账,\nid,name\n1,x\n".encode())
    assert everything(reading(tmp_path, header_row=2))[0] == [{"id": "1", "name": "x"}]


def test_blank_lines_and_blank_columns_behind_the_table_are_no_rows(tmp_path):
    write(tmp_path, "CF_1", b"id,name,,\n1,x,,\n,,,\n\n2,y,,z\n3,z\n")
    [page] = reading(tmp_path).pages(None)
    assert [row.where for row in page.rows] == ["CF_1:2", "CF_1:5", "CF_1:6"]
    assert page.rows[0].data == {"id": "1", "name": "x"}
    assert [FAULT in row.data for row in page.rows] == [False, True, True]


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    write(tmp_path, "CF_1", "\ufeffid,name\n1,x\n".encode())
    assert everything(reading(tmp_path, encodings=["utf-8"]))[0] == [{"id": "1", "name": "x"}]


def test_too_many_rows_are_refused(tmp_path):
    write(tmp_path, "CF_1", b"id\n" + b"1\n" * 11)
    with refused(Look, "more than 10 rows"):
        everything(reading(tmp_path, max_rows=10))


# --- workbooks ---


def test_cells_become_their_plain_spelling(tmp_path):
    import datetime as dt

    book = openpyxl.Workbook()
    book.active.append(["id", "n", "f", "t", "d", "b", "none"])
    book.active.append(["00123", 12, 0.2, dt.datetime(2026, 11, 22, 17, 3, 11), dt.date(2026, 11, 22), True, None])
    book.save(tmp_path / "CF_1.xlsx")
    [row] = everything(reading(tmp_path, format="xlsx"))[0]
    assert row == {
        "id": "00123",
        "n": "12",
        "f": "0.2",
        "t": "2026-11-22 17:03:11",
        "d": "2026-11-22",
        "b": "true",
        "none": "",
    }


@given(st.floats())
def test_numbers_are_spelled_without_an_exponent_and_mean_the_same(value):
    spelled = cell_text(value)
    assert "e" not in spelled.lower()
    if spelled != "#NUM!":
        assert float(spelled) == value


def test_a_sheet_by_name_and_a_header_below_a_title(tmp_path):
    book = openpyxl.Workbook()
    sheet = book.create_sheet("台账")
    for row in (
        ["乌镇镇行政检查台账"],
        ["id", "name"],
        ["1", "x"],
        [None, None],
        ["2", "y", None, "beyond"],
    ):
        sheet.append(row)
    book.save(tmp_path / "CF_1.xlsx")
    [page] = reading(tmp_path, format="xlsx", sheet="台账", header_row=2).pages(None)
    assert page.rows == [
        ({"id": "1", "name": "x"}, "CF_1.xlsx:3"),
        ({FAULT: "cells beyond the 2 of the header"}, "CF_1.xlsx:5"),
    ]
    with refused(Look, "no sheet 别的"):
        everything(reading(tmp_path, format="xlsx", sheet="别的"))


def zip_with(path: Path, content: bytes, claimed: int | None = None) -> None:
    """A zip of one part that unfolds to `content` and, where `claimed` is given, says it unfolds to that."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", content)
    if claimed is not None:
        raw = bytearray(path.read_bytes())
        for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
            struct.pack_into("<I", raw, raw.index(mark) + offset, claimed)
        path.write_bytes(raw)


@pytest.mark.parametrize("claimed", [None, 100])
def test_a_workbook_that_unfolds_without_end_is_refused_whatever_it_claims(tmp_path, monkeypatch, claimed):
    monkeypatch.setattr(table_file, "_UNFOLDED", 5 << 20)
    zip_with(tmp_path / "CF_1.xlsx", b"x" * (6 << 20), claimed)
    assert (tmp_path / "CF_1.xlsx").stat().st_size < 20_000
    with refused(Look, "unfold"):
        everything(reading(tmp_path, format="xlsx"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no", b"\x00" * 500, b"id,name\n1,2\n"])
def test_what_is_no_workbook_is_refused(tmp_path, content):
    write(tmp_path, "CF_1.xlsx", content)
    with refused(Look, "not a workbook"):
        everything(reading(tmp_path, format="xlsx"))


def test_a_truncated_workbook_is_refused(tmp_path):
    city = Folder(tmp_path, "xlsx")
    city.put(rows_of(50))
    raw = city.path.read_bytes()
    city.path.write_bytes(raw[: len(raw) // 2])
    with refused(Look, "not a workbook"):
        everything(city.source())
