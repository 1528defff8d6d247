"""A jurisdiction's page on a real hub: who finds it, what it tells and hides, sync now, pause and resume."""

import re
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from city_parts import FILES, SELF, START, WEB, Town, row
from console_parts import enrol, form_of, signed_in
from hub_parts import bodies, rig
from jinja2 import StrictUndefined

from hub.accounts import ROLES
from hub.store.base import Account
from hub.web.doors import RIGHTS

CANARY = "金丝雀3304831990"
MARKUP = "<script>alert(1)</script>"
SECOND = """\
agreements:
  other:
    name: {zh: 另一协议, en: Other}
    basis: 协议
    in_force: 2026-11-01
    night: "01:00"
    freshness: 6 hours
    when_ended: keep
    members: [{code: "330503", joined: 2026-11-01, left: 2026-12-31}, {code: "330521"}]
    shares: []
"""


@pytest.fixture
def town(tmp_path):
    with Town(tmp_path, ("agreements:\n", SECOND)) as made:
        made.drop(row(1), row(2))
        made.web.put(1)
        # The last one works in an agreement that 330483 is not in.
        enrol(made.store, Account("elsewhere", "", "coordinator", agreements=("other",)))
        yield made


@pytest.fixture
def app(town):
    app = town.hub.web()
    app.testing = True
    app.jinja_env.undefined = StrictUndefined
    return app


def client_of(app, name):
    return signed_in(app.test_client(), name, base_url=BASE)


BASE = "http://127.0.0.1:8470"
PAGE = f"/jurisdictions/{FILES}"


def get(client, path, **more):
    return client.get(path, base_url=BASE, headers={"Accept": "text/html"}, **more)


def post(client, what, code=FILES, page=PAGE, **data):
    form = form_of(get(client, "/").text)
    return client.post(f"/jurisdictions/{code}/{what}", base_url=BASE, data={"form": form} | data)


def text_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page[page.index("<main") :]))


def finished(town):
    town.hub.pulls._threads.shutdown(wait=True)


# --- who finds it ---


ACTIONS = {"sync": {}, "pause": {"reason": "maintenance"}, "resume": {}}


@pytest.mark.parametrize("role", [*ROLES, "elsewhere"])
@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_is_for_a_coordinator_of_an_agreement_with_this_member(town, app, role, action):
    if action == "resume":
        town.hub.pauses.pause(FILES, "other", "administrator")
    before = town.store.pauses()
    reply = post(client_of(app, role), action, **ACTIONS[action])
    finished(town)
    done = role in ("coordinator", "administrator")
    assert reply.status_code == (303 if done else 404 if role == "elsewhere" else 403), reply.text
    assert bool(town.store.runs([(FILES, "stalls")], 9)) == (done and action == "sync")
    assert (town.store.pauses() != before) == (done and action != "sync")
    what = {"sync": "sync_started", "pause": "paused", "resume": "resumed"}[action]
    noted = [(each.who, each.about) for each in town.hub.accounts.journal(20, what=what) if each.who == role]
    assert ((role, f"jurisdiction {FILES}") in noted) == done
    assert RIGHTS[action] == "coordinator"


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_from_elsewhere_or_by_nobody_changes_nothing(town, app, action):
    client = client_of(app, "coordinator")
    data = {"form": form_of(get(client, "/").text)} | ACTIONS[action]
    path = f"{PAGE}/{action}"
    assert client.post(path, base_url=BASE, data=data, headers={"Origin": "https://evil.example"}).status_code == 403
    assert client.post(path, base_url=BASE, data=data | {"form": "A" * 43}).status_code == 403
    assert get(client, path).status_code == 405
    assert app.test_client().post(path, base_url=BASE, data=data).status_code in (401, 403)
    finished(town)
    assert town.store.pauses() == [] and town.store.runs([(FILES, "stalls")], 9) == []


def test_an_account_finds_the_members_of_its_agreements_and_any_other_looks_unknown(app):
    viewer, elsewhere = client_of(app, "viewer"), client_of(app, "elsewhere")
    for client in (viewer, client_of(app, "coordinator"), client_of(app, "administrator")):
        assert [get(client, f"/jurisdictions/{code}").status_code for code in (FILES, WEB, SELF)] == [200] * 3
    assert get(elsewhere, f"/jurisdictions/{WEB}").status_code == 200
    hidden, unknown = get(elsewhere, PAGE), get(elsewhere, "/jurisdictions/999999")
    assert hidden.status_code == unknown.status_code == 404
    assert re.sub("999999|330483", "", hidden.text) == re.sub("999999|330483", "", unknown.text)
    assert get(elsewhere, f"{PAGE}/progress.json").status_code == 404
    public = app.test_client()
    assert get(public, PAGE).status_code == 302 and get(public, f"{PAGE}/progress.json").status_code == 401


def test_the_overview_leads_there_for_those_who_may(town, app):
    town.drop(row(1), row(2, "many"))
    town.pull()
    page = get(client_of(app, "viewer"), "/").text
    assert f'id="j-{FILES}"' in page and f'href="{PAGE}"' in page and f'href="{PAGE}#quarantine"' in page


# --- what it tells ---


def test_it_tells_all_that_is_known(town, app):
    town.drop(row(1), row(2), row(3, "many"))
    town.pull()
    town.clock.on(hours=30)
    (town.folder / "drops" / "stalls.csv").unlink()
    town.pull()
    page = get(client_of(app, "viewer"), f"{PAGE}?lang=en").text
    text = text_of(page)
    for said in ("agreed 24 h", "30 h 1 min ago", "6 h 1 min overdue", "In force", "Everything", "Table files", "ledger entry",
                 "signs records · Ed25519", "22 nov 2027", "330483.yaml", "Pair",
                 "a coordinator can start a read"):  # fmt: skip
        assert said.lower() in text.lower(), said
    rows = re.findall(r"<tr role=\"row\">.*?</tr>", page[page.index('id="runs"') : page.index('id="quarantine"')], re.S)
    runs = [re.findall(r'class="number[^>]*>([^<]*)<', each) for each in rows[1:]]
    assert [each[:5] for each in runs] == [["0"] * 5, ["3", "2", "0", "0", "1"]]
    assert ">test <span" in rows[1] and "Incomplete" in rows[1] and "no file *.csv" in rows[1] and "Succeeded" in rows[2]
    assert '<button id="sync-now"' not in page


def test_of_a_row_set_aside_only_the_shape_of_its_value_is_told(town, app):
    town.drop(row(1, CANARY, holder=CANARY), row(2, "张三", holder=CANARY) | {"另": CANARY}, columns=(*row(1), "另"))
    town.pull()
    for name in ("viewer", "administrator"):
        for lang in ("zh", "en"):
            page = get(client_of(app, name), f"{PAGE}?lang={lang}").text
            told = page[page.index('id="quarantine"') : page.index('aria-labelledby="stays"')]
            assert CANARY not in page and "张三" not in page
            assert "金***0" in told and "<code>***</code>" in told and "费用" in told
    assert ("另有 1 个未声明的列" if lang == "zh" else "and 1 not declared") in told


def test_why_a_row_or_a_read_was_refused_is_told_in_the_language_of_the_page(town, app):
    town.drop(row(1), row(2, "many"))
    town.pull()
    (town.folder / "drops" / "stalls.csv").unlink()
    town.pull()
    client = client_of(app, "viewer")
    zh, en = (get(client, f"{PAGE}?lang={lang}").text for lang in ("zh", "en"))
    aside = text_of(zh[: zh.index('aria-labelledby="stays"')])
    assert "fee_yuan：应为金额（单位 元），实为长 4 个字符的文本" in aside and "expected" not in aside
    assert "fee_yuan: expected an amount in 元, found text of 4 characters" in text_of(en)
    for page in (zh, get(client, "/?lang=zh").text):
        assert "其文件夹中没有符合 *.csv 的文件；请等待对方投放文件，或更正 pattern:" in page and "no file" not in page
    assert "no file *.csv in its folder; wait for the city&#39;s drop" in en


def test_a_member_of_two_agreements_is_told_with_its_days(app):
    text = text_of(get(client_of(app, "viewer"), f"/jurisdictions/{WEB}?lang=en").text)
    assert "Other" in text and "1 Nov 31 Dec" in text and "Pair" in text and "agreed 6 h" in text


def test_times_are_worded_as_on_every_other_page(town, app):
    town.pull()
    page = get(client_of(app, "viewer"), f"{PAGE}?lang=en").text
    assert re.search(r'data-label="Joined">\d+ [A-Z][a-z]{2}( \d{4})?<', page)
    actual = " ".join(re.sub("<[^>]+>", " ", page[page.index("<dt>Actual") : page.index("<dt>Next")]).split())
    assert re.search(r"Actual .+ · today \d\d:\d\d · until (today|tomorrow) \d\d:\d\d", actual), actual


def test_a_city_that_signs_for_itself_offers_nothing_to_start(tmp_path):
    with rig(tmp_path / "rig", selves=("330483",), pullers=("330503",)) as made:
        enrol(made.hub.store)
        made.put("330483", "inspection/1", bodies("inspection/1", "330483", 3))
        made.nodes["330483"].push()
        base = f"http://127.0.0.1:{made.port}"
        client = signed_in(made.hub.web().test_client(), "coordinator", base_url=base)
        page = client.get("/jurisdictions/330483?lang=en", base_url=base).text
        assert "its own node pushes" in page and "sync-now" not in page and 'name="reason"' not in page
        text = text_of(page)
        assert "own node 330483" in text and "calls the hub" in text and "signs itself" in text
        for what, data in ACTIONS.items():
            reply = client.post(f"/jurisdictions/330483/{what}", base_url=base, data={"form": form_of(page)} | data)
            assert reply.status_code == 409
        handle = "+".join(made.hub.framework.members["330483"].http_keys[0].split("+")[:2])
        made.hub.revoke(handle, "stolen")
        assert re.search(r"Revoked.*stolen", text_of(client.get("/jurisdictions/330483?lang=en", base_url=base).text))


def test_keys_that_were_rotated_out_and_entries_disowned_are_told(town, app):
    town.pull()
    town.hub.rotate(FILES, void_from=2)
    text = text_of(get(client_of(app, "viewer"), f"{PAGE}?lang=en").text)
    assert text.index("In force", text.index("Keys")) < text.index("Rotated out")
    assert "entries 2–2 are disowned" in text


def test_a_keys_last_day_stands_beside_it(town, app):
    town.hub.settings = replace(town.hub.settings, hub=replace(town.hub.settings.hub, key_age=timedelta(days=90)))
    page = get(client_of(app, "viewer"), f"{PAGE}?lang=en").text
    last = START.date() + timedelta(days=90)
    keys = page[page.index('id="keys"') :]
    assert f"{last.day} {last:%b} {last.year}" in keys and "days left: 90" in keys
    town.clock.at = START + timedelta(days=91)
    assert "over" in get(client_of(app, "viewer"), f"{PAGE}?lang=en").text[page.index('id="keys"') :]


def test_the_declaration_is_shown_as_it_was_read_and_no_secret_with_it(town, app, tmp_path, monkeypatch):
    monkeypatch.setenv("TOWN_DROPS", str(town.folder / "drops"))
    town.declare(FILES, ("connection: {directory: nowhere}", "connection: {directory: env:TOWN_DROPS}  # " + MARKUP),
                 more="    expect: {min_rows: 2}\n")  # fmt: skip
    path = town.folder / "cities" / f"{FILES}.yaml"
    path.write_text(path.read_text() + "# written after it was read\n")
    page = get(client_of(app, "viewer"), f"{PAGE}?lang=en").text
    told = page[page.index("<pre>") : page.index("</pre>")]
    assert "env:TOWN_DROPS" in told and str(town.folder / "drops") not in page and "rows at least 2" in page
    assert "&lt;script&gt;alert(1)" in told and MARKUP not in page and "after it was read" not in page


def test_hostile_text_of_a_feed_stays_text(town, app):
    town.drop(row(1) | {MARKUP: "x"}, columns=(*row(1), MARKUP))
    town.pull()
    page = get(client_of(app, "viewer"), PAGE).text
    assert "未映射的列：&lt;script&gt;" in page and MARKUP not in page


# --- sync now ---


def test_sync_now_reads_on_and_tells_how_far_it_is(town, app):
    asked, may = threading.Event(), threading.Event()
    answer = town.web.server.RequestHandlerClass.do_GET

    def slow(handler):
        asked.set()
        assert may.wait(30)
        answer(handler)

    town.web.server.RequestHandlerClass.do_GET = slow
    client, path = client_of(app, "coordinator"), f"/jurisdictions/{WEB}/progress.json"
    idle = get(client, path)
    assert idle.json["running"] is False and idle.json["last"] == 0
    same = client.get(path, base_url=BASE, headers={"If-None-Match": idle.headers["ETag"]})
    assert same.status_code == 304 and same.headers["Cache-Control"] == "no-store"
    reply = post(client, "sync", WEB)
    assert reply.headers["Location"] == f"/jurisdictions/{WEB}"
    assert asked.wait(30)
    told = client.get(path, base_url=BASE, headers={"If-None-Match": idle.headers["ETag"]})
    assert told.status_code == 200 and told.json["running"] is True and told.json["who"] == "coordinator"
    assert told.json["feeds"] == [{"code": WEB, "feed": "stalls", "read": 0}]
    page = get(client, f"/jurisdictions/{WEB}?lang=en").text
    assert "Reading now" in page and 'http-equiv="refresh"' in page and "sync-now" not in page and "Running" in page
    again = post(client, "sync", WEB)
    assert again.status_code == 503 and "being read" in again.text
    may.set()
    finished(town)
    page = get(client, f"/jurisdictions/{WEB}?lang=en").text
    assert "sync-now" in page and 'http-equiv="refresh"' not in page and "Succeeded" in page
    (run,) = town.store.runs([(WEB, "stalls")], 9)
    assert (run.who, run.read, run.stored) == ("coordinator", 1, 1)
    assert get(client, path).json["last"] == run.number


def test_a_run_that_died_is_not_told_as_running(town, app, monkeypatch):
    monkeypatch.setattr(town.store, "end_pull", lambda pull: (_ for _ in ()).throw(RuntimeError()))
    post(client_of(app, "coordinator"), "sync")
    finished(town)
    page = get(client_of(app, "viewer"), f"{PAGE}?lang=en").text
    assert "No end noted" in page and "Running" not in page and "Sync now" in page


# --- pause ---


def test_pausing_and_resuming_from_the_page(town, app):
    client = client_of(app, "coordinator")
    assert post(client, "pause", reason="migration", until="2026-12-24").status_code == 303
    page = get(client, f"{PAGE}?lang=en").text
    text = text_of(page)
    assert "by coordinator: move to another system" in text and "It goes on by itself on 24 Dec" in text
    assert "sync-now" not in page and "resume-now" in page
    refused = post(client, "sync")
    assert refused.status_code == 409 and "is paused" in refused.text
    for data in ({"reason": CANARY}, {"reason": "other", "until": "yesterday"}, {}):
        assert post(client, "pause", **data).status_code == 409
    # The overview says so; accounts' names are for those who have one.
    assert next(each for each in get(client, "/status.json").json["jurisdictions"] if each["code"] == FILES)["paused"]["who"]
    assert "系统割接" in get(client, "/?lang=zh").text
    assert post(client, "resume").status_code == 303 and town.hub.pauses.of(FILES) is None
    assert CANARY not in str(town.hub.accounts.journal(50))


def test_the_public_of_an_opened_overview_learns_of_the_pause_and_not_by_whom(town):
    town.hub.pauses.pause(FILES, "maintenance", "coordinator")
    town.hub.settings = replace(town.settings, hub=replace(town.settings.hub, status_page="everybody"))
    client = town.hub.web().test_client()
    told = get(client, "/status.json")
    assert '"reason": "maintenance"' in told.text and "coordinator" not in told.text
    assert "coordinator" not in get(client, "/").text and f'href="#j-{FILES}"' in get(client, "/").text
    assert START.isoformat() in told.text


def test_the_page_is_no_larger_for_many_rows_set_aside(town, app):
    town.drop(*(row(n, "many") for n in range(120)))
    town.pull()
    client = client_of(app, "viewer")
    page = get(client, f"{PAGE}?lang=en&page=3").text
    assert "Page 3 of 3" in page
    told = page[page.index('id="quarantine"') : page.index('aria-labelledby="stays"')]
    assert told.count('<th scope="row"') == 20
