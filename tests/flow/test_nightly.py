"""The night: everything is compared, repaired or named, and each night is committed exactly once."""

import os
import random
from collections import Counter
from datetime import datetime, timedelta

import pytest
from city_parts import FILES, KIND, SELF, START, WEB, Clock, Town, row
from night_racer import Racer

from hub.errors import Fenced
from hub.nightly import LEASE

FULL = bool(os.environ.get("CROSSREGION_FULL"))
NIGHT = "2026-11-23"


@pytest.fixture
def town(tmp_path):
    with Town(tmp_path) as made:
        made.drop(row(1), row(2), row(3))
        for n in range(1, 5):
            made.web.put(n)
        made.pull()
        made.pull(WEB)
        yield made


def night(town, day=NIGHT, name="pair"):
    town.clock.on(minutes=1)
    (done,) = town.nightly.run(name, [day])
    return done


def opened(town):
    return {(each.type, each.refs[0].origin) for each in town.store.differences()}


# --- what a night does ---


def test_a_night_repairs_what_is_missing_and_changed_and_retracts_what_vanished(town):
    town.drop(row(1), row(2, 20), row(4), row(5))
    # Behind the cursor's back: an incremental read would not see these.
    town.web.rows[0] |= {"费用": "99"}
    del town.web.rows[1]
    done = night(town)
    assert town.fees() == {"1": "10", "2": "20", "4": "10", "5": "10"}
    assert town.fees(WEB) == {"1": "99", "3": "10", "4": "10"}
    figures = {
        "compared": 7,
        "equal": 3,
        "repaired": 4,
        "retracted": 2,
        "quarantined": 0,
        "open_differences": 0,
    }
    assert done.state == "committed" and {name: done.result[name] for name in figures} == figures
    ((report,),) = town.reports().values()
    assert {name: report[name] for name in figures} == figures
    assert report["not_compared_count"] == 0 and "differences" not in report and "not_compared" not in report
    assert report["started_at"] == report["committed_at"] == town.clock.at.isoformat()
    assert done.result["own_nodes"] == [SELF]
    town.sound()


def test_a_night_that_is_committed_changes_nothing_when_it_is_run_again(town):
    night(town)
    size = town.store.size()
    assert town.nightly.run("pair", [NIGHT]) == [] and town.store.size() == size
    quiet = night(town, "2026-11-24").result
    assert (quiet["compared"], quiet["equal"], quiet["repaired"], quiet["retracted"]) == (7, 7, 0, 0)
    assert town.store.size() == size + 1


def test_what_vanished_is_flagged_where_the_city_declares_so_and_closed_when_it_is_back(town):
    snapshot = "    completeness: snapshot\n"
    town.declare(FILES, (snapshot, f"{snapshot}    absent: flag\n"))
    town.drop(row(1), row(3))
    done = night(town)
    assert opened(town) == {("vanished", FILES)} and set(town.fees()) == {"1", "2", "3"}
    (gone,) = town.store.differences()
    report = town.reports()["pair", NIGHT][0]
    (ref,) = gone.refs
    listed = {"type": "vanished", "origin": FILES, "kind": KIND, "id": ref.id, "severity": "medium"}
    assert report["differences"] == [listed | {"difference": gone.identity, "state": "opened"}]
    assert done.result["open_differences"] == report["open_differences"] == 1
    night(town, "2026-11-24")
    (same,) = town.store.differences()
    assert (same.identity, same.first_night, same.last_night) == (gone.identity, NIGHT, "2026-11-24")
    town.drop(row(1), row(2), row(3))
    night(town, "2026-11-25")
    assert town.store.differences() == []


@pytest.mark.parametrize("fault", ["busy", "odd", "away"])
def test_a_city_that_cannot_be_read_is_named_and_the_others_are_done(town, fault):
    town.drop(row(1, 11), row(2), row(3))
    if fault == "away":
        town.web.close()
    else:
        town.web.fault = (2, fault)
    done = night(town)
    assert done.result["not_compared"] == [WEB] and town.fees()["1"] == "11"
    report = town.reports()["pair", NIGHT][0]
    assert (report["not_compared"], report["not_compared_count"], report["repaired"]) == ([WEB], 1, 1)
    assert opened(town) == {("not_compared", WEB)}
    assert set(town.fees(WEB)) == {"1", "2", "3", "4"}
    if fault == "away":
        town.web = None
    else:
        town.web.fault = None
        assert night(town, "2026-11-24").result["not_compared"] == [] and opened(town) == set()


def test_open_differences_of_a_city_that_is_not_compared_stay_open(town):
    town.declare(WEB, ("    completeness: snapshot\n", "    completeness: snapshot\n    absent: flag\n"))
    del town.web.rows[0]
    town.web.edit(2, "many")
    night(town)
    assert opened(town) == {("stale", WEB), ("vanished", WEB)} and set(town.fees(WEB)) == {
        "1",
        "2",
        "3",
        "4",
    }
    town.web.edit(1, 10)
    town.web.edit(2, 5)
    town.web.fault = (1, "busy")
    assert night(town, "2026-11-24").result["open_differences"] == 3
    assert opened(town) == {("stale", WEB), ("vanished", WEB), ("not_compared", WEB)}
    town.web.fault = None
    assert night(town, "2026-11-25").result["open_differences"] == 0 and opened(town) == set()


def test_an_expectation_that_fails_is_a_difference_of_a_city_that_was_compared(town):
    town.declare(FILES, more="    expect: {min_rows: 3}\n")
    town.drop(row(1))
    done = night(town)
    assert done.result["not_compared"] == [] and opened(town) == {("unexpected_total", FILES)}
    assert set(town.fees()) == {"1", "2", "3"} and done.result["retracted"] == 0


def test_a_member_without_a_declaration_is_named_as_not_compared(town):
    del town.declared[WEB]
    assert night(town).result["not_compared"] == [WEB]


def test_missed_nights_are_closed_oldest_first_from_one_comparison(town):
    town.drop(row(1), row(2), row(3), row(4))
    asked = len(town.web.asked)
    town.clock.on(days=3)
    days = [f"2026-11-2{n}" for n in (3, 4, 5)]
    done = town.nightly.run("pair", [days[2], days[0], days[1]])
    assert [each.night for each in done] == days and len(town.web.asked) == asked + 2
    assert [each.result["repaired"] for each in done] == [1, 0, 0]
    assert [each.result["equal"] for each in done] == [7, 8, 8]
    # The report tells when the comparison really was, not when it should have been.
    assert {each["started_at"] for (each,) in town.reports().values()} == {town.clock.at.isoformat()}


# --- when ---


def test_a_night_is_due_from_its_local_hour_on_and_never_before_the_hub_was_there(tmp_path):
    clock = Clock(datetime.fromisoformat("2026-11-23T01:00:00+08:00"))
    with Town(tmp_path, clock=clock) as town:
        assert town.nightly.due() == []
        clock.at = datetime.fromisoformat("2026-11-23T01:59:59+08:00")
        assert town.nightly.due() == []
        clock.at = datetime.fromisoformat("2026-11-22T18:00:00+00:00")  # 02:00 in Shanghai, by a clock in UTC
        assert town.nightly.due() == [("pair", "2026-11-23")]
        assert town.nightly.next("pair").isoformat() == "2026-11-24T02:00:00+08:00"


def test_after_downtime_every_missed_night_is_due_oldest_first(tmp_path):
    second = """  other:
    name: {zh: 另一协议, en: Other}
    basis: 协议
    in_force: 2026-11-25
    until: 2026-11-26
    night: "01:00"
    freshness: 24 hours
    when_ended: keep
    members: [{code: "330483"}, {code: "330503"}]
    shares: []
"""
    with Town(tmp_path, ("agreements:\n", f"agreements:\n{second}")) as town:
        assert town.nightly.due() == []
        town.clock.at = START + timedelta(days=5)
        days = ["2026-11-23", "2026-11-24", "2026-11-25", "2026-11-26", "2026-11-27"]
        due = town.nightly.due()
        assert [night for _, night in due] == sorted([*days, *days[2:4]])
        assert {night for name, night in due if name == "other"} == set(days[2:4])
        town.nightly.run("pair", [days[1], days[3]])
        # A later night that is committed does not hide an earlier one that is not.
        assert [night for name, night in town.nightly.due() if name == "pair"] == [days[0], days[2], days[4]]
        town.hub.tick()
        assert town.nightly.due() == [] and {night for _, night in town.reports()} == set(days)
        assert all(len(found) == 1 for found in town.reports().values()) and len(town.reports()) == 7


def test_the_days_before_the_hub_was_there_are_not_made_up(tmp_path):
    with Town(tmp_path) as town:
        town.nightly.due()
    clock = Clock(START + timedelta(days=2))
    with Town(tmp_path, clock=clock) as town:
        assert [night for _, night in town.nightly.due()] == ["2026-11-23", "2026-11-24"]


# --- claims ---


def test_a_run_that_lost_its_claim_commits_nothing(town):
    store, nightly = town.store, town.nightly
    town.drop(row(1, 50), row(2), row(3))
    now = int(town.clock.at.timestamp())

    def lose(*args):
        with store.transaction():
            # The other run comes when this one's lease has ended.
            late = now + int(LEASE.total_seconds()) + 1
            assert store.claim_night("pair", NIGHT, "another", late, late + 60)

    compare = nightly._compare_city
    nightly._compare_city = lambda *args: (compare(*args), lose())[0] if args[1] == WEB else compare(*args)
    town.clock.at += timedelta(seconds=1)
    assert nightly.run("pair", [NIGHT]) == []
    assert town.reports() == {} and store.night("pair", NIGHT).state == "claimed"
    assert town.fees()["1"] == "50"  # Repairs are ordinary intake: they stand.
    del nightly._compare_city
    assert nightly.run("pair", [NIGHT]) == []
    with pytest.raises(Fenced), store.transaction():
        store.commit_night("pair", NIGHT, "wrong", {})
    town.clock.on(hours=2)
    assert night(town).state == "committed" and len(town.reports()["pair", NIGHT]) == 1
    town.sound()


def test_a_claim_is_not_taken_before_it_ends(town):
    store, now = town.store, int(town.clock.at.timestamp())
    with store.transaction():
        assert store.claim_night("pair", NIGHT, "another", now, now + 600)
    assert town.nightly.run("pair", [NIGHT]) == []
    town.clock.on(seconds=599)
    assert town.nightly.run("pair", [NIGHT]) == []
    town.clock.on(seconds=1)
    assert night(town).state == "committed"


# --- exactly once ---


def test_each_night_is_committed_once_by_three_processes_that_are_killed(tmp_path):
    """Clocks differ by more than a claim lasts: one takes another's night while it works, which is fenced."""
    kills, nights = (60, 200) if FULL else (10, 20)
    draw = random.Random(kills)
    with Town(tmp_path, web=False) as town:
        town.drop(*map(row, range(50)))
        town.nightly.due()
    base, killed, idle, rounds = START, 0, 0, 0
    racers = [Racer(tmp_path, base) for _ in range(3)]
    try:
        for each in racers:
            each.pipe.recv()
        while idle < 2 and rounds < 5 * nights:
            rounds += 1
            busy = killed < kills or base < START + timedelta(days=nights)
            # Once enough has happened time goes on by less than a night, until nothing is left.
            base += timedelta(hours=draw.randrange(6, 26)) if busy else timedelta(minutes=40)
            for each in racers:
                each.pipe.send(base + timedelta(minutes=draw.randrange(45)) if busy else base)
            victim = racers[draw.randrange(3)]
            # Nothing waits for this: it is the moment of the fault, in the midst of a night or of none.
            if busy and killed < kills and not victim.pipe.poll(draw.uniform(0, 0.03)):
                victim.kill()
                killed += 1
                racers[racers.index(victim)] = Racer(tmp_path, base)
            done = sum(each.pipe.recv() for each in racers)
            idle = idle + 1 if not busy and done == 0 else 0
        for each in racers:
            each.pipe.send(None)
    finally:
        for each in racers:
            each.kill()
    begun, first = START.date(), START.replace(hour=2)
    wanted = [(begun + timedelta(days=n)).isoformat() for n in range(1, 1_000) if first + timedelta(days=n) <= base]
    with Town(tmp_path, clock=Clock(base), web=False) as town:
        committed = Counter(each.night for each in town.store.nights("pair", 1_000) if each.state == "committed")
        assert committed == Counter(wanted) and town.nightly.due() == []
        assert {key: len(found) for key, found in town.reports().items()} == {("pair", night): 1 for night in wanted}
        assert killed == kills and len(wanted) >= nights
        town.sound()
