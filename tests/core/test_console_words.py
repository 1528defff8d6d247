"""What the status page says and draws, without a page: words, times, the order of things, the palette."""

import re
import string
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.web.drawing import NARROW, WIDE, ems, network, shorten, wrap
from hub.web.overview import worst_first
from hub.web.words import STATES, WORDS, Words, look

WEB = Path(__file__).resolve().parents[2] / "hub" / "web"
ZH = Words("zh", "Asia/Shanghai", "2026-11-23T10:12:30+08:00")
EN = Words("en", "Asia/Shanghai", "2026-11-23T10:12:30+08:00")


def test_every_word_is_in_both_languages_with_the_same_gaps() -> None:
    for key, both in WORDS.items():
        zh, en = (sorted(name for _, name, _, _ in string.Formatter().parse(text) if name) for text in both)
        assert all(both) and zh == en, key


def test_no_number_stands_before_a_plural_that_one_would_make_wrong() -> None:
    kept = {
        "strip", "strip_good", "network_label", "runs_caption",  # of thirty days, of all jurisdictions, of runs by the dozen
        "entries_shown", "records_total", "audit_line", "hub_entries", "verified_all",  # of a ledger that begins with keys
        "days",  # of spans of two days and more
    }  # fmt: skip
    plural = re.compile(r"\{n\} (?!min\b|is\b)(?:[a-z]+ )?[a-z]+s\b")
    assert {key for key, (_, en) in WORDS.items() if plural.search(en)} - kept == set()


def test_every_word_is_used_and_every_word_used_is_there() -> None:
    texts = "".join(path.read_text("utf-8") for path in (WEB / "templates").iterdir())
    texts += "".join(path.read_text("utf-8") for path in WEB.glob("*.py")).replace("self(", "w(").replace("said(", "w(")
    used = set(re.findall(r"\bw\(\s*'([a-z_]+)'\s*[,)]", texts.replace('"', "'")))
    assert used - WORDS.keys() == set()
    groups = (
        "s_", "tier_", "custody_", "severity_", "nav_", "login_", "role_", "journal_", "did_", "filter_", "point_", "measure_",
        "thing_", "by_", "d_", "copy_", "province_", "done_", "end_", "whom_", "audit_", "entry_", "keyrole_", "keystate_",
        "revoked_", "transport_", "completeness_", "expect_", "absent_", "asked_", "why_", "reason_",
        "about_", "changed_",
    )  # fmt: skip
    coded = {key for key in WORDS if key.startswith(groups)}
    named = {"yesterday", "today", "tomorrow"}
    assert WORDS.keys() - used - coded - named == set()


def test_a_zone_is_called_as_people_say_it() -> None:
    assert (ZH.zone(), EN.zone(), EN.zone("Asia/Shanghai")) == ("北京时间", "Beijing time", "Beijing time")
    assert Words("zh", "Europe/Oslo", "2026-11-23T10:12:30+08:00").zone("Asia/Shanghai") == "北京时间"
    assert EN.zone("Asia/Kolkata") == "Asia/Kolkata (UTC+05:30)"


def test_the_way_back_is_called_as_the_menu_calls_it() -> None:
    for back, page in zip(WORDS["back"], WORDS["nav_overview"], strict=True):
        assert page.casefold() in back.casefold()


def test_every_state_has_its_word() -> None:
    assert {f"s_{state}" for state in STATES} <= WORDS.keys()


@pytest.mark.parametrize(
    ("iso", "zh", "en"),
    [
        ("2026-11-23T08:05:00+08:00", "今天 08:05", "today 08:05"),
        ("2026-11-22T23:59:59+08:00", "昨天 23:59", "yesterday 23:59"),
        ("2026-11-24T02:00:00+08:00", "明天 02:00", "tomorrow 02:00"),
        ("2026-11-18T02:00:00+08:00", "11月18日 02:00", "18 Nov 02:00"),
        ("2025-01-02T02:00:00+08:00", "2025年1月2日 02:00", "2 Jan 2025 02:00"),
        ("2026-11-22T17:00:00+00:00", "今天 01:00", "today 01:00"),
    ],
)
def test_a_moment_is_told_in_the_zone_of_the_hub(iso: str, zh: str, en: str) -> None:
    assert (ZH.when(iso), EN.when(iso)) == (zh, en)


def test_the_zone_is_named() -> None:
    assert (ZH.zone(), EN.zone()) == ("北京时间", "Beijing time")
    assert Words("en", "Asia/Tokyo", "2026-11-23T10:12:30+08:00").zone() == "Asia/Tokyo (UTC+09:00)"
    assert ZH.full("2026-11-23T02:12:30+00:00") == "2026年11月23日 10:12"


@pytest.mark.parametrize(
    ("length", "zh", "en"),
    [
        (timedelta(seconds=59), "0 分钟", "0 min"),
        (timedelta(minutes=12), "12 分钟", "12 min"),
        (timedelta(hours=1, minutes=42), "1 小时 42 分钟", "1 h 42 min"),
        (timedelta(hours=25), "25 小时", "25 h"),
        (timedelta(days=2, hours=7), "2 天", "2 days"),
        (timedelta(minutes=-5), "0 分钟", "0 min"),
    ],
)
def test_spans(length: timedelta, zh: str, en: str) -> None:
    assert (ZH.span(length), EN.span(length)) == (zh, en)


def test_ages_and_agreed_intervals() -> None:
    assert ZH.ago("2026-11-23T10:12:00+08:00") == "刚刚"
    assert EN.ago("2026-11-23T10:00:00+08:00") == "12 min ago"
    assert EN.ago("2026-11-23T11:00:00+08:00") == "just now"
    assert EN.past("2026-11-23T11:00:00+08:00") == ""
    assert ZH.past("2026-11-23T08:30:30+08:00") == "1 小时 42 分钟"
    assert [EN.agreed(hours) for hours in (6, 24, 48, 50)] == ["6 h", "24 h", "2 days", "50 h"]


def test_a_text_in_one_language_only_is_still_shown() -> None:
    assert EN.of({"zh": "拒绝连接"}) == "拒绝连接"
    assert ZH.of({"zh": "", "en": "refused"}) == "refused"
    assert EN.word("s", "quiesced") == "quiesced"
    assert EN.count(None) == "–"


def test_an_unknown_state_never_looks_good() -> None:
    assert look("splendid") == "other"
    assert look('on_time" onload=') == "other"
    assert {look(state) for state in STATES} == set(STATES)


def _city(code: str, state: str, last: str | None = None, agreements: tuple[str, ...] = ("a",)) -> dict[str, Any]:
    return {"code": code, "state": state, "last_success": last, "agreements": list(agreements)}


def test_the_worst_comes_first_and_unknown_is_not_hidden_at_the_end() -> None:
    cities = [
        _city("6", "on_time", "2026-11-23T10:00:00+08:00"),
        _city("5", "on_time", "2026-11-23T01:00:00+00:00"),
        _city("4", "never"),
        _city("3", "late", "2026-11-22T01:00:00+08:00"),
        _city("2", "failing"),
        _city("1", "action"),
        _city("0", "what"),
    ]
    assert [city["code"] for city in worst_first(cities)] == ["0", "1", "2", "3", "4", "5", "6"]


@given(st.text(alphabet="ab 市，县", min_size=1, max_size=60), st.integers(6, 30))
def test_wrapping_loses_nothing_but_blanks(text: str, width: int) -> None:
    assert "".join(wrap(text, width)).replace(" ", "") == text.replace(" ", "")


@given(st.text(max_size=60), st.integers(2, 30))
def test_shortening_fits_and_says_so(text: str, width: int) -> None:
    short = shorten(text, width)
    assert ems(short) <= max(width, 1)
    assert short == text or (short.endswith("…") and text.startswith(short[:-1]))


def _memberships() -> st.SearchStrategy[list[tuple[str, ...]]]:
    return st.lists(st.sampled_from([("a",), ("b",), ("a", "b"), ()]), max_size=47)


@given(_memberships(), st.sampled_from([WIDE, NARROW]))
def test_the_drawing_holds_every_city_once_and_nothing_overlaps(groups: list[tuple[str, ...]], shape: Any) -> None:
    cities = [_city(str(n), "on_time", None, agreements) for n, agreements in enumerate(groups)]
    drawing = network(cities, {"a": "嘉湖综合执法一体化合作", "b": "长三角浙皖三县（市）综合执法"}, "未加入协议", shape)
    assert sorted(spot.city["code"] for spot in drawing.spots) == sorted(city["code"] for city in cities)
    wide, high = drawing.box
    hub_x, _, radius = drawing.hub
    for spot in drawing.spots:
        assert spot.x >= 0 and spot.x + wide <= drawing.width
        assert spot.y >= 0 and spot.y + high <= drawing.height
        assert spot.x + wide < hub_x - radius or spot.x > hub_x + radius
    for side in (True, False):
        tops = sorted(spot.y for spot in drawing.spots if (spot.x > hub_x) is side)
        assert all(below - above >= high for above, below in pairwise(tops))


def _palettes() -> list[dict[str, str]]:
    """The colours of each :root block: light, dark, print."""
    css = (WEB / "static" / "console.css").read_text("utf-8")
    blocks = re.findall(r":root \{([^}]*)\}", css)
    found = [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6})", block)) for block in blocks]
    return [{name: code if len(code) == 7 else "#" + code[1:] * 2 for name, code in each.items()} for each in found]


def _contrast(one: str, other: str) -> float:
    def luminance(code: str) -> float:
        parts = [int(code[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_palette_can_be_read() -> None:
    palettes = _palettes()
    assert len(palettes) == 3 and palettes[0].keys() == palettes[1].keys()
    assert palettes[2] == palettes[0] | {"page": "#ffffff"}
    for colour in palettes:
        texts = [(ink, ground) for ink in ("ink", "quiet", "accent") for ground in ("page", "card", "soft")]
        texts += [(state, f"{state}-tint") for state in ("good", "warn", "bad", "none")]
        texts += [(state, "card") for state in ("good", "warn", "bad", "none")]
        texts += [("ink", f"{state}-tint") for state in ("good", "warn", "bad", "none")]
        for ink, ground in texts:
            assert _contrast(colour[ink], colour[ground]) >= 4.5, (ink, ground)
        edges = [f"{state}-edge" for state in ("good", "warn", "bad", "none")] + ["good-fill", "bad-fill"]
        for edge in edges:
            assert _contrast(colour[edge], colour["card"]) >= 3, edge
        assert _contrast(colour["on-warn"], colour["warn-fill"]) >= 4.5
        assert _contrast(colour["on-bad"], colour["bad-fill"]) >= 3


def test_the_script_stays_small_and_the_files_name_no_other_host() -> None:
    files = [*(WEB / "templates").iterdir(), *(WEB / "static").iterdir()]
    assert len((WEB / "static" / "console.js").read_text("utf-8").splitlines()) <= 60
    for path in files:
        text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]|@import|url\(", text), path.name
        assert not re.search(r"\sstyle=|\son[a-z]+=|<script>|<style", text), path.name


def test_times_keep_their_instant() -> None:
    assert ZH.at("2026-11-23T02:00:00+00:00") == datetime.fromisoformat("2026-11-23T10:00:00+08:00")
