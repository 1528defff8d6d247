"""A night's report as people get it: what was signed, on a page, as a table, as a workbook, and how far a night is."""

import csv
import io
import json

import openpyxl
import pytest
from city_parts import FILES, KIND, WEB, Town, row
from console_parts import PASSWORD, signed_in

from hub.errors import NotFound
from hub.reports import csv_of, table, xlsx_of

FLAGGED = ("    completeness: snapshot\n", "    completeness: snapshot\n    absent: flag\n")
NIGHT = "2026-11-23"


@pytest.fixture
def town(tmp_path):
    with Town(tmp_path) as made:
        made.declare(FILES, FLAGGED)
        made.drop(row(1), row(2), row(3))
        made.web.put(1)
        made.pull()
        made.pull(WEB)
        made.drop(row(1), row(3, 20), row(4))
        made.web.fault = (1, "busy")
        made.clock.on(minutes=1)
        made.nightly.run("pair", [NIGHT])
        yield made


def test_a_report_is_what_the_signed_record_says(town):
    report, (signed,) = town.hub.reports("pair", NIGHT), town.reports()["pair", NIGHT]
    assert {name: report[name] for name in signed if name not in ("differences", "repairs")} == {
        name: value for name, value in signed.items() if name not in ("differences", "repairs")
    }
    assert report["not_compared"] == [WEB] and report["figures"]["compared"] == 3 and report["figures"]["bytes"] > 100
    assert [(each["type"], each["origin"]) for each in report["repairs"]] == [("missing", FILES), ("stale", FILES)]
    assert {each["type"] for each in report["differences"]} == {"vanished", "not_compared"}
    assert all(each["label"]["zh"] and each["clause"]["en"] and each["step"]["zh"] for each in report["differences"])
    entry = town.store.entry(report["record"]["entry"])
    assert entry.origin == "hub" and report["record"]["rev"] == 1
    with pytest.raises(NotFound, match="no report of pair on 2026-11-24"):
        town.hub.reports("pair", "2026-11-24")


def test_tables_open_in_spreadsheets_and_run_nothing(town):
    report = town.hub.reports("pair", NIGHT)
    report["differences"][0] |= {"id": "=1+1", "label": {"zh": "+甲", "en": "@a"}}
    rows = table(town.hub.reports.label, report, "zh")
    read = list(csv.reader(io.StringIO(csv_of(rows).decode("utf-8-sig"))))
    assert ["对账日", NIGHT] in read and ["已比对记录", "3"] in read
    assert not [cell for line in read for cell in line if cell.startswith(("=", "+", "@"))]
    sheet = openpyxl.load_workbook(io.BytesIO(xlsx_of(rows, "pair"))).active
    cells = {cell.value: cell.data_type for line in sheet.iter_rows() for cell in line if cell.value is not None}
    assert cells["=1+1"] == "s" and cells["+甲"] == "s" and cells[3] == "n"
    english = [line[0] for line in table(town.hub.reports.label, report, "en") if line]
    assert "Records compared" in english and "已比对记录" not in english


@pytest.mark.parametrize(("lang", "words"), [("zh", "对账报告"), ("en", "Reconciliation report")])
def test_the_page_tells_it_in_both_languages_and_nothing_of_a_record(town, lang, words):
    if not town.hub.accounts.all():
        town.hub.accounts.add("zhang.wei", PASSWORD, "viewer", who="test")
    client = signed_in(town.hub.web().test_client(), "zhang.wei", headers={"Host": "127.0.0.1"})
    page = client.get(f"/nights/pair/{NIGHT}?lang={lang}", headers={"Host": "127.0.0.1"})
    text = page.get_data(as_text=True)
    assert page.status_code == 200 and words in text and page.headers["Content-Language"] == lang
    assert "Vanished at the source" in text if lang == "en" else "来源中已消失" in text
    label, name = town.settings.kinds[KIND].label[lang], town.hub.framework.members[WEB].name[lang]
    assert "摊主" not in text and f"· {label}" in text and name in text
    assert client.get("/nights/pair/2026-11-24", headers={"Host": "127.0.0.1"}).status_code == 404
    assert client.get("/nights/none/x", headers={"Host": "127.0.0.1"}).status_code == 404
    assert f"/nights/pair/{NIGHT}" in client.get("/", headers={"Host": "127.0.0.1"}).get_data(as_text=True)


def test_a_running_night_says_how_far_it_is(town, monkeypatch):
    seen = []
    compare = town.nightly._compare_city

    def looked_at(*args):
        seen.append(town.hub.status()["night"]["agreements"][0]["running"])
        compare(*args)

    monkeypatch.setattr(town.nightly, "_compare_city", looked_at)
    town.clock.on(minutes=1)
    town.nightly.run("pair", ["2026-11-24"])
    assert [(each["city"], each["done"], each["of"]) for each in seen] == [(FILES, 0, 2), (WEB, 1, 2)]
    assert town.hub.status()["night"]["agreements"][0]["running"] is None
    assert "progress" not in json.dumps(dict(town.store.night("pair", "2026-11-24").result))
