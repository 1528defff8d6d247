"""A jurisdiction's page in a real browser over a real hub: sync now as it goes, with a script or without, pausing."""

import runpy
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from city_parts import FILES, WEB, Town, row
from console_parts import PASSWORD, enrol
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from hub import app

_PAGE = runpy.run_path(str(Path(__file__).with_name("test_page.py")))
pytestmark = _PAGE["pytestmark"]
MARKUP = "<img src=x onerror=alert(1)>"


class Gate:
    """Lets the web city answer one page at a time."""

    def __init__(self, town: Town) -> None:
        self.free = threading.Semaphore(0)
        answer = town.web.server.RequestHandlerClass.do_GET

        def do_get(handler: Any) -> None:
            assert self.free.acquire(timeout=30)
            answer(handler)

        town.web.server.RequestHandlerClass.do_GET = do_get

    def open(self, pages: int = 99) -> None:
        self.free.release(pages)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=_PAGE["CHROMIUM"], args=list(_PAGE["ARGUMENTS"]))
        yield browser
        browser.close()


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with Town(tmp_path) as town:
        enrol(town.store)
        town.drop(row(1), row(2), row(3, "many"), row("欧阳修张三丰李四王五", "many too"))
        for code in range(1, 6):
            town.web.put(code)
        town.pull()
        yield town


@pytest.fixture
def url(town: Town) -> Iterator[str]:
    bound = app.bind("127.0.0.1", 0)
    server = app.Server(town.hub.web(), bound, None)
    server.start()
    yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    server.stop()


Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, url: str) -> Iterator[Visit]:
    """Sign in and open a jurisdiction; at the end nothing was refused by the policy, ran a dialog or asked elsewhere."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def open_(code: str = WEB, *, name: str = "coordinator", lang: str = "en", width: int = 1280, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(8000)
        page.on("console", lambda message: wrong.append(message.text))
        page.on("dialog", lambda dialog: wrong.append("dialog"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: request.url.startswith(url) or wrong.append(request.url))
        page.goto(f"{url}/jurisdictions/{code}?lang={lang}")
        page.locator("#name").fill(name)
        page.locator("#password").fill(PASSWORD)
        page.locator(".door button").click()
        expect(page.locator("#standing")).to_be_visible()
        return page

    yield open_
    for context in contexts:
        context.close()
    assert wrong == []


def test_sync_now_is_seen_as_it_goes(town: Town, visit: Visit) -> None:
    gate, page = Gate(town), visit()
    page.get_by_role("button", name="Sync now").click()
    expect(page.get_by_role("heading", name="Reading now")).to_be_visible()
    rows = page.locator(f'[data-feed="{WEB} stalls"]')
    expect(rows).to_have_text("0")
    gate.open(1)
    expect(rows).to_have_text("2")
    gate.open(1)
    expect(rows).to_have_text("4")
    expect(page.locator("#runs tbody tr").first).to_contain_text("Running")
    page.evaluate("window.stayed = true")
    gate.open()
    expect(page.locator("#runs tbody tr").first).to_contain_text("Succeeded")
    expect(page.locator("#runs tbody tr").first).to_contain_text("coordinator")
    expect(page.get_by_role("button", name="Sync now")).to_be_visible()
    expect(page.get_by_role("status").first).to_have_text("Sync now")
    assert page.evaluate("window.stayed") is True, "the page was renewed in place"
    assert page.locator("#runs tbody tr").first.locator("td.number").all_inner_texts()[:4] == ["5", "5", "0", "0"]


def test_sync_now_works_without_a_script(town: Town, visit: Visit) -> None:
    gate, page = Gate(town), visit(java_script_enabled=False)
    page.get_by_role("button", name="Sync now").click()
    expect(page.locator("#live noscript")).to_be_visible()
    gate.open(1)
    # Nobody does anything, and the page comes anew by itself.
    expect(page.locator(f'[data-feed="{WEB} stalls"]')).to_have_text("2", timeout=15_000)
    gate.open()
    expect(page.locator("#runs tbody tr").first).to_contain_text("Succeeded", timeout=15_000)
    expect(page.get_by_role("button", name="Sync now")).to_be_visible()


def test_a_form_being_filled_in_stays_when_a_read_begins_elsewhere(town: Town, visit: Visit) -> None:
    page = visit()
    page.locator("#until").fill("2026-12-24")
    page.locator("#reason").select_option("migration")
    gate = Gate(town)
    town.hub.pulls.start(town.declared[WEB], "somebody")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_role("heading", name="Reading now")).to_be_visible()
    expect(page.locator("#until")).to_have_value("2026-12-24")
    gate.open()
    expect(page.get_by_role("button", name="Sync now")).to_be_visible()
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.get_by_text("by coordinator: move to another system.")).to_be_visible()
    expect(page.get_by_text("It goes on by itself on 24 Dec.")).to_be_visible()


def test_the_keyboard_alone_pauses_and_resumes(town: Town, visit: Visit) -> None:
    page = visit(FILES)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")

    def tab_to(selector: str) -> None:
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.locator(selector).evaluate("one => one === document.activeElement"):
                return
        raise AssertionError(f"the keyboard does not reach {selector}")

    tab_to("#sync-now")
    tab_to("#reason")
    page.keyboard.press("ArrowDown")
    tab_to("#pause button")
    page.keyboard.press("Enter")
    expect(page.locator("#standing")).to_contain_text("move to another system")
    tab_to("#resume-now")
    page.keyboard.press("Enter")
    expect(page.locator("#sync-now")).to_be_visible()
    assert town.hub.pauses.of(FILES) is None


@pytest.mark.parametrize(("lang", "scheme", "width"), [("zh", "light", 1280), ("en", "dark", 390), ("zh", "dark", 1280)])
def test_axe_finds_nothing_in_any_state(town: Town, visit: Visit, lang: str, scheme: str, width: int) -> None:
    page = visit(FILES, lang=lang, width=width, color_scheme=scheme)
    assert Axe().run(page).violations_count == 0, Axe().run(page).generate_report()
    for summary in page.locator("summary").all():
        summary.click()
    town.hub.pauses.pause(FILES, "maintenance", "coordinator", "2026-12-01")
    page.reload()
    assert Axe().run(page).violations_count == 0, Axe().run(page).generate_report()
    gate = Gate(town)
    town.hub.pulls.start(town.declared[WEB], "somebody")
    page.goto(page.url.replace(FILES, WEB))
    assert Axe().run(page).violations_count == 0, Axe().run(page).generate_report()
    gate.open()


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_no_width_needs_sideways_scrolling(visit: Visit, lang: str) -> None:
    page = visit(FILES, lang=lang)
    page.get_by_text("as written" if lang == "en" else "声明原文").click()
    for width in (320, 390, 561, 768, 1000, 1001, 1220, 1221, 1366, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width


def test_the_overview_leads_to_it_and_back_to_its_row(visit: Visit, url: str) -> None:
    page = visit(FILES)
    page.get_by_role("link", name="Back to the overview").click()
    assert page.url.endswith(f"/#j-{FILES}")
    expect(page.locator(f"#j-{FILES}")).to_be_in_viewport()
    page.locator(f"#wide-{FILES}").click()
    expect(page.get_by_role("heading", name="Tongxiang")).to_be_visible()
    page.goto(f"{url}/")
    page.locator(f"#q-{FILES}").click()
    assert page.url.endswith(f"/jurisdictions/{FILES}#quarantine")
    page.goto(f"{url}/")
    page.locator(f"#to-{FILES}").click()
    expect(page.locator("#standing")).to_be_visible()


def test_hostile_text_of_a_feed_and_a_declaration_stays_text(town: Town, visit: Visit) -> None:
    town.declare(FILES, ("name: {zh: 桐乡市", f"name: {{zh: 桐乡市 {MARKUP}"))
    town.drop(row(1, "many") | {MARKUP: MARKUP}, columns=(*row(1), MARKUP))
    town.pull()
    page = visit(FILES)
    page.get_by_text("as written").click()
    expect(page.locator("pre")).to_contain_text(MARKUP)
    expect(page.locator("#runs")).to_contain_text(f"columns nobody mapped: {MARKUP}")
    assert page.locator("img").count() == 0


def test_a_viewer_reads_and_is_offered_nothing_to_start(visit: Visit) -> None:
    page = visit(FILES, name="viewer")
    expect(page.get_by_text("A coordinator can start a read here.")).to_be_visible()
    assert page.locator("main form").count() == 0
