"""Keys that grow old are told in time; what they signed verifies for ever, and an HTTP key's last day is its last."""

import json
from datetime import date, timedelta

import pytest
from click.testing import CliRunner
from console_parts import PASSWORD, signed_in
from hub_parts import START, bodies, rig

from hub import cli
from hub.errors import KeyRefused
from hub.keys import KeyEnd, end_of
from hub.status import _key_facts
from hub.web.metrics import metrics

A, CUSTODIAL = "330483", "330503"
TONGXIANG = "en: Tongxiang}, tier: county, custody: self}"
AGE = 365


@pytest.fixture
def made(tmp_path):
    with rig(tmp_path, selves=(A,), pullers=()) as made:
        made.put(CUSTODIAL, "case/1", bodies("case/1", CUSTODIAL, 2))
        made.put(A, "case/1", bodies("case/1", A, 1))
        made.nodes[A].push()
        yield made


def city(made, code=CUSTODIAL):
    return next(each for each in made.hub.status()["jurisdictions"] if each["code"] == code)


def ends(made):
    return {each["owner"]: (each["state"], each["days_left"]) for each in made.hub.status()["key_ends"]}


# --- signing keys ---


@pytest.mark.parametrize(
    ("left", "state"), [(31, "ok"), (30, "soon"), (8, "soon"), (7, "near"), (0, "near"), (-1, "passed"), (-400, "passed")]
)
def test_warnings_come_30_and_7_days_before_and_once_it_is_over(left, state):
    end = KeyEnd("330483", "batch", "k+00", date(2027, 1, 1), left)
    assert (end.state, end.words is None) == (state, state == "ok")
    if end.words:
        assert all("k+00" in words and "2027-01-01" in words for words in end.words.values())


@pytest.mark.parametrize(
    ("role", "zh", "en"), [("batch", "立即轮换", "rotate it now"), ("http", "请求已被拒绝", "are refused")]
)
def test_past_its_last_day_each_key_is_spoken_of_by_what_it_does(role, zh, en):
    words = KeyEnd("330483", role, "k+00", date(2027, 1, 1), -1).words
    assert zh in words["zh"] and en in words["en"]


def test_the_end_is_counted_from_the_day_a_key_came_into_force():
    found = end_of("a", "batch", "k", "2026-11-22T17:00:00+08:00", timedelta(days=365), date(2027, 11, 15))
    assert (found.last, found.left) == (date(2027, 11, 22), 7)
    assert end_of("a", "batch", "k", "", timedelta(days=365), START.date()) is None
    assert end_of("a", "batch", "k", "2026-11-22", None, START.date()) is None


def test_an_old_signing_key_is_told_loudly_and_goes_on_signing(made):
    before = city(made)
    made.clock.at = START + timedelta(days=AGE - 31)
    assert ends(made) == dict.fromkeys(["hub", A, *made.hub.custodial()], ("ok", 31))
    assert city(made)["problem"] == before["problem"]
    made.clock.at = START + timedelta(days=AGE - 7)
    told = city(made)
    assert ends(made)[CUSTODIAL] == ("near", 7) and told["state"] != "action"
    assert "7 days left" in told["problem"]["en"] and "还有 7 天" in told["problem"]["zh"]
    made.clock.at = START + timedelta(days=AGE + 1)
    told = city(made)
    assert told["state"] == "action" and "rotate it now" in told["problem"]["en"]
    assert city(made, A)["state"] == "action", "a city that signs for itself too, by its entries on the ledger"
    # Nothing stops: it signs, and all of it verifies.
    made.put(CUSTODIAL, "case/1", bodies("case/1", CUSTODIAL, 1, seed="late"))
    made.put(A, "case/1", bodies("case/1", A, 1, seed="late"))
    made.nodes[A].push()
    made.hub.verify()
    made.hub.rotate(CUSTODIAL)
    made.nodes[A].rotate()
    made.nodes[A].push()
    assert ends(made)[CUSTODIAL] == ends(made)[A] == ("ok", AGE)
    assert city(made)["problem"] == before["problem"] and city(made)["state"] != "action"
    made.hub.verify()


def test_the_hubs_own_key_is_told_in_the_verdict_on_the_page_and_in_the_metrics(made):
    made.clock.at = START + timedelta(days=AGE - 30)
    status = made.hub.status()
    (own,) = [each for each in status["key_ends"] if each["owner"] == "hub"]
    assert own["state"] == "soon" and 'owner="hub",role="batch"} 30.0' in metrics(status, True).decode()
    made.hub.accounts.add("zhang.wei", PASSWORD, "viewer", who="test")
    page = signed_in(made.hub.web().test_client(), "zhang.wei").get("/?lang=en").text
    assert f"the signing key {own['key'].replace('+', '&#43;')} has its last day" in page.replace("+", "&#43;")
    (told,) = _key_facts([KeyEnd("hub", "batch", "k+00", date(2027, 1, 1), 3)])
    assert told["state"] == "late" and "keys rotate hub" in told["action"]["en"] and "k+00" in told["cause"]["en"]
    assert list(_key_facts([KeyEnd("hub", "batch", "k+00", date(2027, 12, 1), 300)])) == []


def test_keys_list_says_since_when_and_until_when(made):
    made.hub.rotate(CUSTODIAL)
    made.clock.at = START + timedelta(days=5)
    made.hub.rotate("hub")
    made.stop()
    found = CliRunner().invoke(cli.main, ["keys", "list", "--json", "--data", str(made.folder / "hub")])
    rows = {(each["role"], each["owner"], each["state"]): each for each in json.loads(found.output)["keys"]}
    day = START.date()
    for owner, since in ((CUSTODIAL, day), ("330400", day), ("hub", day + timedelta(days=5))):
        row = rows["batch", owner, "current"]
        assert row["since"][:10] == since.isoformat()
        assert row["expires"] == (since + timedelta(days=AGE)).isoformat()
        assert row["days_left"] == (date.fromisoformat(row["expires"]) - date.today()).days
        assert (rows["batch", owner, "next"]["since"], rows["batch", owner, "next"]["expires"]) == ("", "")
    # The ledger's own key has no end: it is what the ledger's name means.
    assert rows["ledger", "hub", "current"]["since"] and rows["ledger", "hub", "current"]["expires"] == ""
    made.open()


# --- HTTP keys ---


def test_an_http_key_past_its_last_day_signs_no_more_requests(made):
    node, vkey = made.nodes[A], made.made[A]["http_key"]
    last = START.date() + timedelta(days=10)
    made.restart((TONGXIANG, f'{TONGXIANG[:-1]}, http_keys: [{{key: "{vkey}", until: {last}}}]}}'))
    assert made.hub.framework.members[A].http_until == {vkey: last}
    made.clock.at = START.replace(hour=23, minute=59) + timedelta(days=10)
    node.pull()
    told = city(made, A)
    assert "HTTP key" in told["problem"]["en"] and "0 days left" in told["problem"]["en"]
    made.clock.at += timedelta(minutes=1)
    with pytest.raises(KeyRefused, match=f"the last day of the key .* was {last}"):
        node.pull()
    assert city(made, A)["state"] == "action" and "refused" in city(made, A)["problem"]["en"]
    made.hub.verify()
