"""What coordinators do, from the login to the decision, in a real browser on the demo's real hub."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from hub import demo as demonstration
from hub.evidence import check
from hub.record import parse, reveal
from hub.settings import load

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
pytestmark = pytest.mark.skipif(
    not Path(CHROMIUM).exists(), reason="no chromium: install it (apt-get install chromium) to test the pages"
)

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("tasks") / "demo"
    with demonstration.opened(load(ROOT / "config"), folder, size=12) as running:
        running.start()
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def visit(demo: Any, browser: Browser) -> Iterator[Visit]:
    """A signed-in page of the demo; any script error, or anything the content policy stops, fails the test."""
    opened: list[BrowserContext] = []
    wrong: list[str] = []

    def open_(path: str, *, lang: str = "zh", width: int = 1280, login: bool = True, **more: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, locale="zh-CN", **more)
        context.set_default_timeout(10_000)
        opened.append(context)
        page = context.new_page()
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"{demo.hub.url}/login?lang={lang}")
        if login:
            page.locator("#name").fill("demo")
            page.locator("#password").fill(demo.password)
            page.locator(".door button").click()
            page.wait_for_url(f"{demo.hub.url}/")
        page.goto(demo.hub.url + path)
        return page

    yield open_
    for context in opened:
        context.close()
    assert wrong == []


def pages_of(demo: Any) -> dict[str, str]:
    """Each page of the console by name; the parts in its address are of the demo."""
    (night, *_) = demo.hub.store.nights("jiahu", 1)
    pair = next(each for each in demo.hub.store.differences() if len(each.refs) == 2)
    id, _ = next(demo.hub.store.walk("330483", "case/1"))
    return {
        "overview": "/", "differences": "/differences", "difference": f"/differences/{pair.identity}", "nights": "/nights",
        "night": f"/nights/jiahu/{night.night}", "agreements": "/agreements", "agreement": "/agreements/jiahu",
        "ledger": "/ledger", "journal": "/journal", "records": "/records?kind=case/1&page=1",
        "record": f"/records/case/330483/{id}", "jurisdiction": "/jurisdictions/330483",
    }  # fmt: skip


@pytest.mark.parametrize(("lang", "scheme", "width"), [("zh", "light", 1280), ("en", "dark", 1280), ("zh", "dark", 390)])
def test_axe_finds_nothing_on_any_page(demo: Any, visit: Visit, lang: str, scheme: str, width: int) -> None:
    page = visit("/", lang=lang, width=width, color_scheme=scheme)
    for name, path in pages_of(demo).items():
        page.goto(demo.hub.url + path)
        found = Axe().run(page)
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"
    page.context.clear_cookies()
    page.goto(f"{demo.hub.url}/login?lang={lang}")
    assert Axe().run(page).violations_count == 0, Axe().run(page).generate_report()


def test_no_page_scrolls_sideways(demo: Any, visit: Visit) -> None:
    page = visit("/", lang="en")
    for name, path in pages_of(demo).items():
        page.goto(demo.hub.url + path)
        for width in (320, 390, 768, 1024, 1280, 1920):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (name, width)


def test_every_page_is_whole_in_both_languages(demo: Any, visit: Visit) -> None:
    for lang, other in (("zh", "English"), ("en", "中文")):
        page = visit("/", lang=lang)
        for name, path in pages_of(demo).items():
            page.goto(demo.hub.url + path)
            assert page.locator("html").get_attribute("lang") == {"zh": "zh-CN", "en": "en"}[lang], name
            expect(page.locator("h1")).to_have_count(1)
            assert "None" not in page.locator("main").inner_text(), name
            as_of = page.locator(".as-of").filter(has_text={"zh": "北京时间", "en": "Beijing time"}[lang])
            assert name == "night" or as_of.count() == 1, name
        # The switch stays on the page, and the choice holds on the next one.
        page.get_by_role("link", name=other).click()
        assert page.url.startswith(demo.hub.url + path)
        page.goto(demo.hub.url + "/ledger")
        assert page.locator("html").get_attribute("lang") == {"zh": "en", "en": "zh-CN"}[lang]


def _undecided(demo: Any, sides: int) -> list[Any]:
    rows = demo.hub.store.differences()
    return [each for each in rows if len(each.refs) == sides and each.state in ("opened", "seen")]


@pytest.mark.parametrize("script", [True, False])
def test_a_difference_is_found_and_decided(demo: Any, visit: Visit, script: bool) -> None:
    row = _undecided(demo, 2)[0]
    page = visit("/", java_script_enabled=script)
    page.get_by_role("link", name="处理差异").or_(page.locator(".figures a")).first.click()
    page.goto(demo.hub.url + f"/differences?type={row.type}")
    page.locator(f'a[href*="{row.identity}"]').click()
    page.get_by_label("并非同一事项").check()
    page.get_by_label("理由").select_option("other_matter")
    page.get_by_role("button", name="作出决定").click()
    expect(page.locator(".told")).to_contain_text("已签名入账")
    expect(page.locator("#history + ol")).to_contain_text("分属不同违法行为")
    assert demo.hub.store.difference(row.identity).decision == "not_same"


def test_a_difference_is_decided_by_keyboard_alone(demo: Any, visit: Visit) -> None:
    row = _undecided(demo, 1)[0]
    page = visit(f"/differences/{row.identity}")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    for _ in range(60):
        if page.evaluate("document.activeElement.name") == "decision":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".told")).to_contain_text("已签名入账")
    assert demo.hub.store.difference(row.identity).decision


def test_a_record_is_found_and_its_evidence_taken_along(demo: Any, visit: Visit) -> None:
    id, known = next(demo.hub.store.walk("330483", "case/1"))
    (held,) = demo.hub.store.leaves(known.number, 1)
    groups = reveal(parse(held.raw), held.disclosures.values())
    page = visit("/records")
    page.locator("#words").fill(groups["party"]["party_name"])
    page.locator("form.ask button").click()
    page.locator(f'.found a[href*="{id}"]').first.click()
    page.get_by_role("link", name="现在核验").click()
    expect(page.get_by_role("status")).to_contain_text("均相符")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="下载证据文件").click()
    bundle = json.loads(Path(waiting.value.path()).read_text())
    shown, _ = check(bundle, demo.hub.trust_file())
    assert shown["party_name"] == groups["party"]["party_name"]


def test_a_report_is_downloaded(demo: Any, visit: Visit) -> None:
    page = visit("/nights")
    page.locator(".calendar a").first.click()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="CSV").click()
    assert "比对" in Path(waiting.value.path()).read_text("utf-8-sig")


def test_the_overview_is_light(demo: Any, visit: Visit) -> None:
    page = visit("/")
    assert len(page.request.get(demo.hub.url + "/").body()) < 100_000


def test_after_signing_out_nothing_is_left_to_go_back_to(demo: Any, visit: Visit) -> None:
    page = visit("/differences")
    page.get_by_role("button", name="退出").click()
    page.wait_for_url(f"{demo.hub.url}/")
    page.go_back()
    expect(page.locator("#password")).to_be_visible()


def test_a_name_that_would_be_markup_stays_text(demo: Any, visit: Visit) -> None:
    hostile = '"><script>document.title="owned"</script>'
    demo.hub.accounts.change("demo", "test", person=hostile)
    page = visit("/")
    assert page.title() != "owned"
    expect(page.get_by_text(hostile)).to_be_visible()
