"""The console through the application: languages, states, filters, ETag, health, metrics, hostile text."""

import json
import re
import runpy
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from console_parts import console_app
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

_SHARED = runpy.run_path(str(Path(__file__).resolve().parents[1] / "console_states.py"))
STATES: dict[str, Callable[[], dict[str, Any]]] = _SHARED["STATES"]
HOSTILE: str = _SHARED["HOSTILE"]

Open = Callable[..., FlaskClient]


@pytest.fixture
def open_() -> Open:
    """A client of a console that shows the given status; an undefined name in a template is an error."""

    def make(status: dict[str, Any] | Callable[[], dict[str, Any]], healthy: bool = True) -> FlaskClient:
        return console_app(status, healthy=healthy).test_client()

    return make


class _Shape(HTMLParser):
    """Elements that are open, attributes and visible text of a page; unbalanced markup is an error."""

    VOID = frozenset({"meta", "link", "img", "br", "input"})

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _text(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_every_state_makes_a_sound_page(open_: Open, name: str, lang: str) -> None:
    page = open_(STATES[name]()).get(f"/?lang={lang}").text
    shape = _Shape(page)
    assert len(shape.ids) == len(set(shape.ids))
    assert "None" not in _text(page)
    targets = {href[1:] for _, attrs in shape.tags if (href := attrs.get("href") or "").startswith("#")}
    assert targets <= set(shape.ids)


def test_the_order_of_the_page(open_: Open) -> None:
    status = STATES["trouble"]()
    page = open_(status).get("/?lang=zh").text
    marks = [
        "数据截至 2026年11月23日 10:12 （北京时间）",
        status["verdict"]["zh"],
        status["verdict"]["cause"]["zh"],
        status["verdict"]["action"]["zh"],
        "今日同步记录",
        "待处理差异",
        "账本校验通过",
        "下次夜间对账",
        "协作网络",
        "最近事件",
        "辖区同步状况",
        "夜间对账</h2>",
        "共享账本",
    ]
    places = [page.index(mark, page.index("<main ")) for n, mark in enumerate(marks)]
    assert places == sorted(places)
    rows = re.findall(r'<tr role="row" id="j-(\d+)"', page)
    assert rows[:3] == ["330503102", "341882", "330503"] and len(rows) == 10


def test_a_jurisdiction_says_all_that_is_known(open_: Open) -> None:
    page = open_(STATES["trouble"]()).get("/?lang=en").text
    row = _text(page[page.index('id="j-330503"') : page.index('id="j-330483100"', page.index("<tbody"))])
    for said in ("Nanxun", "330503 · county", "hub signs", "Late", "25 h 42 min ago", "yesterday 08:30"):
        assert said in row
    for said in (
        "1 h 42 min overdue",
        "agreed 24 h",
        "next today 11:00",
        "27/30 days on time",
        "63 / 12",
        "3,753",
    ):
        assert said in row
    assert re.search(r" 12 +2 ", row)
    assert "the last read timed out" in row


def test_the_ledger_and_the_nights_are_told_with_who_was_left_out(open_: Open) -> None:
    status = STATES["trouble"]()
    text = _text(open_(status).get("/?lang=en").text)
    assert status["ledger"]["root"] in text
    assert "4,790 of 4,821 ledger entries" in text
    assert "tomorrow 02:00 Beijing time" in text
    nights = text[text.index("Nightly reconciliation") :]
    assert "Guangde" in nights and "9,120" in nights and "no witness is declared" in nights


def test_a_night_that_left_a_city_out_never_looks_good(open_: Open) -> None:
    status = STATES["well"]()
    status["night"]["agreements"][0]["last"] |= {"state": "committed", "not_compared": ["330483"]}
    page = open_(status).get("/?lang=zh").text
    night = page[page.index('id="nights"') :]
    assert '<span class="pill s-late">' in night and "桐乡市" in _text(night)
    assert night.count('<span class="pill s-on_time">') == 1


def test_never_ran_is_not_green(open_: Open) -> None:
    for name in ("never", "empty"):
        page = open_(STATES[name]()).get("/?lang=zh").text
        assert "从未运行" in page and "尚未校验" in page
        assert "s-on_time" not in page


def test_an_unknown_state_is_told_in_grey(open_: Open) -> None:
    status = STATES["well"]()
    status["verdict"]["state"] = status["jurisdictions"][0]["state"] = "odd"
    page = open_(status).get("/").text
    assert '<section class="verdict s-other"' in page
    assert '<span class="pill s-other">' in page


def test_a_ledger_that_failed_verification_shows_no_tick(open_: Open) -> None:
    status = STATES["well"]()
    status["ledger"]["problem"] = {"zh": "根不一致", "en": "roots differ"}
    page = open_(status).get("/?lang=en").text
    assert "roots differ" in page and "Ledger verified" not in page


def test_the_demo_says_that_it_is_one(open_: Open) -> None:
    assert "这是演示系统" in open_(STATES["trouble"]()).get("/?lang=zh").text
    assert "演示" not in open_(STATES["well"]()).get("/?lang=zh").text


@pytest.mark.parametrize(
    ("asked", "cookie", "accept", "lang"),
    [
        (None, None, None, "zh-CN"),
        (None, None, "en-GB,en;q=0.9", "en"),
        (None, None, "zh-TW,en;q=0.5", "zh-CN"),
        (None, None, "fr", "zh-CN"),
        (None, None, "fr,en-US;q=0.7,zh-CN;q=0.5", "en"),
        (None, "en", "zh", "en"),
        ("zh", "en", "en", "zh-CN"),
        ("xx", "yy", "en", "en"),
    ],
)
def test_the_language(open_: Open, asked: str | None, cookie: str | None, accept: str | None, lang: str) -> None:
    client = open_(STATES["well"]())
    if cookie:
        client.set_cookie("lang", cookie)
    headers = {"Accept-Language": accept} if accept else {}
    reply = client.get("/", query_string={"lang": asked} if asked else {}, headers=headers)
    assert f'<html lang="{lang}">' in reply.text
    assert {"Accept-Language", "Cookie"} <= set(reply.vary)


def test_the_language_is_remembered_by_a_cookie_that_names_nobody(open_: Open) -> None:
    client = open_(STATES["well"]())
    reply = client.get("/?lang=en")
    assert reply.headers.getlist("Set-Cookie") == [
        part for part in reply.headers.getlist("Set-Cookie") if part.startswith("lang=en;")
    ]
    assert "SameSite=Lax" in reply.headers["Set-Cookie"] and "HttpOnly" in reply.headers["Set-Cookie"]
    assert '<html lang="en">' in client.get("/").text
    assert "Set-Cookie" not in client.get("/").headers
    assert "state=on_time&amp;lang=en" in reply.text or "lang=en&amp;state=on_time" in reply.text


def test_without_a_script_the_page_says_that_it_stands_still(open_: Open) -> None:
    page = open_(STATES["well"]()).get("/?lang=en").text
    silent = re.findall(r"<noscript>(.*?)</noscript>", page, re.DOTALL)
    assert len(silent) == 1 and "does not update by itself" in silent[0] and "Reload" in silent[0]


def test_a_filter_says_what_it_leaves_out(open_: Open) -> None:
    client = open_(STATES["trouble"]())
    page = client.get("/?lang=en&state=late").text
    assert re.findall(r'<tr role="row" id="j-(\d+)"', page) == ["330503"]
    assert "Showing 1 of 10." in page and "Show all" in page
    unknown = client.get("/?state=nonsense").text
    assert len(re.findall(r'<tr role="row" id="j-', unknown)) == 10


def test_no_list_is_cut(open_: Open) -> None:
    status = STATES["forty"]()
    page = open_(status).get("/?lang=en").text
    assert len(re.findall(r'<tr role="row" id="j-', page)) == 40
    assert all(f"event {n}<" in page for n in range(100))
    assert page.count('id="wide-') == page.count('id="narrow-') == 40


def test_hostile_text_stays_text(open_: Open) -> None:
    for path in ("/?lang=zh", "/?lang=en", "/?lang=en&state=late", f"/?state={HOSTILE}&lang={HOSTILE}"):
        page = open_(STATES["hostile"]()).get(path).text
        shape = _Shape(page)
        assert [attrs["src"] for tag, attrs in shape.tags if tag == "script"] == ["/static/console.js"]
        assert not [tag for tag, _ in shape.tags if tag == "img"]
        assert not [name for _, attrs in shape.tags for name in attrs if name.startswith("on") or name == "style"]
        assert {name for _, attrs in shape.tags for name in (attrs.get("class") or "").split()} <= _classes()
        assert "{{7*7}}" in page and ">49<" not in page


def _classes() -> set[str]:
    css = Path(__file__).resolve().parents[2] / "hub" / "web" / "static" / "console.css"
    return set(re.findall(r"\.([a-z][a-z_-]*)", css.read_text("utf-8"))) | {"spot", "share"}


def test_the_policy_lets_nothing_in(open_: Open) -> None:
    client = open_(STATES["well"]())
    for path in ("/", "/status.json", "/healthz", "/metrics", "/static/console.css"):
        reply = client.get(path)
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        assert "unsafe" not in reply.headers["Content-Security-Policy"]
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
    for path in ("/static/console.css", "/static/console.js", "/static/icon.svg"):
        assert client.get(path).status_code == 200


def test_status_json_is_the_dict_and_answers_304_until_something_changes(open_: Open) -> None:
    status = STATES["trouble"]()
    client = open_(lambda: status)
    first = client.get("/status.json")
    assert first.json == status and "广德市" in first.text
    tag = first.headers["ETag"]
    assert tag.startswith('W/"')
    assert f'data-etag="{tag.replace(chr(34), "&#34;")}"' in client.get("/").text

    def again() -> int:
        return client.get("/status.json", headers={"If-None-Match": tag}).status_code

    assert again() == 304
    status["as_of"] = "2026-11-23T10:12:58+08:00"
    assert again() == 304
    status["as_of"] = "2026-11-23T10:13:00+08:00"
    assert again() == 200
    status["as_of"] = "2026-11-23T10:12:58+08:00"
    status["jurisdictions"][3]["quarantined"] += 1
    assert again() == 200


@pytest.mark.parametrize(("healthy", "code"), [(True, 200), (False, 503)])
def test_healthz(open_: Open, healthy: bool, code: int) -> None:
    reply = open_(STATES["well"](), healthy).get("/healthz")
    assert reply.status_code == code
    assert reply.json == {"ok": healthy, "what": "ok" if healthy else "head file behind"}


def _metrics(client: FlaskClient) -> dict[str, float]:
    reply = client.get("/metrics")
    assert reply.content_type.startswith("text/plain")
    families = text_string_to_metric_families(reply.text)
    return {
        sample.name + json.dumps(sample.labels, sort_keys=True): sample.value
        for family in families
        for sample in family.samples
    }


def test_metrics_tell_the_same_numbers(open_: Open) -> None:
    found = _metrics(open_(STATES["trouble"]()))
    name = "crossregion_hub_"
    assert found[name + "records{}"] == 48213
    assert found[name + "open_differences{}"] == 7
    assert found[name + "ledger_entries{}"] == 4821
    assert found[name + 'jurisdiction_quarantined{"jurisdiction": "330503"}'] == 12
    assert found[name + 'jurisdiction_state{"jurisdiction": "330503", "state": "late"}'] == 1
    assert found[name + 'jurisdiction_state{"jurisdiction": "330503", "state": "on_time"}'] == 0
    assert found[name + 'night_not_compared{"agreement": "zhewan"}'] == 1
    assert found[name + 'verdict{"state": "failing"}'] == 1
    assert found[name + "ledger_verified_timestamp_seconds{}"] == 1795370640
    assert found[name + "healthy{}"] == 1


def test_metrics_claim_nothing_that_never_happened(open_: Open) -> None:
    found = _metrics(open_(STATES["never"](), healthy=False))
    assert found["crossregion_hub_healthy{}"] == 0
    assert not [key for key in found if "last_success" in key or "verified_timestamp" in key or "night_compared" in key]


def test_metrics_hold_no_text(open_: Open) -> None:
    text = open_(STATES["trouble"]()).get("/metrics").text
    assert not re.search(r"[\u4e00-\u9fff]|Guangde|refuse", text)
