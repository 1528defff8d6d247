"""The status page in a real browser: reading, narrowness, darkness, paper, keyboard, polling, hostility."""

import re
import runpy
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from console_parts import PASSWORD, console_app, people
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from werkzeug.serving import WSGIRequestHandler, make_server

_SHARED = runpy.run_path(str(Path(__file__).resolve().parents[1] / "console_states.py"))
STATES: dict[str, Callable[[], dict[str, Any]]] = _SHARED["STATES"]

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
pytestmark = pytest.mark.skipif(
    not Path(CHROMIUM).exists(), reason="no chromium: install it (apt-get install chromium) to test the page"
)


class Hub:
    """A console on loopback that shows whatever status it is given, and counts who asked for what."""

    def __init__(self, folder: Path) -> None:
        self.status = STATES["well"]()
        self.broken = False
        self.asked: list[tuple[str, int]] = []
        app = console_app(
            self._tell, reports=_SHARED["Reports"](), accounts=people(folder, lambda: datetime.now().astimezone())
        )
        self._server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=self._handler())
        self.url = f"http://127.0.0.1:{self._server.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def _tell(self) -> dict[str, Any]:
        if self.broken:
            raise RuntimeError("the hub is broken")
        return self.status

    def _handler(self) -> type[WSGIRequestHandler]:
        asked = self.asked

        class Handler(WSGIRequestHandler):
            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                asked.append((self.path.partition("?")[0], int(code)))

        return Handler

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def sign_in(page: Page, name: str, path: str) -> None:
    """Ask for a page, sign in where it leads, and be there."""
    page.goto(page.url.partition("?")[0] + path)
    page.locator("#name").fill(name)
    page.locator("#password").fill(PASSWORD)
    page.locator(".door button").click()
    page.wait_for_url("**/" + path)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(tmp_path)
    yield hub
    hub.close()


Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, hub: Hub) -> Iterator[Visit]:
    """Open a page; at the end nothing may have been refused by the policy, or asked of another host."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def open_(state: str, *, lang: str = "zh", width: int = 1280, before: str = "", **options: Any) -> Page:
        hub.status = STATES[state]()
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        context.add_init_script(before)
        page = context.new_page()
        page.set_default_timeout(5000)
        page.on("console", lambda message: wrong.append(message.text))
        page.on("dialog", lambda dialog: wrong.append("dialog"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: request.url.startswith(hub.url) or wrong.append(request.url))
        page.clock.install()
        page.goto(f"{hub.url}/?lang={lang}")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert [text for text in wrong if not (hub.broken and "500" in text)] == []


@pytest.mark.parametrize(
    ("state", "lang", "scheme", "width"),
    [
        ("trouble", "zh", "light", 1280),
        ("trouble", "en", "dark", 390),
        ("never", "zh", "dark", 1280),
    ],
)
def test_axe_finds_nothing(visit: Visit, state: str, lang: str, scheme: str, width: int) -> None:
    page = visit(state, lang=lang, width=width, color_scheme=scheme)
    result = Axe().run(page)
    assert result.violations_count == 0, result.generate_report()


@pytest.mark.parametrize(("lang", "scheme", "width"), [("zh", "light", 1280), ("en", "dark", 390), ("zh", "dark", 390)])
def test_a_nights_report_is_sound_narrow_and_harmless(visit: Visit, lang: str, scheme: str, width: int) -> None:
    page = visit("well", lang=lang, width=width, color_scheme=scheme)
    sign_in(page, "viewer", f"nights/jiahu/2026-11-23?lang={lang}")
    assert Axe().run(page).violations_count == 0, Axe().run(page).generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    expect(page.locator("tbody tr")).to_have_count(4)
    expect(page.get_by_text("<script>alert(1)</script>").first).to_be_visible()
    # Four of nine are listed, and the page says so.
    expect(page.get_by_text("只显示 4 个，共 9 个。" if lang == "zh" else "Showing 4 of 9.")).to_be_visible()
    page.get_by_role("link", name="返回总览" if lang == "zh" else "Back to the overview").click()
    expect(page.locator("#verdict")).to_be_visible()


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_no_width_needs_sideways_scrolling(visit: Visit, lang: str) -> None:
    for state in ("trouble", "never"):
        page = visit(state, lang=lang)
        for width in (320, 390, 561, 768, 1000, 1001, 1220, 1221, 1280, 1366, 1920):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (state, width)


def test_a_phone_shows_cards_that_are_still_a_table(visit: Visit) -> None:
    page = visit("trouble", width=390)
    card = page.locator("#j-341882")
    assert card.evaluate("row => getComputedStyle(row).display") == "grid"
    label = card.locator("td").nth(3).evaluate("cell => getComputedStyle(cell, '::before').content")
    assert label == '"近 30 天"'
    expect(page.locator(".cities table")).to_have_attribute("role", "table")  # other browsers need it
    tree = page.locator(".cities table").aria_snapshot()
    assert tree.count("- row ") == 11 and "columnheader" in tree and "rowheader" in tree
    expect(page.locator(".network.narrow")).to_be_visible()
    expect(page.locator(".network.wide")).to_be_hidden()


def test_the_network_is_a_group_of_links_to_the_rows(visit: Visit) -> None:
    page = visit("trouble", lang="en")
    network = page.get_by_role("group", name="Network: the hub in the middle")
    expect(network.get_by_role("link")).to_have_count(10)
    network.get_by_role("link", name="Guangde Failing").click()
    assert page.url.endswith("#j-341882")
    expect(page.locator("#j-341882")).to_be_in_viewport()
    expect(page.locator("#j-341882").get_by_role("img")).to_have_attribute(
        "aria-label", re.compile(r"^Last 30 days, .*Failing 2.*Late 2.*On time 26")
    )


@pytest.mark.parametrize(("role", "scheme", "width"), [("", "light", 1280), ("viewer", "dark", 390)])
def test_the_days_of_a_strip_are_told_on_hover_and_focus(visit: Visit, role: str, scheme: str, width: int) -> None:
    page = visit("trouble", lang="en", width=width, color_scheme=scheme)
    if role:
        sign_in(page, role, "nights/jiahu/2026-11-23?lang=en")
        page.goto(page.url.partition("nights")[0])
    strip = page.locator("#d-341882")
    told = strip.locator(".detail")
    expect(told).to_be_hidden()
    page.locator("#f-all").focus()
    strip.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    expect(strip).to_be_focused()
    expect(told).to_contain_text("Failing: 22 Nov, 23 Nov")
    assert told.evaluate("one => one.getBoundingClientRect().right") <= width
    assert Axe().run(page).violations_count == 0, Axe().run(page).generate_report()
    page.keyboard.press("Tab")
    expect(told).to_be_hidden()
    strip.hover()
    expect(told).to_be_visible()
    page.locator("#d-330521").hover()
    expect(page.locator("#d-330521 .detail")).to_have_text("No day was late or failed")


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize(("shape", "width"), [("wide", 1280), ("narrow", 390)])
def test_both_sides_of_each_link_are_told_uncut(visit: Visit, lang: str, shape: str, width: int) -> None:
    page = visit("copied", lang=lang, width=width)
    boxes = page.locator(f".network.{shape} .spot")
    expect(boxes).to_have_count(10)
    copies = ("副本一致", "副本落后", "副本不同", "副本未报") if lang == "zh" else ("equal", "behind", "differs", "unknown")
    told = [" ".join(box.locator("text").all_text_contents()) for box in boxes.all()]
    assert [text for text in told if "…" in text] == []
    expect(page.locator(f".network.{shape} .copy.s-failing")).to_have_count(2)
    assert [sum(copy in text for text in told) for copy in copies] == [3, 3, 2, 2]
    within = """box => { const all = box.querySelector('rect').getBBox();
        return [...box.querySelectorAll('text')].map(text => text.getBBox()).every(text => text.x >= all.x &&
            text.x + text.width <= all.x + all.width && text.y + text.height <= all.y + all.height + 3) }"""
    assert all(box.evaluate(within) for box in boxes.all())


def test_the_keyboard_reaches_the_table_at_once(visit: Visit) -> None:
    page = visit("trouble")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    expect(page.locator(".skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    assert page.url.endswith("#cities")


def test_dark_and_light_differ_and_the_page_says_its_language(visit: Visit) -> None:
    grounds = {
        scheme: visit("well", color_scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    }
    assert grounds == {"light": "rgb(244, 246, 249)", "dark": "rgb(17, 21, 27)"}
    page = visit("well", lang="en")
    assert page.evaluate("document.documentElement.lang") == "en"
    page.get_by_role("link", name="中文").click()
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    expect(page.locator("#verdict")).to_have_text("全部 10 个辖区按约定时间同步")


def test_everything_works_without_a_script(visit: Visit, browser: Browser, hub: Hub) -> None:
    hub.status = STATES["trouble"]()
    context = browser.new_context(java_script_enabled=False, locale="en-GB")
    page = context.new_page()
    page.goto(hub.url)
    expect(page.locator("#verdict")).to_have_text("3 jurisdictions need attention")
    page.get_by_role("link", name="Late 1").click()
    expect(page.locator(".cities tbody tr")).to_have_count(1)
    page.get_by_role("link", name="Show all").click()
    expect(page.locator(".cities tbody tr")).to_have_count(10)
    page.get_by_text("5 earlier").click()
    expect(page.get_by_text("Wuzhen: paused for a move")).to_be_visible()
    context.close()


@pytest.mark.parametrize(("state", "lang"), [("trouble", "zh"), ("trouble", "en"), ("never", "zh")])
def test_it_prints_on_two_landscape_pages(visit: Visit, state: str, lang: str) -> None:
    paper = visit(state, lang=lang, color_scheme="dark").pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) == 2
    boxes = re.findall(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", paper)
    assert boxes and all(float(wide) > float(high) for wide, high in boxes)


def test_it_keeps_itself_current(visit: Visit, hub: Hub) -> None:
    page = visit("trouble", lang="en")
    page.get_by_text("5 earlier").click()
    page.locator("#f-all").focus()
    with page.expect_response("**/status.json") as reply:
        page.clock.run_for(15_000)
    assert reply.value.status == 304
    assert hub.asked.count(("/", 200)) == 1

    hub.status["verdict"]["en"] = "Now something else"
    page.clock.run_for(15_000)
    expect(page.locator("#verdict")).to_have_text("Now something else")
    expect(page.get_by_role("status")).to_have_text("Now something else")
    expect(page).to_have_title(re.compile("^Now something else"))
    expect(page.locator("#f-all")).to_be_focused()
    expect(page.locator("#earlier")).to_have_attribute("open", "")
    assert hub.asked.count(("/", 200)) == 2

    with page.expect_response("**/status.json") as reply:
        page.clock.run_for(15_000)
    assert reply.value.status == 304
    assert hub.asked.count(("/", 200)) == 2


def test_a_lost_hub_is_said_and_so_is_its_return_unsaid(visit: Visit, hub: Hub) -> None:
    page = visit("well", lang="en")
    expect(page.get_by_role("alert")).to_be_hidden()
    hub.broken = True
    page.clock.run_for(15_000)
    expect(page.get_by_role("alert")).to_contain_text("Connection to the hub lost")
    expect(page.locator("#verdict")).to_be_visible()
    with page.expect_response("**/status.json") as reply:
        hub.status["numbers"]["records_today"] = 999
        hub.broken = False
        page.clock.run_for(15_000)
    assert reply.value.status == 200
    expect(page.get_by_text("999", exact=True)).to_be_visible()
    expect(page.locator("#lost")).to_be_hidden()
    hub.broken = True  # the refusal above is in the console: it was meant


HIDE = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
TELL = "document.dispatchEvent(new Event('visibilitychange'))"


@pytest.mark.parametrize("from_the_start", [True, False])
def test_a_hidden_tab_is_silent(visit: Visit, hub: Hub, from_the_start: bool) -> None:
    page = visit("well", before=HIDE % "true" if from_the_start else "")
    if not from_the_start:
        page.evaluate(HIDE % "true" + TELL)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(hub.url)))
    page.clock.run_for(120_000)
    page.evaluate("fetch('/healthz').then(reply => reply.status)")
    assert "/healthz" in asked and "/status.json" not in asked
    with page.expect_response("**/status.json"):
        page.evaluate(HIDE % "false" + TELL)


def test_hostile_text_runs_nothing(visit: Visit) -> None:
    for width in (1280, 390):
        page = visit("hostile", lang="en", width=width)
        assert page.title().startswith('"><script>')
        assert page.locator("img, #page script").count() == 0
        expect(page.locator("#verdict")).to_contain_text("<img src=x onerror=alert(1)>")


def test_forty_jurisdictions_are_all_there(visit: Visit) -> None:
    page = visit("forty", lang="en")
    expect(page.locator(".cities tbody tr")).to_have_count(40)
    expect(page.locator(".network.wide a")).to_have_count(40)
    expect(page.locator(".events li")).to_have_count(100)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
