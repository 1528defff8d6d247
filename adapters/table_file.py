"""Tables that a city drops as files: CSV and TSV read strictly, XLSX read by calamine.

Owns the decoding. Every cell is text exactly as written (no detection of types: 00123 stays 00123);
in XLSX numbers, dates and booleans become their plain spelling. Encodings are tried strictly, in
the order declared, on the whole file before its first row is given: a file is never half read in
the wrong one. A row with another number of cells than the header, or with a NUL, is handed on as
faulty, for the mapper to refuse. Lines are counted from 1; a row stands where it begins.
"""

import codecs
import csv
import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

from marshmallow import Schema, fields, validate
from python_calamine import CalamineError, CalamineWorkbook

from adapters.base import Look, Page, Row, Source, faulty
from adapters.connection import Connection
from adapters.files import chosen, opened, pattern_field, positive

ENCODINGS = ("utf-8-sig", "utf-8", "gb18030", "utf-16", "big5", "cp932", "euc_jp", "windows-1252")
PAGE_ROWS = 1_000
CELL = 1 << 20
_MOST_COLUMNS = 2_000
_LINE = 4 * CELL
_UNFOLDED = 256 << 20  # what a workbook's parts may unfold to together
_TELLING = 16  # so many valid UTF-8 characters in a row do not come about in another encoding


class SourceYaml(Schema):
    pattern = pattern_field()
    pick = fields.String(load_default="newest", validate=validate.OneOf(("newest", "all")))
    format = fields.String(required=True, validate=validate.OneOf(("csv", "tsv", "xlsx")))
    encodings = fields.List(
        fields.String(validate=validate.OneOf(ENCODINGS, error=f"expected one of {', '.join(ENCODINGS)}")),
        load_default=lambda: ["utf-8-sig"],
        validate=validate.Length(min=1),
    )
    sheet = fields.String()
    header_row = positive(1)
    max_bytes = positive(256 << 20)
    max_rows = positive(2_000_000)


# --- delimited text ---


def _encoding_of(file: BinaryIO, names: Sequence[str], where: str) -> str:
    """The first of the encodings in which the whole file reads strictly.

    A file that is UTF-8 up to some byte is a damaged file, not one in the next encoding: almost any bytes
    read as GB18030.
    """
    broken = []
    for name in names:
        beyond_ascii, line = 0, 1
        decoder = codecs.getincrementaldecoder(name)("strict")
        file.seek(0)
        try:
            while chunk := file.read(1 << 20):
                text = decoder.decode(chunk)
                beyond_ascii += 0 if text.isascii() else len(text)
                line += text.count("\n")
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            valid = error.object[: error.start].decode(name, "ignore")
            beyond_ascii += sum(c > "\x7f" for c in valid)
            line += valid.count("\n")
            if name in ("utf-8", "utf-8-sig") and beyond_ascii >= _TELLING:
                what = "UTF-8 that is damaged or cut off"
                raise Look(f"{where}:{line}", what, "let the city drop the file again") from None
            broken.append(f"{name} (line {line})")
        else:
            return name
    raise Look(
        where,
        f"not readable as {' or '.join(broken)}",
        "save it as UTF-8, or add its encoding to encodings:; broken far down it is damaged or cut off: have it dropped again",
    )


class _Lines:
    """Lines for the csv module, none longer than it may be, with the NULs it would stop at marked."""

    def __init__(self, text: io.TextIOWrapper, where: str) -> None:
        self._readline, self._where = text.readline, where
        self.nul = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._readline(_LINE)
        if not line:
            raise StopIteration
        if len(line) == _LINE:
            raise Look(self._where, f"a line of more than {_LINE} characters", "check format:")
        if "\0" in line:
            self.nul = True
            line = line.replace("\0", "\ufffd")
        return line


def _delimited(file: BinaryIO, options: Mapping[str, Any], where: str) -> Iterator[tuple[int, list[str], str]]:
    """Each record as its first line, its cells and what is wrong with it ("" if nothing)."""
    encoding = _encoding_of(file, options["encodings"], where)
    file.seek(0)
    with io.TextIOWrapper(file, encoding=encoding, errors="strict", newline="") as text:
        lines = _Lines(text, where)
        delimiter = "\t" if options["format"] == "tsv" else ","
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        first = 1
        csv.field_size_limit(CELL)
        while True:
            lines.nul = False
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if "expected after" not in str(error):  # a quote never closed: what follows is no longer rows
                    mend = "the file is cut off, or a quote is missing"
                    raise Look(f"{where}:{first}", "a quoted cell without its end begins in this row", mend) from None
                yield first, ["?"], "text after a closing quote"
            else:
                yield first, cells, "a NUL character" if lines.nul else ""
            first = reader.line_num + 1


def _text_rows(file: BinaryIO, options: Mapping[str, Any], where: str, columns: set[str]) -> Iterator[Row]:
    header: list[str] = []
    skip, width, whole = options["header_row"], 0, 0
    for line, cells, wrong in _delimited(file, options, where):
        if not header:
            skip -= 1
            if skip <= 0:
                header = _header(cells, f"{where}:{line}", columns)
                width, whole = len(header), len(cells)
        elif len(cells) == whole and not wrong and (whole == width or not any(cells[width:])):
            if any(cells):
                yield Row(dict(zip(header, cells, strict=False)), f"{where}:{line}")
        elif any(cells):
            yield faulty(f"{where}:{line}", wrong or f"{len(cells)} cells where the header has {width}")
    if not header:
        raise Look(where, "no header line", "check header_row:, or whether the file is whole")


def _header(cells: Sequence[str], where: str, columns: set[str]) -> list[str]:
    """The names of the columns; Look where one is empty, stands twice, or is declared but not there."""
    names = [cell.strip("\ufeff \t\u3000") for cell in cells]
    while names and not names[-1]:
        names.pop()
    few = names if len(names) < _MOST_COLUMNS else []
    repeated = [str(n) for n, name in enumerate(few, 1) if few.count(name) > 1]
    if not names or len(names) >= _MOST_COLUMNS or "" in names:
        raise Look(where, "the header has empty or too many columns", "check header_row: and format:")
    if repeated:
        # By number: a file without a header has data where the names should be.
        mend = f"columns {', '.join(repeated)[:200]} bear one name; rename one, or check header_row:"
        raise Look(where, "a column stands twice in the header", mend)
    if missing := sorted(columns - set(names)):
        mend = "the format changed, or header_row: is wrong; a column that may be missing says optional: true"
        raise Look(where, f"no column {', '.join(missing)}"[:300], mend)
    return names


# --- workbooks ---


def _refuse_bomb(file: BinaryIO, where: str) -> None:
    """Look where the parts of the workbook unfold to more than any honest one, whatever sizes they claim."""
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
        if len(parts) > 10_000 or sum(part.file_size for part in parts) > _UNFOLDED:
            raise Look(where, f"would unfold to more than {_UNFOLDED} bytes", "split the workbook")
        left = _UNFOLDED
        for part in parts:
            left -= _unfolded(file, part, left)
    except (zipfile.BadZipFile, zlib.error, struct.error, OSError, ValueError, NotImplementedError):
        raise Look(where, "not a workbook that can be read", "save it again as .xlsx") from None
    if left < 0:
        raise Look(where, f"unfolds to more than {_UNFOLDED} bytes", "split the workbook")


def _unfolded(file: BinaryIO, part: zipfile.ZipInfo, most: int) -> int:
    """How many bytes a part really unfolds to, counted no further than just above `most`."""
    file.seek(part.header_offset + 26)
    names, extra = struct.unpack("<HH", file.read(4))
    file.seek(names + extra, 1)
    if part.compress_type == zipfile.ZIP_STORED:
        return part.compress_size
    if part.compress_type != zipfile.ZIP_DEFLATED:
        raise NotImplementedError
    inflate, size, left = zlib.decompressobj(-15), 0, part.compress_size
    while left > 0 and size <= most and not inflate.eof and (chunk := file.read(min(left, 1 << 16))):
        left -= len(chunk)
        while chunk and size <= most:
            size += len(inflate.decompress(chunk, 1 << 20))
            chunk = inflate.unconsumed_tail
    return size


def cell_text(value: Any) -> str:
    """A workbook's cell in its plain spelling: 12, 0.2, 2026-11-22, 2026-11-22 17:03:11, true."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value.total_seconds())
    return "" if value is None else str(value)


def number_text(value: float) -> str:
    """A binary number as the shortest decimal that means it, never with an exponent."""
    if value != value or value in (float("inf"), float("-inf")):
        return "#NUM!"
    return f"{int(value)}" if value.is_integer() else f"{Decimal(repr(value)):f}"


def _sheet_rows(file: BinaryIO, options: Mapping[str, Any], where: str, columns: set[str]) -> Iterator[Row]:
    _refuse_bomb(file, where)
    file.seek(0)
    try:
        book = CalamineWorkbook.from_filelike(file)
        names = book.sheet_names
        name = options.get("sheet") or names[0]
        if name not in names:
            raise Look(where, f"no sheet {name}", f"its sheets: {', '.join(names)}"[:200])
        sheet = book.get_sheet_by_name(name)
        rows = iter(sheet.to_python(skip_empty_area=False))
    except (CalamineError, IndexError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise Look(where, f"not a workbook that can be read ({type(error).__name__})", "save it again") from None
    header: list[str] = []
    for line, cells in enumerate(rows, 1):
        if line < options["header_row"]:
            continue
        texts = [cell_text(cell) for cell in cells]
        if not header:
            header = _header(texts, f"{where}:{line}", columns)
        elif any(texts):
            if any(texts[len(header) :]):
                yield faulty(f"{where}:{line}", f"cells beyond the {len(header)} of the header")
            else:
                yield Row(dict(zip(header, texts, strict=False)), f"{where}:{line}")
    if not header:
        raise Look(where, "no header line", "check header_row: and sheet:")


# --- the source ---


def rows_of(path: Path, options: Mapping[str, Any], columns: set[str]) -> Iterator[Row]:
    """The rows of one file; Look where it cannot be read or holds more than it may."""
    with opened(path, options["max_bytes"]) as file:
        read = _sheet_rows if options["format"] == "xlsx" else _text_rows
        try:
            for n, row in enumerate(read(file, options, path.name, columns), 1):
                if n > options["max_rows"]:
                    raise Look(
                        row.where,
                        f"more than {options['max_rows']} rows",
                        "split it, or raise max_rows:",
                    )
                yield row
        except UnicodeError:  # the file changed between the pass that chose the encoding and this one
            raise Look(path.name, "changed while it was read", "let the city write it beside and rename it") from None
        except OSError as error:
            raise Look(path.name, f"cannot be read ({type(error).__name__})") from None


def paged(rows: Iterable[Row]) -> Iterator[Page]:
    """Rows in pages; at least one page, so that a read of nothing is seen to have ended."""
    page: list[Row] = []
    for row in rows:
        page.append(row)
        if len(page) == PAGE_ROWS:
            yield Page(page)
            page = []
    yield Page(page)


class TableFiles:
    """The files of one feed, read whole every time: they carry no cursor."""

    def __init__(self, options: Mapping[str, Any], connection: Connection, columns: set[str]) -> None:
        self._options, self._connection, self._columns = options, connection, columns

    def pages(self, cursor: str | None) -> Iterator[Page]:
        """The rows of every file that is meant, in order of their names."""
        for path in chosen(self._options, self._connection):
            yield from paged(rows_of(path, self._options, self._columns))


class TableSample:
    """One saved table."""

    def __init__(self, options: Mapping[str, Any], path: Path, columns: set[str]) -> None:
        self._options, self._path, self._columns = options, path, columns

    def pages(self, cursor: str | None) -> Iterator[Page]:
        if not self._path.is_file():
            raise Look(self._path.name, "the sample is missing")
        yield from paged(rows_of(self._path, self._options, self._columns))


def source(options: Mapping[str, Any], connection: Connection, columns: set[str]) -> Source:
    """The city's files as a source; `columns` are those that the header must have."""
    return TableFiles(options, connection, columns)


def sample(options: Mapping[str, Any], path: Path, columns: set[str]) -> Source:
    """A saved table as a source; only `format` and what goes with it is read from the options."""
    defaults = {
        "header_row": 1,
        "max_bytes": 64 << 20,
        "max_rows": 1_000_000,
        "encodings": ["utf-8-sig"],
    }
    return TableSample({**defaults, **options}, path, columns)
