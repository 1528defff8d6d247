"""The records pages over a real hub: asking, paging, what addresses and logs hold, the record, its evidence, the limit."""

import json
import logging
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from console_parts import PASSWORD, form_of, signed_in
from flask.testing import FlaskClient
from hub_parts import Rig, bodies, rig
from jinja2 import StrictUndefined
from record_parts import NAME, OWN, PEER, PERSON, firm, person

from hub import evidence
from hub.intake import Reference
from hub.web.console import SEARCHES

MARKUP = '"><script>alert(1)</script>'


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path, selves=(), pullers=(), serve=False) as made:
        made.hub = made.compose()
        for name, role, codes in (("own", "viewer", (OWN,)), ("peer", "viewer", (PEER,)), ("nobody", "administrator", ())):
            made.hub.accounts.add(name, PASSWORD, role, jurisdictions=codes, who="test")
        yield made
        made.hub.close()
        made.hub = None


def client(hub: Rig, name: str) -> FlaskClient:
    app = hub.hub.web()
    app.jinja_env.undefined = StrictUndefined
    return signed_in(app.test_client(), name)


def ask(client: FlaskClient, **asked: str) -> Any:
    """Send the form; gives the page it leads to."""
    form = form_of(client.get("/records").text)
    sent = client.post("/records", data={"form": form, **asked})
    assert sent.status_code == 303
    return client.get(sent.headers["Location"])


def links(page: Any) -> list[str]:
    return re.findall(r'<a class="name" href="([^"]+)"', page.text)


def test_words_are_in_no_address_log_or_journal(hub: Rig, caplog: pytest.LogCaptureFixture) -> None:
    (leaf,) = hub.put(OWN, "case/1", {"one": person()})
    own = client(hub, "own")
    with caplog.at_level(logging.DEBUG):
        page = ask(own, words=PERSON, kind="case/1", item="33042300100101" * 2)
        assert "没有符合条件" in page.text
        page = ask(own, words=PERSON, kind="case/1")
    assert links(page) == [f"/records/case/{OWN}/{leaf.id}"] and f'value="{PERSON}"' in page.text
    address = urlsplit(page.request.url)
    assert parse_qs(address.query).keys() == {"page", "q"} and page.headers["Cache-Control"] == "no-store"
    told = caplog.text + str(hub.hub.accounts.journal(100))
    assert PERSON not in told + address.query and person()["party_id"] not in told and "3304230010" not in told + address.query
    # Without words the address says it all, and can be kept.
    page = ask(own, kind="case/1", origin=OWN, since="2020-01-01", until="2030-01-01")
    assert parse_qs(urlsplit(page.request.url).query).keys() == {"page", "kind", "origin", "since", "until"}
    assert links(page) == [f"/records/case/{OWN}/{leaf.id}"]


def test_a_remembered_question_is_its_accounts_alone_and_forgotten_shows_nothing(hub: Rig) -> None:
    hub.put(OWN, "case/1", {"one": firm()})
    page = ask(client(hub, "own"), words=NAME)
    assert len(links(page)) == 1
    for who in ("peer", "nobody"):
        reply = client(hub, who).get(page.request.url)
        assert "只短暂保留" in reply.text and links(reply) == [] and NAME not in reply.text
    assert "kept for a short time" in client(hub, "own").get("/records?q=x&kind=case/1&lang=en").text


@pytest.mark.parametrize(
    "asked",
    [{"kind": "case/9"}, {"origin": MARKUP}, {"since": "gestern"}, {"until": "2026-02-30"}, {"words": "x" * 501},
     {"kind": PERSON}, {"since": PERSON}],
)  # fmt: skip
def test_a_question_that_cannot_be_is_told_and_no_part_of_it_is_an_address(hub: Rig, asked: dict[str, str]) -> None:
    hub.put(OWN, "case/1", {"one": firm()})
    page = ask(client(hub, "own"), **asked)
    assert page.status_code == 400 and "填写有误" in page.text and links(page) == [] and MARKUP not in page.text
    assert parse_qs(urlsplit(page.request.url).query).keys() == {"page", "q"}
    ((name, value),) = asked.items()
    typed = client(hub, "own").get("/records", query_string={"page": "1", name: value})
    assert typed.status_code == (200 if name == "words" else 400)


def test_nothing_is_listed_or_noted_before_it_is_asked_for(hub: Rig) -> None:
    hub.put(OWN, "case/1", {"one": firm()})
    own = client(hub, "own")
    assert links(own.get("/records")) == [] and NAME not in own.get("/records").text
    assert not hub.hub.accounts.journal(9, what="search")
    assert len(links(ask(own))) == 2, "the record, and the framework as the ledger has it"


def test_a_list_is_whole_page_by_page_and_says_how_many(hub: Rig) -> None:
    hub.put(OWN, "case/1", {f"n{n}": firm(n) for n in range(1, 121)})
    own = client(hub, "own")
    page, seen = ask(own, words=NAME), []
    assert "共 120 条记录" in page.text and "第 1 至 50 条" in page.text and "第 1 / 3 页" in page.text
    while True:
        seen += links(page)
        following = re.search(r'rel="next" href="([^"]+)"', page.text)
        if following is None:
            break
        page = own.get(unescape(following[1]))
    assert len(set(seen)) == len(seen) == 120 and "第 101 至 120 条" in page.text
    assert own.get("/records?kind=case/1&page=99").text.count('class="name"') == 20


def test_a_record_shows_what_its_reader_may_see_and_notes_it(hub: Rig) -> None:
    (leaf,) = hub.put(OWN, "case/1", {"one": person()})
    hub.put(OWN, "case/1", {"one": person(party_name="张四海", case_name="张四海占道经营案")})
    path, about = f"/records/case/{OWN}/{leaf.id}", f"case/1 {OWN} {leaf.id}"
    own, peer, nobody = (client(hub, name).get(path).text for name in ("own", "peer", "nobody"))
    assert f"<del>{PERSON}</del>" in own and "<ins>张四海</ins>" in own and "本辖区的记录" in own
    for page in (peer, nobody):
        assert PERSON not in page and "张四海" not in page and "未共享" in page
    assert "张*" in peer and "张*" not in nobody and "案件信息互通互认" in peer and "您可查看的字段没有变化" in peer
    assert {each.who: each.detail for each in hub.hub.accounts.journal(99, what="look", about=about)} == {
        "own": "facts identity party party_masked source", "peer": "facts party_masked",
    }  # fmt: skip
    assert "谁查看过本记录" in nobody and "谁查看过本记录" not in own
    assert client(hub, "nobody").get("/journal", query_string={"about": about}).text.count(f" {leaf.id}</a>") == 2


def test_the_journal_speaks_in_words(hub: Rig) -> None:
    (leaf,) = hub.put(OWN, "case/1", {"one": person()})
    client(hub, "own").get(f"/records/case/{OWN}/{leaf.id}")
    client(hub, "own").get(f"/records/case/{OWN}/{leaf.id}/evidence")
    ask(client(hub, "own"), words=person()["party_name"])
    hub.hub.accounts.change("peer", "operator anna", role="viewer", blocked=False)
    with hub.hub.store.transaction():
        for line in (
            ("paused", f"jurisdiction {OWN}", "maintenance until 2030-03-01"),
            ("user_added", "account x", "coordinator"),
            ("login_refused", "no account", ""),
            ("look", "of/9 another version", "odd"),
        ):
            hub.hub.accounts.note("test", *line)
    kind, city = hub.hub.settings.kinds["case/1"], hub.hub.framework.members[OWN].name
    for lang, said in (
        ("zh", ("辖区", "系统维护 · 2030年3月1日 自动恢复。", "协调员", "停用状态、角色", "无此账号", "账号 x", "第 1 版",
                "记录数 1", "运维命令 anna")),
        ("en", ("jurisdiction", "maintenance · It goes on by itself on 1 Mar 2030.", "Coordinator", "blocked or not, role",
                "no such account", "account x", "Revision 1", "records: 1", "operator anna")),
    ):  # fmt: skip
        page = client(hub, "nobody").get(f"/journal?lang={lang}").text
        text = unescape(" ".join(re.sub("<[^>]+>", " ", page).split()))
        record = f"{kind.label[lang]} {city[lang]} {leaf.id}"
        groups = [kind.group_labels[name][lang] for name in ("facts", "identity", "party")]
        for told in (*said, record, f"{'、' if lang == 'zh' else ', '}".join(groups), "of/9 another version", "odd"):
            assert told in text, told
        assert "party_masked" not in text and f"case/1:{OWN}" not in text and f"case/1 {OWN}" not in text
        narrowed = client(hub, "nobody").get("/journal", query_string={"lang": lang, "about": f"case/1 {OWN} {leaf.id}"}).text
        assert f"<strong>{record}</strong>" in narrowed


def test_no_page_of_a_record_tells_withheld_from_unknown(hub: Rig) -> None:
    (leaf,) = hub.put("330522", "case/1", bodies("case/1", "330522", 1))
    peer = client(hub, "peer")
    for end in ("", "/evidence"):
        asked = (("case", leaf.id), ("case", "A" * 22), ("nokind", leaf.id))
        withheld, unknown, odd = (peer.get(f"/records/{kind}/330522/{id}{end}") for kind, id in asked)
        assert withheld.status_code == unknown.status_code == odd.status_code == 404
        assert withheld.text.replace(leaf.id, "A" * 22) == unknown.text.replace(leaf.id, "A" * 22)


def test_what_a_city_writes_stays_text(hub: Rig) -> None:
    (leaf,) = hub.put(OWN, "case/1", {"one": firm(party_name=f"店{MARKUP}", case_name=f"案{MARKUP}", facts=MARKUP)})
    hub.put(OWN, "case/1", {"one": firm(party_name=f"店二{MARKUP}", case_name=f"案{MARKUP}", facts=MARKUP * 2)})
    own = client(hub, "own")
    for page in (ask(own, words=f"店二{MARKUP}").text, own.get(f"/records/case/{OWN}/{leaf.id}?check=1").text):
        assert "&lt;script&gt;alert(1)" in page and "<script>alert" not in page
    assert "<script>alert" not in own.get("/records", query_string={"q": MARKUP, "page": MARKUP, "lang": MARKUP}).text


def test_evidence_is_taken_with_what_its_reader_may_see_and_noted(hub: Rig) -> None:
    (leaf,) = hub.put(OWN, "case/1", {"one": person()})
    reply = client(hub, "peer").get(f"/records/case/{OWN}/{leaf.id}/evidence")
    assert reply.headers["Content-Disposition"] == f'attachment; filename="evidence-case-{OWN}-{leaf.id}.json"'
    assert reply.headers["Cache-Control"] == "no-store"
    shown, report = evidence.check(json.loads(reply.data), hub.hub.trust_file())
    assert report.proved and PERSON not in reply.text and "张*" in str(shown)
    (noted,) = hub.hub.accounts.journal(9, what="evidence")
    assert (noted.who, noted.detail) == ("peer", "facts party_masked rev 1")


def test_provenance_is_followed_when_asked_and_said_in_both_languages(hub: Rig) -> None:
    (leaf,) = hub.put(OWN, "case/1", {"one": firm()})
    peer, path = client(hub, "peer"), f"/records/case/{OWN}/{leaf.id}"
    page = peer.get(f"{path}?lang=zh").text
    assert "现在核验" in page and "枢纽代签" in page and "未声明见证方" in page and "--trust trust.json" in page
    assert "记录、批次、签名、账本均相符" in peer.get(f"{path}?check=1").text
    page = peer.get(f"{path}?check=1&lang=en").text
    assert "record, batch, signatures and ledger fit" in page and "hub signs" in page and "Not shared" in page
    entry = hub.hub.store.entry_of(hub.hub.store.known(OWN, "case/1", [leaf.id])[leaf.id].number)
    assert f"/ledger/tile/entries/000.p/{hub.hub.store.size()}" in page and f"{entry.index}, under a checkpoint" in page


def test_witnesses_are_told_of_the_records_own_entry(tmp_path: Path) -> None:
    cities = ("330483", "330521")
    with rig(tmp_path, selves=cities, pullers=(), witnesses=cities, quorum=2) as made:
        (leaf,) = made.put(OWN, "case/1", {"one": firm()})
        made.nodes[OWN].push()
        made.hub.accounts.add("peer", PASSWORD, "viewer", jurisdictions=(PEER,), who="test")
        peer, path = client(made, "peer"), f"/records/case/{OWN}/{leaf.id}?check=1"
        assert "起未见证（需 2 方，最近见证至 0）" in peer.get(path).text
        for code in cities:
            made.nodes[code].pull()
        size = made.hub.store.size()
        assert f"330483、330521 已见证至 {size}" in peer.get(path).text and "自行签名" in peer.get(path).text
        # What came after is not witnessed, and what was stays so.
        (later,) = made.put(OWN, "case/1", {"two": firm(2)})
        made.nodes[OWN].push()
        assert f"已见证至 {size}" in peer.get(path).text and "均相符" in peer.get(path).text
        assert f"最近见证至 {size}" in peer.get(path.replace(leaf.id, later.id)).text


def test_an_erased_record_says_so_and_leads_to_why(hub: Rig) -> None:
    (leaf,) = hub.put(OWN, "case/1", {"one": person()})
    own = client(hub, "own")
    hub.hub.erasures.erase(Reference(OWN, "case/1", leaf.id), ["party"], "request", "tester")
    page = own.get(f"/records/case/{OWN}/{leaf.id}").text
    assert "已删除" in page and PERSON not in page
    hub.hub.erasures.erase(Reference(OWN, "case/1", leaf.id), [], "court", "tester", whole=True)
    page = own.get(f"/records/case/{OWN}/{leaf.id}").text
    assert "该记录已整条删除" in page
    tomb = re.search(r'href="(/records/erasure/hub/[^"]+)"', page)
    assert tomb and own.get(tomb[1]).status_code == 200
    assert own.get(f"/records/case/{OWN}/{leaf.id}/evidence").status_code == 404


def test_searches_of_one_account_are_limited_wherever_it_sits(hub: Rig) -> None:
    app = hub.hub.web()
    own, most = signed_in(app.test_client(), "own"), int(SEARCHES.split()[0])
    form = form_of(own.get("/records").text)
    codes = [
        own.post("/records", data={"form": form}, environ_base={"REMOTE_ADDR": f"10.0.0.{n}"}).status_code
        for n in range(most + 1)
    ]
    assert codes == [303] * most + [429]
    peer = signed_in(app.test_client(), "peer")
    assert peer.post("/records", data={"form": form_of(peer.get("/records").text)}).status_code == 303
