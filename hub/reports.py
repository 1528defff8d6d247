"""A night's report for people: what its signed record says, with the words of each type, as a page, a table or a workbook.

It is read from the record on the ledger, so that what is shown is what was signed; references and counts only.
"""

import csv
import io
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

from openpyxl import Workbook

from hub import record
from hub.errors import NotFound
from hub.export import safe_cell
from hub.framework import HUB, Framework
from hub.kinds import Kind
from hub.nightly import KIND, key_of
from hub.reconcile.deadlines import Rule, told_by_rule
from hub.reconcile.types import Told
from hub.store.base import Night, Store

FIGURES = ("compared", "equal", "repaired", "retracted", "quarantined", "open_differences", "opened", "closed", "overdue",
           "not_compared_count", "seconds", "bytes")  # fmt: skip
COLUMNS = ("type", "severity", "origin", "kind", "id", "other_origin", "other_kind", "other_id", "state", "difference")


class Reports:
    """Reads reports; `id_of` gives a record's id by kind and source key."""

    def __init__(
        self,
        store: Store,
        kinds: Mapping[str, Kind],
        types: Mapping[str, Told],
        rules: Mapping[str, Rule],
        framework: Callable[[], Framework],
        id_of: Callable[[str, str], str],
    ) -> None:
        self._store, self._kind, self._types = store, kinds[KIND], types
        self._rules, self._framework, self._id_of = rules, framework, id_of

    def __call__(self, agreement: str, night: str) -> dict[str, Any]:
        """The report of one night; NotFound where none is on the ledger."""
        id = self._id_of(KIND, key_of(agreement, night))
        known = self._store.known(HUB, KIND, [id]).get(id)
        if known is None or known.op != "put":
            raise NotFound(
                f"no report of {agreement} on {night}", mend="`nights list` shows those there are; run `reconcile` for today's"
            )
        (held,) = self._store.leaves(known.number, 1)
        parsed = record.parse(held.raw or b"")
        groups = record.reveal(parsed, held.disclosures.values())
        body = self._kind.join(parsed.open, groups)
        entry = self._store.entry_of(known.number)
        named = self._framework().agreements.get(agreement)
        return body | {
            "name": dict(named.name) if named else {"zh": agreement, "en": agreement},
            "record": {"origin": HUB, "kind": KIND, "id": id, "rev": known.rev, "entry": entry.index if entry else None},
            "figures": {name: body[name] for name in FIGURES if name in body},
            "not_compared": body.get("not_compared", []),
            "differences": [self._told(row) for row in body.get("differences", [])],
            "repairs": [self._told(row) for row in body.get("repairs", [])],
        }

    def _told(self, row: Mapping[str, Any]) -> dict[str, Any]:
        told = self._types.get(row["type"])
        if told is None:  # A type of another version of the hub: by its name alone.
            return dict(row)
        return dict(row) | told_by_rule(told.words, self._rules.get(row.get("rule", "")))

    def month(self, agreement: str, first: date) -> dict[str, Night]:
        """An agreement's nights of the month that begins on a day, by date."""
        last = (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
        return {each.night: each for each in self._store.nights_between(agreement, first.isoformat(), last.isoformat())}

    def label(self, name: str, lang: str) -> str:
        """What a figure of the report is called."""
        return str(self._kind.fields[name].label[lang])


def table(label: Callable[[str, str], str], report: Mapping[str, Any], lang: str) -> list[list[Any]]:
    """The report as rows, `label` as Reports has it: its figures, then the open differences, then what was repaired."""
    zh = lang == "zh"
    rows: list[list[Any]] = [["协议" if zh else "agreement", report["agreement"]]]
    rows.append(["对账日" if zh else "night", report["night"]])
    rows += [[label(name, lang), value] for name, value in report["figures"].items()]
    rows += [["未比对" if zh else "not compared", " ".join(report["not_compared"])], []]
    rows.append(["差异类型" if zh else "what", *COLUMNS, "依据" if zh else "clause", "建议" if zh else "next step"])
    for row in report["differences"]:
        words = [row.get(name, {}).get(lang, row["type"] if name == "label" else "") for name in ("label", "clause", "step")]
        rows.append([words[0], *(row.get(name, "") for name in COLUMNS), *words[1:]])
    rows += [[], ["已补正" if zh else "repaired", "type", "origin", "kind", "id"]]
    rows += [["", row["type"], row["origin"], row["kind"], row["id"]] for row in report["repairs"]]
    return rows


def csv_of(rows: list[list[Any]]) -> bytes:
    """Rows as CSV that spreadsheets open as they are, formulas made harmless."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([[safe_cell(value) for value in row] for row in rows])
    return text.getvalue().encode("utf-8-sig")


def xlsx_of(rows: list[list[Any]], title: str) -> bytes:
    """Rows as a workbook of one sheet; every text is a text, never a formula."""
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = title[:31]
    for number, row in enumerate(rows, 1):
        for column, value in enumerate(row, 1):
            cell = sheet.cell(number, column, value)
            if isinstance(value, str):
                cell.data_type = "s"
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()
