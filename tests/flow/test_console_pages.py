"""Nights, agreements and the ledger in the console: what they say is what the hub holds, to each account its own."""

import csv
import io
import json
import re
from calendar import monthrange
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from city_parts import FILES, WEB, Town, row
from console_parts import PASSWORD, signed_in
from flask.testing import FlaskClient

from hub import evidence
from hub.reports import Reports
from hub.status import VERIFIED

HOST = {"headers": {"Host": "127.0.0.1"}}
NIGHT = "2026-11-23"
TICK = "M3.5 8.5 6.7"


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with Town(tmp_path_factory.mktemp("town")) as made:
        made.drop(row(1), row(2))
        made.pull()
        made.clock.on(minutes=1)
        made.nightly.run("pair", [NIGHT])
        made.hub.verify()
        made.hub.accounts.add("zhang.wei", PASSWORD, "viewer", who="test")
        made.hub.accounts.add("elsewhere", PASSWORD, "administrator", agreements=("another",), who="test")
        yield made


@pytest.fixture
def client(town: Any) -> FlaskClient:
    return signed_in(town.hub.web().test_client(), "zhang.wei", **HOST)


@pytest.fixture
def stranger(town: Any) -> FlaskClient:
    return signed_in(town.hub.web().test_client(), "elsewhere", **HOST)


def test_the_calendar_leads_to_each_report_and_names_days_without_one(town: Any, client: FlaskClient) -> None:
    page = client.get("/nights?month=2026-11&lang=zh", **HOST).text
    assert f'href="/nights/pair/{NIGHT}"' in page and "2026年11月" in page
    assert page.count("/nights/pair/2026-11-") == 1
    # Before the first night nothing was missed.
    assert "无报告" not in page[: page.index(NIGHT)]
    assert "12月" in client.get("/nights?month=2026-12&lang=zh", **HOST).text


def test_the_calendar_marks_today_and_tells_what_is_past_from_what_is_to_come(town: Any, client: FlaskClient) -> None:
    today = town.hub.now().astimezone(ZoneInfo("Asia/Shanghai")).date()
    cells = re.findall(r'<td class="([^"]*)"( aria-current="date")?><(?:a|span)[^>]*>(\d+)', client.get("/nights", **HOST).text)
    assert [(int(day), bool(now)) for _, now, day in cells] == [
        (day, day == today.day) for day in range(1, monthrange(today.year, today.month)[1] + 1)
    ]
    for look, _, day in cells:
        if int(day) != 23:
            assert look == ("s-never" if int(day) < today.day else "ahead"), day
    # Another month has no today, and its days are all to come or all past.
    for month, look in (("2026-10", "s-never"), ("2026-12", "ahead")):
        page = client.get(f"/nights?month={month}", **HOST).text
        assert "aria-current=\"date\"" not in page and set(re.findall(r'<td class="([^"]*)"', page)) - {"other"} == {look}


@pytest.mark.parametrize("month", ["", "x", "2026-13", "2026-11-23", "-1", "9" * 50])
def test_a_month_that_is_none_is_this_one(client: FlaskClient, month: str) -> None:
    reply = client.get(f"/nights?month={month}&lang=en", **HOST)
    assert reply.status_code == 200 and "Nov 2026" in reply.text


def test_a_report_speaks_in_names_and_leads_to_the_records_it_repaired(
    town: Any, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, id = next((each.kind, id) for each in town.store.series() if each.origin == FILES
                    for id, _ in town.store.walk(FILES, each.kind))  # fmt: skip
    rows, path = {"origin": FILES, "kind": kind, "id": id}, f"/records/{kind.split('/')[0]}/{FILES}/{id}"
    listed = [
        rows | {"type": "vanished", "severity": "low"},
        rows | {"type": "of another version", "severity": "odd", "kind": "quarantine", "id": "feed"},
    ]
    told = Reports.__call__

    def more(room: Reports, agreement: str, night: str) -> dict[str, Any]:
        given = told(room, agreement, night)
        return given | {"differences": listed, "repairs": [rows | {"type": "missing"}], "not_compared": [WEB, FILES, "990099"]}

    monkeypatch.setattr(Reports, "__call__", more)
    page = client.get(f"/nights/pair/{NIGHT}?lang=zh", **HOST).text
    member, label = town.hub.framework.members, town.settings.kinds[kind].label["zh"]
    text = " ".join(re.sub("<[^>]+>", " ", page[page.index("<main") :]).split())
    assert f"{member[WEB].name['zh']} 、 {member[FILES].name['zh']} 、 990099".replace(" ", "") in text.replace(" ", "")
    assert text.count(f"{member[FILES].name['zh']} · {label} {id}") == 2 and f"{FILES} {kind}" not in text
    assert f"{member[FILES].name['zh']} · 隔离区 feed" in text
    assert page.count(f'href="{path}"') == 2 and client.get(path, **HOST).status_code == 200


def test_a_report_is_exported_as_it_was_signed(client: FlaskClient) -> None:
    text = client.get(f"/nights/pair/{NIGHT}.csv?lang=en", **HOST)
    assert text.headers["Content-Disposition"] == f'attachment; filename="pair-{NIGHT}.csv"'
    rows = list(csv.reader(io.StringIO(text.data.decode("utf-8-sig"))))
    assert ["night", NIGHT] in rows and ["Records compared", "2"] in rows
    book = openpyxl.load_workbook(io.BytesIO(client.get(f"/nights/pair/{NIGHT}.xlsx?lang=en", **HOST).data))
    assert [str(cell.value or "") for cell in next(book.active.iter_rows())][:2] == rows[0][:2]


def test_another_agreements_nights_and_words_are_not_there(stranger: FlaskClient) -> None:
    for path in (f"/nights/pair/{NIGHT}", f"/nights/pair/{NIGHT}.csv", "/agreements/pair", "/agreements/none"):
        assert stranger.get(path, **HOST).status_code == 404, path
    assert "/agreements/pair" not in stranger.get("/agreements", **HOST).text
    assert "/nights/pair" not in stranger.get("/nights", **HOST).text
    assert "j-" + FILES not in stranger.get("/", **HOST).text


def test_an_agreement_says_what_the_framework_decides(town: Any, client: FlaskClient) -> None:
    assert "/agreements/pair" in client.get("/agreements", **HOST).text
    page = client.get("/agreements/pair?lang=en", **HOST).text
    framework, agreement = town.hub.framework, town.hub.framework.agreements["pair"]
    for share in agreement.shares:
        assert share.clause in page
    today = town.hub.now().date()
    one, other = agreement.codes(today)[:2]
    for share in agreement.shares:
        cut = framework.decide(share.kind, one, other, today, "pair")
        kind = town.settings.kinds[share.kind]
        assert all(kind.group_labels[group]["en"] in page for group in cut.groups)


def test_the_ledgers_page_tells_head_and_key_and_gives_what_verifies(town: Any, client: FlaskClient) -> None:
    page = client.get("/ledger?lang=en", **HOST).text
    raw, head = town.hub.ledger.checkpoint()
    assert raw.decode().splitlines()[2] in page and f"all {head.size} ledger entries" in page
    assert "no witness is declared" in page
    trust = client.get("/trust.json", **HOST).data
    assert str(evidence.read_trust(trust).log) == json.loads(trust)["policy"].split()[1]
    assert str(evidence.read_trust(trust).log) in page.replace("&#43;", "+")


def test_both_pages_tell_the_same_of_a_verification(
    town: Any, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, at = town.hub.ledger.checkpoint()[1].size, "2026-11-23T02:04:00+08:00"
    kept = town.hub.store.get

    def told(**last: Any) -> list[str]:
        monkeypatch.setattr(town.hub.store, "get", lambda name: json.dumps(last) if name == VERIFIED else kept(name))
        pages = (client.get(path + "?lang=en", **HOST).text for path in ("/", "/ledger"))
        return [re.search(r"<dt>Verified</dt><dd>(.*?)</dd>", page, re.DOTALL)[1] for page in pages]  # type: ignore[index]

    one, other = told(at=at, size=size - 1)
    # What came since the nightly check is said, and is nothing to warn of.
    assert one == other and f"{size - 1} of {size} ledger entries, new since: 1" in one and TICK in one
    one, other = told(at=at, size=size, problem={"zh": "根不一致", "en": "roots differ"})
    assert one == other and "roots differ" in one and "s-failing" in one and TICK not in one
    one, other = told()
    assert one == other and TICK not in one


def test_entries_are_paged_newest_first(town: Any, client: FlaskClient) -> None:
    book = town.hub.web().extensions["console"].book
    size = town.hub.store.size()
    assert [each["index"] for each in book.entries(None, 1000)] == list(range(size - 1, -1, -1))
    assert [each["index"] for each in book.entries(2, 5)] == [1, 0]
    assert [each["index"] for each in book.entries(10**9, 2)] == [size - 1, size - 2]
    assert book.entries(0, 5) == book.entries(-3, 5) == []
    page = client.get("/ledger?before=2&lang=en", **HOST).text
    assert f"Numbers 0 to 1 of {size} entries" in page


def test_a_hub_that_fails_inside_says_so_on_a_page_and_tells_no_value(
    town: Any, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise ValueError("金丝雀")

    monkeypatch.setattr(type(town.hub.status), "__call__", fail)
    page = client.get("/?lang=zh", headers=HOST["headers"] | {"Accept": "text/html"})
    assert page.status_code == 500 and "平台内部出错" in page.text and "金丝雀" not in page.text
    # A program is answered as one, and what does not need the status is still there.
    plain = client.get("/status.json", **HOST)
    assert plain.status_code == 500 and plain.json["error"] == "internal"
    assert client.get("/differences", **HOST).status_code == 200
