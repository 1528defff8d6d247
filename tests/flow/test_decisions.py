"""Decisions: signed onto the ledger with who and why, fed into the next night, all or nothing."""

import json
from dataclasses import replace

import pytest
from city_parts import FILES, START, WEB, Town, row

from hub import record
from hub.errors import HubError, NotFound
from hub.reconcile.worklist import Event

FLAGGED = ("    completeness: snapshot\n", "    completeness: snapshot\n    absent: flag\n")
SETTLED = """    when_ended: keep
    reconcile:
      clause: 第二条
      legal_basis: 条例
      quarantine: 2 days
      settle: {vanished: {decision: waive, reason: late_entry}}
"""


@pytest.fixture
def town(tmp_path):
    with Town(tmp_path) as made:
        started(made)
        yield made


def started(town):
    town.declare(FILES, FLAGGED)
    town.drop(row(1), row(2), row(3))
    town.pull()
    town.drop(row(1), row(3))
    night(town, 23)


def night(town, day):
    town.clock.on(minutes=1)
    (done,) = town.nightly.run("pair", [f"2026-11-{day}"])
    return done


def decisions(town):
    """Every decision record of the ledger, oldest first, from the bytes of its leaves."""
    found = []
    for entry in town.store.entries(0, 1000):
        for held in town.store.leaves(entry.first, entry.count) if entry.first else ():
            parsed = record.parse(held.raw)
            if parsed.kind == "decision/1":
                groups = record.reveal(parsed, held.disclosures.values())
                found.append(town.settings.kinds["decision/1"].join(parsed.open, groups))
    return found


def test_a_decision_is_a_signed_record_with_who_and_why(town):
    (gone,) = town.store.differences()
    town.hub.decisions.decide(gone.identity[:6], "ask_city", "asked", "li.na")
    (told,) = decisions(town)
    assert {name: told[name] for name in ("agreement", "difference", "type", "night", "decision", "reason")} == {
        "agreement": "pair", "difference": gone.identity, "type": "vanished", "night": "2026-11-23",
        "decision": "ask_city", "reason": "asked",
    }  # fmt: skip
    assert told["decided_by"] == "li.na" and told["decided_at"] == town.clock.at.isoformat()
    assert told["records"] == [gone.refs[0]._asdict()] and gone.refs[0].origin == FILES
    assert [event.step for event in town.store.difference_events(gone.identity)] == ["opened", "decided"]
    (row_now,) = town.store.differences()
    assert (row_now.state, row_now.decision) == ("decided", "ask_city")
    # Decided anew: the second revision of the same record.
    town.clock.on(minutes=1)
    town.hub.decisions.decide(gone.identity, "waive", "late_entry", "wang")
    assert [each["decision"] for each in decisions(town)] == ["ask_city", "waive"]
    assert [(known.rev, known.op) for _, known in town.store.walk("hub", "decision/1")] == [(2, "put")]
    night(town, 24)
    assert town.store.differences() == []
    (settled,) = town.store.differences(closed=True)
    assert settled.state == "closed" and settled.decision == "waive"
    town.sound()


def test_nothing_personal_and_no_account_is_on_the_ledger_itself(town):
    (gone,) = town.store.differences()
    town.hub.decisions.decide(gone.identity, "waive", "checked", "li.na")
    notes = b"".join(entry.note for entry in town.store.entries(0, 1000))
    assert b"li.na" not in notes and "摊主".encode() not in notes
    # Who decided rests sealed and encrypted; the history says it in the store alone.
    raws = b"".join(held.raw for held in town.store.leaves(1, 100))
    assert b"li.na" not in raws


def test_a_decision_that_cannot_be_signed_leaves_nothing(town, monkeypatch):
    (gone,) = town.store.differences()
    size = town.store.size()

    def broken(rows, events):
        raise OSError("disk")

    monkeypatch.setattr(town.store, "put_differences", broken)
    with pytest.raises(OSError, match="disk"):
        town.hub.decisions.decide(gone.identity, "waive", "checked", "li")
    monkeypatch.undo()
    assert town.store.size() == size and town.store.differences() == [gone] and decisions(town) == []
    assert town.store.difference_events(gone.identity) == [
        Event(gone.identity, town.clock.at.isoformat(), "night", "opened", "2026-11-23")
    ]


def test_what_changed_while_somebody_decided_is_refused(town, monkeypatch):
    (gone,) = town.store.differences()
    find = town.hub.decisions.find
    moved = replace(gone, refs=(gone.refs[0]._replace(rev=9),))

    def later(identity):
        # The first look sees it as it was; under the lock a night has gone by.
        return find(identity) if not town.store._db().in_transaction else moved

    monkeypatch.setattr(town.hub.decisions, "find", later)
    with pytest.raises(HubError, match="changed while you decided"):
        town.hub.decisions.decide(gone.identity, "waive", "checked", "li")
    monkeypatch.undo()
    assert decisions(town) == [] and town.store.differences() == [gone]


def test_a_decision_made_while_a_night_commits_is_not_lost(town, monkeypatch):
    (gone,) = town.store.differences()
    body = town.nightly._body

    def decide_first(*args):
        monkeypatch.undo()
        made = body(*args)
        town.hub.decisions.decide(gone.identity, "waive", "checked", "li")
        return made

    monkeypatch.setattr(town.nightly, "_body", decide_first)
    night(town, 24)
    assert [event.step for event in town.store.difference_events(gone.identity)] == [
        "opened", "decided", "verified", "closed",
    ]  # fmt: skip
    report = town.reports()["pair", "2026-11-24"]
    assert len(report) == 1 and report[0]["open_differences"] == 0 and "differences" not in report[0]


def test_wrong_words_are_refused_and_say_what_would_do(town):
    (gone,) = town.store.differences()
    for wrong, said in (
        (("waive", "because", "li"), "'because' is no reason; one of checked, "),
        (("not_same", "checked", "li"), "for two sides"),
        (("waive", "checked", "li\nna"), "not the name of an account"),
    ):
        with pytest.raises(HubError, match=said):
            town.hub.decisions.decide(gone.identity, *wrong)
    for unknown in ("ffff", gone.identity[:3], ""):
        with pytest.raises(NotFound):
            town.hub.decisions.find(unknown)
    assert decisions(town) == []


def test_what_the_agreement_settles_is_a_signed_decision_too(tmp_path):
    with Town(tmp_path, ("    when_ended: keep\n", SETTLED)) as town:
        started(town)
        (told,) = decisions(town)
        assert (told["decision"], told["reason"], told["decided_by"]) == ("waive", "late_entry", "agreement")
        night(town, 24)
        assert town.store.differences() == [] and len(decisions(town)) == 1
        town.sound()


def test_rows_set_aside_are_named_by_what_they_mean_and_too_long_is_a_difference_of_its_own(tmp_path):
    with Town(tmp_path, ("    when_ended: keep\n", SETTLED)) as town:
        town.drop(row(1), row(2))
        town.pull()
        town.drop(row(1, "many"), row(2), row(3, "few"), row("", 5))
        assert night(town, 23).result["open_differences"] == 3
        told = {(each.type, each.refs[0].origin) for each in town.store.differences("pair")}
        assert told == {("missing", FILES), ("stale", FILES), ("quarantined", FILES)}
        town.clock.at = START.replace(day=24, hour=2, minute=0)
        assert night(town, 24).result["open_differences"] == 3
        town.clock.at = START.replace(day=25, hour=2, minute=30)
        night(town, 25)
        (late,) = (each for each in town.store.differences() if each.type == "quarantined_long")
        assert late.severity == "high" and [(p.field, p.number) for p in late.points] == [("rows", "3")]
        town.drop(row(1), row(2), row(3))
        night(town, 26)
        assert town.store.differences() == []
        assert WEB not in json.dumps([each.refs for each in town.store.differences(closed=True)])
