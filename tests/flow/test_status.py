"""Status: every state is earned, every number counted again here, and nothing personal is ever told."""

import json
from datetime import datetime, timedelta

import pytest
from city_parts import FILES, SELF, START, WEB, Town, row
from hub_parts import bodies, rig

from hub import batch, note, record
from hub.errors import HubError
from hub.status import _ledger_facts
from hub.store.base import Acked, Pull

CANARY = "金丝雀甲"


@pytest.fixture
def town(tmp_path):
    with Town(tmp_path) as made:
        yield made


def jurisdiction(town, code=FILES):
    return next(each for each in town.hub.status()["jurisdictions"] if each["code"] == code)


def ready(town):
    """Both cities pulled, and the third seen."""
    town.drop(row(1), row(2))
    town.web.put(1)
    town.pull()
    town.pull(WEB)
    seen(town)


def seen(town):
    with town.store.transaction():
        at = town.clock.at.isoformat()
        town.store.start_pull(Pull(SELF, "push", at, "node", ended=at, state="succeeded"))
        town.store.put_acked(Acked(SELF, 1, 0, at))


# --- states ---


def test_nothing_is_on_time_before_it_succeeded(town):
    status = town.hub.status()
    assert {each["state"] for each in status["jurisdictions"]} == {"never"} and status["verdict"]["state"] == "never"
    for each in status["jurisdictions"]:
        assert each["last_success"] is each["last_attempt"] is each["fresh_until"] is each["problem"] is None
        assert [day["state"] for day in each["strip"]] == ["never"] * 30
    town.web.fault = (1, "busy")
    town.web.put(1)
    town.pull(WEB)
    tried = jurisdiction(town, WEB)
    assert tried["state"] == "failing" and tried["last_success"] is None and tried["last_attempt"]
    assert tried["problem"] and tried["strip"][-1]["state"] == "failing"


def test_a_state_follows_from_the_age_of_the_last_success(town):
    ready(town)
    success = datetime.fromisoformat(jurisdiction(town)["last_success"])
    assert success == START + timedelta(minutes=1)
    for age, state in (
        (timedelta(hours=24), "on_time"),
        (timedelta(hours=24, seconds=1), "late"),
        (timedelta(hours=48), "late"),
        (timedelta(hours=48, seconds=1), "failing"),
    ):  # fmt: skip
        town.clock.at = success + age
        found = jurisdiction(town)
        assert found["state"] == state and found["fresh_until"] == (success + timedelta(hours=24)).isoformat()
    # Trying is not succeeding: an attempt that fails makes nothing fresher.
    (town.folder / "drops" / "stalls.csv").unlink()
    town.pull()
    found = jurisdiction(town)
    assert datetime.fromisoformat(found["last_success"]) == success and found["last_attempt"] > found["last_success"]
    assert found["state"] in ("failing", "action")
    town.drop(row(1), row(2))
    town.pull()
    assert jurisdiction(town)["state"] == "on_time" and jurisdiction(town)["problem"] is None


def test_a_city_is_as_fresh_as_its_stalest_feed(town):
    ready(town)
    town.hub.status._feeds = {**town.hub.status._feeds, FILES: {(FILES, "stalls"), (FILES, "second")}}
    assert jurisdiction(town)["state"] != "on_time" and jurisdiction(town)["last_success"] is None
    at = [town.clock.at - timedelta(hours=30), town.clock.at]
    for moment in at:
        with town.store.transaction():
            stamp = moment.isoformat()
            town.store.start_pull(Pull(FILES, "second", stamp, "test", ended=stamp, state="succeeded"))
        found = jurisdiction(town)
        assert found["state"] == ("late" if moment == at[0] else "on_time")


def test_what_a_person_must_look_at_asks_for_action_until_it_is_well_again(town):
    ready(town)
    town.web.fault = (1, "odd")
    town.pull(WEB)
    found = jurisdiction(town, WEB)
    assert found["state"] == "action" and found["last_success"] and "records" in found["problem"]["en"]
    verdict = town.hub.status()["verdict"]
    assert verdict["state"] == "action" and "Nanxun" in verdict["cause"]["en"] and "南浔区" in verdict["cause"]["zh"]
    assert verdict["action"]["zh"] and verdict["action"]["en"]
    assert town.hub.status()["jurisdictions"][0]["code"] == WEB
    town.web.fault = None
    town.pull(WEB)
    assert jurisdiction(town, WEB)["state"] == "on_time" and town.hub.status()["verdict"]["state"] == "ok"


def test_an_expectation_that_failed_asks_for_action(town):
    ready(town)
    town.declare(FILES, more="    expect: {min_rows: 2}\n")
    town.drop(row(1))
    town.pull()
    assert jurisdiction(town)["state"] == "action" and "at least 2" in jurisdiction(town)["problem"]["en"]


def test_the_whole_is_the_worst_of_its_parts(town):
    ready(town)
    assert town.hub.status()["verdict"]["state"] == "ok"
    states = {}
    for hours, worst in ((0, "ok"), (25, "late"), (49, "failing")):
        town.clock.at = START + timedelta(hours=hours, minutes=1)
        town.pull()
        seen(town)
        status = town.hub.status()
        states[hours] = {each["code"]: each["state"] for each in status["jurisdictions"]}
        assert status["verdict"]["state"] == worst and states[hours][FILES] == states[hours][SELF] == "on_time"
        assert status["jurisdictions"][0]["code"] == (WEB if worst != "ok" else FILES)
    assert [states[hours][WEB] for hours in states] == ["on_time", "late", "failing"]


def test_open_differences_keep_the_whole_from_being_well(town):
    ready(town)
    snapshot = "    completeness: snapshot\n"
    town.declare(FILES, (snapshot, f"{snapshot}    absent: flag\n"))
    town.drop(row(1))
    town.hub.reconcile("pair", ["2026-11-23"])
    status = town.hub.status()
    assert status["verdict"]["state"] != "ok" and status["numbers"]["open_differences"] == 1
    assert jurisdiction(town)["differences"] == 1 and jurisdiction(town, WEB)["differences"] == 0


def verdict(town):
    return town.hub.status()["verdict"]


def test_a_night_that_was_not_done_keeps_the_whole_from_being_well(town):
    ready(town)
    town.hub.nightly.due()  # Looked at first: from here on nights are owed.
    town.clock.at = START.replace(hour=2, minute=45) + timedelta(days=1)
    for _ in (town.pull(), town.pull(WEB), seen(town)):
        assert verdict(town)["state"] == "ok", verdict(town)
    town.clock.on(minutes=15)
    assert verdict(town)["state"] == "late" and "night 2026-11-23 not done" in verdict(town)["en"]
    town.hub.reconcile("pair", ["2026-11-23"])
    assert verdict(town)["state"] == "ok"


def test_a_night_that_left_a_city_out_is_told_in_the_verdict(town):
    ready(town)
    town.web.fault = (1, "busy")
    town.hub.reconcile("pair", ["2026-11-23"])
    town.web.fault = None
    town.pull(WEB)
    told = verdict(town)
    assert told["state"] == "late" and WEB in told["cause"]["en"]
    assert "1 not compared last night" in told["en"] + told["cause"]["en"]


def test_a_ledger_that_does_not_verify_is_the_gravest_news(town):
    ready(town)
    town.hub.verify()
    at = town.hub.status()["ledger"]["verified_at"]
    db = town.store._db()
    index, kept = db.execute("SELECT idx, note FROM entry WHERE count = 2").fetchone()
    db.execute("UPDATE entry SET note = ? WHERE idx = ?", (kept.replace(b"count 2", b"count 3"), index))
    town.clock.on(minutes=1)
    with pytest.raises(HubError):
        town.hub.verify()
    status = town.hub.status()
    assert status["verdict"]["state"] == "action" and "did not verify" in status["verdict"]["en"]
    assert status["ledger"]["problem"]["en"] and status["ledger"]["verified_at"] == at
    db.execute("UPDATE entry SET note = ? WHERE idx = ?", (kept, index))
    town.hub.verify()
    assert verdict(town)["state"] == "ok"


def test_a_ledger_that_nobody_witnesses_for_a_day_is_not_well():
    now = START + timedelta(hours=25)
    part = {"problem": None, "witnessed": {"since": START.isoformat()}}
    (told,) = _ledger_facts(part, now)
    assert told["state"] == "late" and "unwitnessed since 2026-11-22" in told["en"]
    assert list(_ledger_facts(part, START + timedelta(hours=23))) == []
    assert list(_ledger_facts({"problem": None, "witnessed": {"since": None}}, now)) == []


def test_the_strip_tells_each_day_as_it_was(town):
    ready(town)
    days = {0: "succeeded", 1: "incomplete", 3: "failed", 5: "running", 29: "succeeded", 30: "succeeded"}
    with town.store.transaction():
        for ago, state in days.items():
            at = (START - timedelta(days=ago)).isoformat()
            town.store.start_pull(Pull(FILES, "stalls", at, "test", ended=at, state=state))
            if ago == 3:
                town.store.start_pull(Pull(FILES, "stalls", at, "test", ended=at, state="succeeded"))
    strip = jurisdiction(town)["strip"]
    assert len(strip) == 30 and strip[-1]["day"] == "2026-11-22" and strip[0]["day"] == "2026-10-24"
    told = {29 - n: day["state"] for n, day in enumerate(strip) if day["state"] != "never"}
    assert told == {0: "on_time", 1: "failing", 3: "late", 29: "on_time"}


# --- a member that signs for itself ---


def test_a_self_member_is_seen_by_its_pushes_and_pulls(tmp_path):
    with rig(tmp_path / "rig", selves=("330483",), pullers=()) as made:

        def shown():
            return next(each for each in made.hub.status()["jurisdictions"] if each["code"] == "330483")

        assert shown()["state"] == "never" and shown()["custody"] == "self" and shown()["records"] == 0
        made.clock.at += timedelta(hours=1)
        made.put("330483", "inspection/1", bodies("inspection/1", "330483", 3))
        made.nodes["330483"].push()
        assert shown()["state"] == "on_time" and shown()["records"] == 3
        assert shown()["last_success"] == made.clock.at.isoformat() and shown()["next"] is None
        made.clock.at += timedelta(hours=25)
        assert shown()["state"] == "late"
        made.nodes["330483"].pull()
        made.clock.at += timedelta(minutes=5)
        made.nodes["330483"].pull()  # tells the hub how far the one before came
        assert shown()["state"] == "on_time"
        made.clock.at += timedelta(hours=49)
        assert shown()["state"] == "failing"


# --- numbers ---


def test_every_number_is_what_an_independent_count_gives(town):
    town.drop(*map(row, range(6)), row(90, "many"))
    for n in range(4):
        town.web.put(n)
    town.pull()
    town.pull(WEB)
    town.drop(*map(row, range(5)), row(90, "many"), row(91, "more"))
    town.pull()
    town.hub.reconcile("pair", ["2026-11-22"])
    town.clock.at = START + timedelta(days=1)
    town.drop(*(row(n, 20 if n < 2 else 10) for n in range(5)), row(90, "many"))
    town.pull()
    town.hub.reconcile("pair", ["2026-11-23"])
    status = town.hub.status()
    records, today = {}, 0
    for entry in town.store.entries(0, 1_000):
        parsed = batch.parse(town.hub.ledger.hub, note.parse(entry.note).text)
        if entry.count and entry.origin != "hub":
            today += entry.count if parsed.time.startswith("2026-11-23") else 0
            for held in town.store.leaves(entry.first, entry.count):
                leaf = record.parse(held.raw)
                records[leaf.origin, leaf.id] = leaf.op
    assert status["numbers"] == {
        "records_today": 2, "records": 9, "open_differences": len(town.store.differences()), "quarantined": 1,
    }  # fmt: skip
    assert today == 2 and list(records.values()).count("put") == 9
    found = jurisdiction(town)
    assert (found["records"], found["retracted"], found["quarantined"]) == (5, 1, 1)
    assert (found["read"], found["stored"]) == (6, 0) and found["differences"] == 1
    _, head = town.hub.ledger.checkpoint()
    ledger = status["ledger"]
    assert (ledger["size"], ledger["root"]) == (
        head.size,
        note.b64(head.root),
    ) and head.size == town.store.size()
    assert ledger["checkpoint_at"] == town.clock.at.isoformat()
    events = [(each["at"], each["state"], each["code"]) for each in status["events"]]
    assert events == sorted(events, key=lambda each: datetime.fromisoformat(each[0]), reverse=True)
    assert {code for _, _, code in events} == {FILES, WEB, None}
    # What was read is told by the name of its kind, not by the feed's in a declaration.
    declared = town.hub.settings.declarations[FILES]
    label = town.hub.settings.kinds[declared.feeds[0].kind].label
    told = next(each for each in status["events"] if each["code"] == FILES)
    assert label["zh"] + "：" in told["zh"] and f", {label['en']}: " in told["en"]


def test_verified_at_is_when_the_ledger_was_verified_and_how_far(town):
    assert town.hub.status()["ledger"]["verified_at"] is None
    ready(town)
    town.hub.verify()
    at, size = town.clock.at, town.store.size()
    town.drop(row(1), row(2), row(3))
    town.pull()
    ledger = town.hub.status()["ledger"]
    assert (ledger["verified_at"], ledger["verified_size"], ledger["size"]) == (
        at.isoformat(),
        size,
        size + 1,
    )
    town.hub.reconcile("pair", ["2026-11-23"])
    ledger = town.hub.status()["ledger"]
    assert (ledger["verified_at"], ledger["verified_size"]) == (town.clock.at.isoformat(), size + 2)


def test_the_night_is_told_with_its_next_time_and_zone(town):
    ready(town)
    status = town.hub.status()
    assert status["hub"]["time_zone"] == "Asia/Shanghai" and status["night"]["next"] == "2026-11-23T02:00:00+08:00"
    assert status["night"]["agreements"][0]["last"] is None
    town.web.fault = (1, "busy")
    town.clock.at = datetime.fromisoformat("2026-11-22T18:00:00+00:00")
    town.hub.reconcile("pair", ["2026-11-23"])
    (told,) = town.hub.status()["night"]["agreements"]
    assert told["next"] == "2026-11-24T02:00:00+08:00" and told["name"] == {"zh": "两地协议", "en": "Pair"}
    last = told["last"]
    assert (last["night"], last["compared"], last["repaired"], last["differences"]) == ("2026-11-23", 2, 0, 1)
    assert last["not_compared"] == [WEB] and last["state"] == "incomplete"


# --- secrecy ---


def test_nothing_personal_is_told(town):
    town.drop(row(CANARY, holder=CANARY), row(CANARY + "2", "一" + CANARY, holder=CANARY), row(3, holder=CANARY * 9))
    town.web.put(CANARY, holder=CANARY)
    town.pull()
    town.pull(WEB)
    town.drop(row(3, holder=CANARY))
    town.hub.reconcile("pair", ["2026-11-22"])
    town.web.fault = (1, "odd")
    town.pull(WEB)
    told = json.dumps(town.hub.status(), ensure_ascii=False)
    assert CANARY not in told and "摊主" not in told
    assert any(CANARY in each["holder"] for each in town.view(WEB).values())
