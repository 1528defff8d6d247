"""The certificate of evidence in a real browser, on paper: one page, with all that a case may have on it."""

import json
import re
import shutil
from pathlib import Path

import pytest
from hub_parts import KINDS, bodies, rig
from playwright.sync_api import sync_playwright
from tsa_parts import serving

from hub import evidence, timestamp, wire

A, B = "330483", "330521"
NUMBER = "（2026）浙嘉证内字第000123号"
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
pytestmark = pytest.mark.skipif(
    not Path(CHROMIUM).exists(), reason="no chromium: install it (apt-get install chromium) to test the page"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    """The certificate of a closed case with more files than it lists, witnessed and stamped."""
    folder = tmp_path_factory.mktemp("paper")
    cases = bodies("case/1", A, 20, seed="paper").values()
    case = max(cases, key=len) | {
        "attachments": [
            {"type": "01", "name": f"现场照片{n}", "sha256": f"{n:x}" * 64, "size": 1 << 24, "notarized_no": NUMBER}
            for n in range(evidence.ROWS + 3)
        ]
    }
    with serving(tmp_path_factory.mktemp("tsa")) as tsa, rig(folder / "rig", witnesses=(A, B), quorum=2, pullers=()) as made:
        leaf = made.put(A, "case/1", {"paper": case})[0]
        made.nodes[A].push()
        for code in (A, B):
            made.nodes[code].pull()
        roots = timestamp.read_roots(tsa.root.read_bytes())
        bundle = made.hub.desk.export("case", A, leaf.id, frozenset({"facts", "party_masked"}))
        bundle = evidence.with_timestamp(bundle, lambda asked: wire.ask_timestamp(tsa.url, asked, rooted=True), roots)
        return evidence.certificate(bundle, json.dumps(bundle).encode(), made.hub.trust_file(), KINDS, roots).decode()


def test_it_prints_on_one_upright_page(page: str) -> None:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        sheet = browser.new_page()
        sheet.set_content(page)
        assert sheet.locator(".files tr").count() == evidence.ROWS + 1
        assert sheet.get_by_text("另有 3 个附件").count() == 1
        paper = sheet.pdf(prefer_css_page_size=True)
        browser.close()
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) == 1
    ((wide, high),) = re.findall(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", paper)
    assert float(wide) < float(high)
