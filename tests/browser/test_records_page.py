"""The records pages in a real browser on a real hub: axe, narrowness, keyboard, no script, hostile text."""

import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from axe_playwright_python.sync_playwright import Axe
from console_parts import PASSWORD
from hub_parts import Rig, rig
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from record_parts import NAME, OWN, PEER, PERSON, firm, person

_PAGE = runpy.run_path(str(Path(__file__).with_name("test_page.py")))
pytestmark = _PAGE["pytestmark"]
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("hub"), selves=(), pullers=()) as made:
        for name, codes in (("own", (OWN,)), ("peer", (PEER,))):
            made.hub.accounts.add(name, PASSWORD, "administrator", jurisdictions=codes, who="test")
        made.put(OWN, "case/1", {f"n{n}": firm(n) for n in range(10, 70)})
        made.put(OWN, "case/1", {"one": person(), "odd": firm(1, party_name=f"店{HOSTILE}", facts=HOSTILE)})
        odd = firm(1, party_name=f"二{HOSTILE}", facts=HOSTILE * 2)
        made.put(OWN, "case/1", {"one": person(party_name="张四海"), "odd": odd})
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=_PAGE["CHROMIUM"], args=list(_PAGE["ARGUMENTS"]))
        yield browser
        browser.close()


Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, hub: Rig) -> Iterator[Visit]:
    """Sign in and open the records; at the end nothing may have been refused by the policy, or asked of another host."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []
    url = f"http://127.0.0.1:{hub.port}"

    def open_(who: str = "own", *, lang: str = "zh", width: int = 1280, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(5000)
        page.on("console", lambda message: wrong.append(message.text))
        page.on("dialog", lambda dialog: wrong.append("dialog"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: request.url.startswith(url) or wrong.append(request.url))
        page.goto(f"{url}/login?lang={lang}&next=/records")
        page.locator("#name").fill(who)
        page.locator("#password").fill(PASSWORD)
        page.locator(".door button").click()
        page.wait_for_url("**/records")
        return page

    yield open_
    for context in contexts:
        context.close()
    # A question that cannot be is answered so; the browser says that too.
    assert [text for text in wrong if "400 (BAD REQUEST)" not in text] == []


def ask(page: Page, words: str = "") -> None:
    page.locator("#words").fill(words)
    page.locator(".ask button").click()
    page.wait_for_url("**/records?page=1**")


@pytest.mark.parametrize(("lang", "scheme", "width"), [("zh", "light", 1280), ("en", "dark", 390), ("zh", "dark", 390)])
def test_axe_finds_nothing_and_nothing_is_too_wide(visit: Visit, lang: str, scheme: str, width: int) -> None:
    for who in ("own", "peer"):
        page = visit(who, lang=lang, width=width, color_scheme=scheme)
        ask(page)
        pages = [page.url, page.locator(".found a").first.get_attribute("href")]
        ask(page, "张四海" if who == "own" else f"二{HOSTILE}")
        record = page.locator(".found a").first.get_attribute("href")
        for address in ("/records", *pages, f"{record}?check=1", "/records?page=1&since=gestern"):
            page.goto(address if address.startswith("http") else page.url.split("/records")[0] + address)
            result = Axe().run(page)
            assert result.violations_count == 0, (address, result.generate_report())
            assert page.evaluate("document.documentElement.scrollWidth") <= width, address


def test_by_keyboard_alone_one_asks_opens_and_checks(visit: Visit) -> None:
    page = visit("own")
    page.locator("#words").focus()
    page.keyboard.type("张四海")
    page.keyboard.press("Tab")
    expect(page.locator("#kind")).to_be_focused()
    page.locator("#words").press("Enter")
    page.wait_for_url("**/records?page=1**")
    assert "张四海" not in unquote(page.url) and page.url.endswith("#found")
    expect(page.locator("#found")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator(".found a")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/records/case/{OWN}/**")
    expect(page.locator(".changes del").first).to_have_text(PERSON)
    page.get_by_role("link", name="现在核验").press("Enter")
    expect(page.get_by_role("status")).to_contain_text("均相符")


def test_everything_works_without_a_script(visit: Visit) -> None:
    page = visit("peer", lang="en", java_script_enabled=False)
    ask(page, NAME)
    expect(page.locator(".found tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Next").click()
    expect(page.locator(".found tbody tr")).to_have_count(10)
    expect(page.locator("#words")).to_have_value(NAME)
    page.get_by_role("link", name="中文").click()
    expect(page.locator("#found")).to_have_text("共 60 条记录")
    page.locator(".found a").first.click()
    with page.expect_download() as taken:
        page.get_by_role("link", name="下载证据文件").click()
    assert taken.value.suggested_filename.startswith(f"evidence-case-{OWN}-")


def test_hostile_text_runs_nothing(visit: Visit) -> None:
    for width in (1280, 390):
        page = visit("own", width=width)
        ask(page, f"二{HOSTILE}")
        expect(page.locator(".found td").nth(2)).to_have_text(f"二{HOSTILE}")
        page.locator(".found a").click()
        page.wait_for_url(f"**/records/case/{OWN}/**")
        assert page.locator("img, #page script").count() == 0
        expect(page.locator(".changes ins").first).to_contain_text("<script>alert(1)</script>")
