"""The worklist's pages on a real hub: what is listed, who may decide, and that a decision is what the person saw."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from city_parts import FILES, WEB, Town, row
from console_parts import PASSWORD, form_of, signed_in
from flask.testing import FlaskClient

from hub.reconcile.worklist import Event, Finding, Ref, fresh
from hub.web.differences import FILTERS

HOST = {"headers": {"Host": "127.0.0.1"}}
DRAW = Path(__file__).resolve().parents[2] / "hub" / "web" / "templates" / "draw.html"
FLAGGED = ("    completeness: snapshot\n", "    completeness: snapshot\n    absent: flag\n")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Three records of one city, of which two vanished at their source, and accounts of several scopes."""
    with Town(tmp_path_factory.mktemp("town")) as made:
        made.declare(FILES, FLAGGED)
        made.drop(row(1), row(2), row(3))
        made.pull()
        made.drop(row(1))
        made.clock.on(minutes=1)
        made.nightly.run("pair", ["2026-11-23"])
        add = made.hub.accounts.add
        for name, role, more in (
            ("viewer", "viewer", {}),
            ("coordinator", "coordinator", {}),
            ("ours", "coordinator", {"jurisdictions": (FILES,)}),
            ("theirs", "coordinator", {"jurisdictions": (WEB,)}),
            ("elsewhere", "administrator", {"agreements": ("another",)}),
        ):
            add(name, PASSWORD, role, who="test", **more)
        yield made


@pytest.fixture
def visit(town: Any) -> Any:
    def sign_in(name: str) -> FlaskClient:
        return signed_in(town.hub.web().test_client(), name, **HOST)

    return sign_in


def test_the_list_says_how_many_and_leads_to_each(town: Any, visit: Any) -> None:
    page = visit("viewer").get("/differences?lang=zh", **HOST).text
    rows = town.store.differences()
    assert len(rows) == 2 and "2 项差异" in page and page.count("来源中已消失") >= 2
    assert all(f"/differences/{each.identity}" in page for each in rows)


def test_a_slight_difference_looks_like_no_other_state(town: Any, visit: Any) -> None:
    shapes = re.findall(r"'(\w+)': '(M[^']+)'", DRAW.read_text("utf-8"))
    assert len(shapes) == len({shape for _, shape in shapes})
    row = town.store.differences()[0]
    with town.store.transaction():
        town.store.put_differences([replace(row, severity="low")], [])
    try:
        for path in (f"/differences/{row.identity}", "/differences"):
            page = visit("viewer").get(path, **HOST).text
            assert '<span class="pill s-low">' in page and dict(shapes)["paused"] not in page, path
    finally:
        with town.store.transaction():
            town.store.put_differences([row], [])


def test_each_filter_narrows_and_says_what_it_would_leave(town: Any, visit: Any) -> None:
    client = visit("viewer")
    for query, n in (("severity=medium", 2), ("severity=high", 0), (f"origin={FILES}", 2), (f"origin={WEB}", 0),
                     ("type=vanished", 2), ("agreement=pair", 2), ("state=closed", 0), ("assigned=nobody", 0)):  # fmt: skip
        assert query.partition("=")[0] in FILTERS
        assert f"{n} 项差异" in client.get(f"/differences?{query}&lang=zh", **HOST).text, query


def test_an_account_of_another_agreement_sees_nothing_of_it(town: Any, visit: Any) -> None:
    client = visit("elsewhere")
    (first, _) = town.store.differences()
    assert "0 项差异" in client.get("/differences?lang=zh", **HOST).text
    assert client.get(f"/differences/{first.identity}", **HOST).status_code == 404
    form = form_of(client.get("/differences", **HOST).text)
    for act in ("decide", "assign"):
        data = {"form": form, "decision": "waive", "reason": "checked", "to": "elsewhere"}
        assert client.post(f"/differences/{first.identity}/{act}", data=data, **HOST).status_code == 404
    assert town.store.difference_events(first.identity)[0].step == "opened"
    assert not town.store.difference(first.identity).decision


@pytest.mark.parametrize(("name", "code"), [("viewer", 403), ("theirs", 403)])
def test_who_may_not_work_on_it_has_no_form_and_is_refused(town: Any, visit: Any, name: str, code: int) -> None:
    client = visit(name)
    (first, _) = town.store.differences()
    before = town.store.difference_events(first.identity)
    page = client.get(f"/differences/{first.identity}?lang=zh", **HOST).text
    assert "可查看，但不处理" in page and "/decide" not in page and "/assign" not in page
    data = {"form": form_of(page), "decision": "waive", "reason": "checked", "to": name}
    for act in ("decide", "assign"):
        assert client.post(f"/differences/{first.identity}/{act}", data=data, **HOST).status_code == code
    assert town.store.difference_events(first.identity) == before


def test_a_coordinator_sees_assigns_and_decides_and_the_ledger_holds_it(town: Any, visit: Any) -> None:
    client = visit("ours")
    (first, _) = town.store.differences()
    size = town.store.size()
    page = client.get(f"/differences/{first.identity}?lang=zh", **HOST).text
    assert "1 / 2" in page and "甲方" not in page and "以甲方为准" not in page
    data = {"form": form_of(page), "to": "ours"}
    assert client.post(f"/differences/{first.identity}/assign", data=data, **HOST).status_code == 303
    data = {"form": form_of(page), "basis": basis_in(page), "decision": "waive", "reason": "late_entry"}
    reply = client.post(f"/differences/{first.identity}/decide?severity=medium", data=data, **HOST)
    assert reply.status_code == 303 and "done=decided" in reply.headers["Location"]
    assert "severity=medium" in reply.headers["Location"]
    after = client.get(reply.headers["Location"], **HOST).text
    assert "已签名入账" in after and "不予处理" in after and "补录" in after
    assert [each.step for each in town.store.difference_events(first.identity)] == ["opened", "seen", "assigned", "decided"]
    assert town.store.size() == size + 1 and town.store.difference(first.identity).decision == "waive"
    town.sound()


def test_a_difference_that_changed_meanwhile_is_not_decided(town: Any, visit: Any) -> None:
    client = visit("coordinator")
    (_, second) = town.store.differences()
    page = client.get(f"/differences/{second.identity}?lang=zh", **HOST).text
    town.hub.decisions.decide(second.identity, "ask_city", "asked", "wang")
    data = {"form": form_of(page), "basis": basis_in(page), "decision": "waive", "reason": "checked"}
    reply = client.post(f"/differences/{second.identity}/decide", data=data, **HOST)
    assert "done=moved" in reply.headers["Location"]
    assert "未作决定" in client.get(reply.headers["Location"], **HOST).text
    assert town.store.difference(second.identity).decision == "ask_city"


@pytest.mark.parametrize(("decision", "reason"), [("keep_both", "checked"), ("waive", "no reason"), ("", ""), ("x", "checked")])
def test_a_decision_that_does_not_fit_is_refused_in_words(town: Any, visit: Any, decision: str, reason: str) -> None:
    client = visit("coordinator")
    (_, second) = town.store.differences()
    page = client.get(f"/differences/{second.identity}", **HOST).text
    data = {"form": form_of(page), "basis": basis_in(page), "decision": decision, "reason": reason}
    reply = client.post(f"/differences/{second.identity}/decide", data=data, **HOST)
    assert reply.status_code == 409 and "无法完成" in reply.text
    assert town.store.difference(second.identity).decision == "ask_city"


def basis_in(page: str) -> str:
    found = re.search(r'name="basis" value="([0-9a-f]{16})"', page)
    assert found
    return found[1]


def test_both_sides_stand_beside_each_other_as_far_as_the_account_may_see(tmp_path: Any) -> None:
    with Town(tmp_path) as made:
        made.drop(row(1, fee=20))
        made.pull()
        made.web.put(1)
        made.pull(WEB)
        series = {each.origin: each.kind for each in made.store.series() if each.origin in (FILES, WEB)}
        (kind,) = set(series.values())
        ids = {origin: next(id for id, _ in made.store.walk(origin, kind)) for origin in series}
        refs = tuple(Ref(origin, kind, ids[origin], 1) for origin in (FILES, WEB))
        with made.store.transaction():
            made.store.put_differences([fresh("pair", Finding("records_disagree", refs, "medium"), "2026-11-23")], [])
        add = made.hub.accounts.add
        add("both", PASSWORD, "viewer", jurisdictions=(FILES, WEB), who="test")
        add("nobody.s", PASSWORD, "viewer", who="test")
        (found,) = made.store.differences()
        pages = {}
        for name in ("both", "nobody.s"):
            client = signed_in(made.hub.web().test_client(), name, **HOST)
            pages[name] = client.get(f"/differences/{found.identity}?lang=zh", **HOST).text
            assert "并列对照" in pages[name] and all(f"/{ids[origin]}" in pages[name] for origin in ids)
        sides = made.hub.records.sides(made.hub.accounts.find("both"), [(ref.origin, ref.kind, ref.id) for ref in refs])
        assert any(field["differs"] for field in sides) and pages["both"].count('class="s-late differs"') == sum(
            field["differs"] for field in sides
        )
        sealed = {name for name, field in made.settings.kinds[kind].fields.items() if not field.is_open}
        assert sealed & {field["name"] for field in sides}
        blind = made.hub.records.sides(made.hub.accounts.find("nobody.s"), [(ref.origin, ref.kind, ref.id) for ref in refs])
        assert blind and not sealed & {field["name"] for field in blind}
        looks = made.hub.accounts.journal(50, what="look")
        assert {each.who for each in looks} == {"both"} and all("difference" in each.detail for each in looks)


def test_hostile_text_of_sides_agreement_account_and_journal_stays_text(tmp_path: Any) -> None:
    def hostile(name: str) -> str:
        return f'"><img src={name}>'

    name, clause = hostile("name"), hostile("clause")
    edits = (("{zh: 两地协议, en: Pair}", f"{{zh: '{name}', en: '{name}'}}"), ("clause: 第一条", f"clause: '{clause}'"))
    with Town(tmp_path, *edits) as made:
        made.drop(row(1, fee=20, holder=hostile("one")))
        made.pull()
        made.web.put(1, holder=hostile("two"))
        made.pull(WEB)
        series = {each.origin: each.kind for each in made.store.series() if each.origin in (FILES, WEB)}
        ids = {origin: next(id for id, _ in made.store.walk(origin, kind)) for origin, kind in series.items()}
        refs = tuple(Ref(origin, kind, ids[origin], 1) for origin, kind in series.items())
        found = fresh("pair", Finding("records_disagree", refs, "medium"), "2026-11-23")
        # No account has such a name; what stands in the store is not believed all the same.
        row_ = replace(found, state="assigned", assigned=hostile("assigned"))
        event = Event(row_.identity, "2026-11-23T02:00:00+08:00", hostile("who"), "assigned", hostile("assigned"))
        with made.store.transaction():
            made.store.put_differences([row_], [event])
            made.hub.accounts.note(hostile("noted"), hostile("what"), hostile("about"), hostile("detail"))
        made.hub.accounts.add("admin", PASSWORD, "administrator", jurisdictions=(FILES, WEB), who="test")
        client = signed_in(made.hub.web().test_client(), "admin", **HOST)
        pages = {
            f"/differences/{row_.identity}": ("one", "two", "name", "assigned", "who"),
            "/differences": ("name", "assigned"),
            "/agreements": ("name",),
            "/agreements/pair": ("name", "clause"),
            "/nights": ("name",),
            "/": ("name",),
            f"/records/{refs[0].kind.split('/')[0]}/{refs[0].origin}/{refs[0].id}": ("one", "clause"),
            "/journal": ("noted", "what", "about", "detail"),
            f"/journal?{urlencode({'who': hostile('noted'), 'about': hostile('about'), 'what': hostile('what')})}":
                ("noted", "what", "about"),
        }  # fmt: skip
        for lang in ("zh", "en"):
            for path, names in pages.items():
                page = client.get(f"{path}{'&' if '?' in path else '?'}lang={lang}", **HOST).text
                assert "<img" not in page, path
                for each in names:
                    assert f"&gt;&lt;img src={each}&gt;" in page, (path, each)
