"""Intake: a change is signed once, what cannot be read is set aside and retried, absence is never assumed."""

import subprocess
import sys
from pathlib import Path

import pytest
from city_parts import COLUMNS, FILES, KIND, START, WEB, Town, row
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from hub.store.base import Pull

TESTS = Path(__file__).parents[1]
CANARY = "金丝雀甲"
SNAPSHOT = "    completeness: snapshot\n"


@pytest.fixture
def town(tmp_path):
    with Town(tmp_path) as made:
        yield made


def figures(outcome) -> tuple[int, int, int, int, int]:
    pull = outcome.pull
    return pull.read, pull.stored, pull.unchanged, pull.retracted, pull.quarantined


# --- what changed ---


@pytest.mark.parametrize(("more", "twins"), [("", "refused"), ("    duplicates: first\n", "unchanged")])
def test_a_trial_counts_what_the_pull_then_does(town, more, twins):
    declared = town.declare(FILES, more=more)
    town.drop(row(1), row(2), row(3), row(5), row(6))
    town.pull()
    # 2 and 4 stand twice, 4 with two fees; 3 cannot be read, which is no reason to miss it; 5 and 6 are gone.
    town.drop(row(1), row(2, 20), row(3, "many"), row(4), row(4, 40), row(2, 20))
    size = town.store.size()
    (told,) = town.hub.trial(declared)
    found = {"read": 6, "new": 1, "revised": 1, "unchanged": 2, "refused": 1, "absent": 2}
    found[twins] += 1
    assert {name: told[name] for name in found} == found and town.store.size() == size
    done = town.pull()
    assert figures(done) == (6, 2, found["unchanged"], 2, found["refused"])
    assert (done.added.count, done.changed.count) == (1, 1)


def test_a_trial_calls_absent_only_what_the_pull_may_take_for_vanished(town):
    town.drop(row(1), row(2), row(3))
    town.pull()
    town.drop(row(1))
    (told,) = town.hub.trial(town.declare(FILES, (SNAPSHOT, "    completeness: delta\n")))
    assert told["absent"] == 0
    town.drop(row(1), row(""))
    (told,) = town.hub.trial(town.declare(FILES))
    assert (told["refused"], told["absent"]) == (1, 0) and town.pull().retracted.count == 0
    window = "    completeness: window\n    window: {field: checked_on, days: 30}\n"
    declared = town.declare(FILES, (SNAPSHOT, window))
    town.drop(row(1), row(2), row(3, checked="2026-10-01"))
    town.pull()
    town.drop(row(1))
    (told,) = town.hub.trial(declared)
    assert told["absent"] == 1 == town.pull().retracted.count


def test_unchanged_rows_sign_nothing_and_changed_ones_count_up(town):
    town.drop(row(1), row(2), row(3))
    assert figures(town.pull()) == (3, 3, 0, 0, 0)
    size = town.store.size()
    assert figures(town.pull()) == (3, 0, 3, 0, 0) and town.store.size() == size
    town.drop(row(1), row(2, 20), row(3, seen="2026-11-21 09:00:00"))
    outcome = town.pull()
    assert figures(outcome) == (3, 1, 2, 0, 0) and (outcome.changed.count, outcome.added.count) == (1, 0)
    assert town.fees() == {"1": "10", "2": "20", "3": "10"} and town.revs() == [
        (1, "put"),
        (1, "put"),
        (2, "put"),
    ]
    town.sound()


def test_a_snapshots_absence_retracts_and_what_comes_back_stands_again(town):
    town.drop(row(1), row(2))
    town.pull()
    town.drop(row(1))
    outcome = town.pull()
    assert figures(outcome) == (1, 0, 1, 1, 0) and outcome.retracted.first[0].origin == FILES
    assert town.fees() == {"1": "10"} and town.revs() == [(1, "put"), (2, "retract")]
    assert figures(town.pull()) == (1, 0, 1, 0, 0)
    town.drop(row(1), row(2))
    assert figures(town.pull()) == (2, 1, 1, 0, 0)
    assert town.fees() == {"1": "10", "2": "10"} and town.revs() == [(1, "put"), (3, "put")]
    town.sound()


def test_absence_is_flagged_where_the_city_declares_so(town):
    town.declare(FILES, (SNAPSHOT, f"{SNAPSHOT}    absent: flag\n"))
    town.drop(row(1), row(2))
    town.pull()
    town.drop(row(1))
    outcome = town.pull()
    assert (outcome.vanished.count, outcome.retracted.count) == (1, 0) and set(town.fees()) == {"1", "2"}
    assert outcome.pull.state == "succeeded"


def test_a_window_lets_absence_speak_within_its_bounds_only(town):
    window = "    completeness: window\n    window: {field: checked_on, days: 30}\n"
    town.declare(FILES, (SNAPSHOT, window))
    dates = {1: "2026-11-22", 2: "2026-10-23", 3: "2026-10-22", 4: "2026-11-23", 5: ""}
    town.drop(row(0), *(row(code, checked=on) for code, on in dates.items()))
    town.pull()
    assert town.clock.at.date() == START.date()
    town.drop(row(0))
    outcome = town.pull()
    # 22 November less 30 days is 23 October; what is dated later than today or not at all lies outside.
    assert set(town.fees()) == {"0", "3", "4", "5"} and outcome.retracted.count == 2


def test_a_delta_never_retracts(town):
    town.declare(FILES, (SNAPSHOT, "    completeness: delta\n"))
    town.drop(row(1), row(2))
    town.pull()
    town.drop(row(3))
    outcome = town.pull(full=True)
    assert outcome.retracted.count == 0 and set(town.fees()) == {"1", "2", "3"}


def test_one_publication_is_divided_among_origins(town):
    more = '    origin: {from: 区, table: district}\n    tables: {district: {甲: "330483", 乙: "330503"}}\n'
    declared = town.declare(FILES, more=more)
    columns = (*COLUMNS, "区")
    town.drop(*(row(n) | {"区": "甲乙"[n % 2]} for n in range(4)), columns=columns)
    assert declared.feeds[0].origins == ("330483", "330503") and town.pull().pull.stored == 4
    assert set(town.fees(FILES)) == {"0", "2"} and set(town.fees(WEB)) == {"1", "3"}
    # The key of a row of 乙 is unreadable: 乙 loses nothing, 甲 does.
    town.drop(row(0) | {"区": "甲"}, row("") | {"区": "乙"}, columns=columns)
    assert town.pull().retracted.count == 1
    assert set(town.fees(FILES)) == {"0"} and set(town.fees(WEB)) == {"1", "3"}
    # Nobody can tell whose row this is: neither loses anything.
    town.drop(row(7) | {"区": "丙"}, columns=columns)
    outcome = town.pull()
    assert outcome.retracted.count == 0 and outcome.pull.quarantined == 1
    assert set(town.fees(FILES)) == {"0"} and set(town.fees(WEB)) == {"1", "3"}


# --- expectations ---


@pytest.mark.parametrize(
    ("expect", "stood", "left", "says"),
    [
        ("min_rows: 5", range(8), range(4), "4 rows where at least 5 are expected"),
        ("max_rows: 9", range(8), range(4, 14), "10 rows where at most 9 are expected"),
        ('max_loss: "0.5"', range(12), range(5), "7 of 12 records would vanish"),
        # All are replaced at once: what is new does not soften the loss.
        ('max_loss: "0.5"', range(12), range(20, 40), "12 of 12 records would vanish"),
    ],
)
def test_an_expectation_that_fails_retracts_nothing_and_says_so(town, expect, stood, left, says):
    town.declare(FILES, more=f"    expect: {{{expect}}}\n")
    town.drop(*map(row, stood))
    assert town.pull().pull.state == "succeeded"
    town.drop(*map(row, left))
    outcome = town.pull()
    assert outcome.retracted.count == 0 and outcome.pull.state == "failed"
    assert says in outcome.pull.problem and "nothing retracted" in outcome.pull.problem
    assert set(town.fees()) == {str(n) for n in (*stood, *left)}


@pytest.mark.parametrize(("stood", "left", "lost"), [(10, 0, 10), (12, 6, 6), (11, 5, 0)])
def test_a_loss_is_judged_above_ten_standing_records(town, stood, left, lost):
    town.declare(FILES, more='    expect: {max_loss: "0.5"}\n')
    town.drop(*map(row, range(stood)))
    town.pull()
    town.drop(*map(row, range(left)))
    assert town.pull().retracted.count == lost


def test_a_row_set_aside_is_no_loss(town):
    town.declare(FILES, more='    expect: {max_loss: "0.5"}\n')
    town.drop(*map(row, range(40)))
    town.pull()
    town.drop(*map(row, range(5)), *(row(n, "many") for n in range(5, 25)))
    outcome = town.pull()
    assert outcome.retracted.count == 15 and set(town.fees()) == {str(n) for n in range(25)}


def test_a_loss_within_a_window_is_judged_by_what_stood_in_it(town):
    window = '    completeness: window\n    window: {field: checked_on, days: 30}\n    expect: {max_loss: "0.5"}\n'
    town.declare(FILES, (SNAPSHOT, window))
    town.drop(*(row(n, checked="2020-01-01") for n in range(40)), *(row(n) for n in range(40, 60)))
    town.pull()
    town.drop(*(row(n) for n in range(40, 49)))
    outcome = town.pull()
    assert outcome.retracted.count == 0 and "11 of 20 records would vanish" in outcome.pull.problem


# --- setting aside ---


def test_a_bad_row_is_set_aside_and_the_others_go_on(town):
    town.drop(row(1), row(2, "many"), row(3), row(4, holder="长" * 30), row(5))
    assert figures(town.pull()) == (5, 3, 0, 0, 2)
    assert set(town.fees()) == {"1", "3", "5"} and town.store.cursor(FILES, "stalls") is None
    mapped, refused = sorted(town.store.quarantine(FILES), key=lambda each: each.where)
    assert (mapped.field, mapped.where) == ("费用", "stalls.csv:3") and "fee_yuan" in mapped.reason
    assert (refused.field, refused.where) == ("holder", "stalls.csv:5")
    assert mapped.origin == refused.origin == FILES and mapped.id and refused.id


def test_a_row_set_aside_counts_as_present_and_goes_once_it_is_mended(town):
    town.drop(row(1), row(2))
    town.pull()
    town.drop(row(1), row(2, "many"))
    assert figures(town.pull()) == (2, 0, 1, 0, 1) and set(town.fees()) == {"1", "2"}
    (aside,) = town.store.quarantine()
    town.pull()
    (again,) = town.store.quarantine()
    assert (again.mark, again.first_seen) == (
        aside.mark,
        aside.first_seen,
    ) and again.last_seen > aside.last_seen
    town.drop(row(1), row(2, 30))
    assert figures(town.pull()) == (2, 1, 1, 0, 0)
    assert town.store.quarantine() == [] and town.fees() == {"1": "10", "2": "30"}


def test_an_unreadable_key_keeps_everything_standing(town):
    town.drop(row(1), row(2))
    town.pull()
    town.drop(row(1), row(""))
    outcome = town.pull()
    assert figures(outcome) == (2, 0, 1, 0, 1) and set(town.fees()) == {"1", "2"}
    town.drop(row(1))
    assert town.pull().retracted.count == 1 and town.store.quarantine() == []


def test_a_row_set_aside_is_taken_once_the_declaration_can_read_it(town):
    for fee in (10, "二十", 30):
        town.web.put(f"a{fee}", fee)
    assert figures(town.pull(WEB)) == (3, 2, 0, 0, 1)
    town.declare(WEB, ("fee_yuan: {from: 费用, as: money, unit: 元}", 'fee_yuan: {as: const, value: "1.00"}'))
    town.web.put("later", 5)
    outcome = town.pull(WEB)
    assert outcome.pull.state == "succeeded" and town.web.asked[-1] == "3"
    assert "a二十" in town.fees(WEB) and town.store.quarantine() == []


def test_an_incremental_read_drops_a_row_set_aside_when_its_record_comes_anew(town):
    town.web.put(1, "many")
    town.web.put(2)
    town.pull(WEB)
    assert town.pull(WEB).pull.quarantined == 1 and len(town.store.quarantine()) == 1
    town.web.put(1, 12, op="u")
    assert town.pull(WEB).pull.state == "succeeded"
    assert town.store.quarantine() == [] and town.fees(WEB) == {"1": "12", "2": "10"}
    # The old row could be read now, and must not come back over the newer one.
    town.web.put(1, 99, op="u", checked="2026/11/20")
    town.web.put(3)
    town.pull(WEB)
    assert len(town.store.quarantine()) == 1
    town.web.put(1, 13, op="u")
    town.declare(WEB, ("formats: [iso]}\n      seen_at", 'formats: [iso, "%Y/%m/%d"]}\n      seen_at'))
    town.pull(WEB)
    assert town.fees(WEB)["1"] == "13" and town.store.quarantine() == []


def test_of_a_key_that_stands_twice_the_first_is_taken(town):
    town.drop(row(1, 10), row(2), row(1, 20), row(1, 10))
    assert figures(town.pull()) == (4, 2, 1, 0, 1) and town.fees() == {"1": "10", "2": "10"}
    (aside,) = town.store.quarantine()
    assert "twice" in aside.reason and aside.where == "stalls.csv:4"
    town.declare(FILES, more="    duplicates: first\n")
    assert figures(town.pull()) == (4, 0, 4, 0, 0) and town.store.quarantine() == []


def test_of_a_key_that_stands_twice_far_apart_the_first_is_taken(town):
    rows = [row(n) for n in range(1_500)]
    town.drop(*rows, row(3), row(4, 99))
    assert figures(town.pull()) == (1_502, 1_500, 1, 0, 1) and town.fees()["4"] == "10"


def test_a_bad_twin_does_not_hide_a_good_row(town):
    for rows in ([row(1, 10)], [row(1, "many"), row(1, 20)], [row(1, 30), row(1, "many")]):
        town.drop(*rows)
        town.pull()
    assert town.fees() == {"1": "30"}


def test_a_second_row_of_a_key_is_not_taken_by_an_incremental_read(town):
    town.web.put(1, 10)
    town.web.put(1, 20)
    town.web.put(2)
    assert town.pull(WEB).pull.quarantined == 1
    town.web.put(3)
    outcome = town.pull(WEB)
    assert outcome.pull.state == "succeeded" and town.fees(WEB) == {"1": "10", "2": "10", "3": "10"}
    assert [each.where for each in town.store.quarantine()] == ["page 1 row 2"]


def test_too_many_bad_rows_stop_the_read_and_keep_what_was_good(town):
    town.drop(row(1), *(row(n, "many") for n in range(2, 6_100)))
    outcome = town.pull()
    assert outcome.pull.state == "failed" and "more than 5000 rows were refused" in outcome.pull.problem
    assert set(town.fees()) == {"1"}


# --- inserts, updates and deletions ---


def test_rows_that_delete_retract_and_rows_after_them_stand(town):
    for n in range(1, 4):
        town.web.put(n)
    town.pull(WEB)
    town.web.put(2, op="d")
    town.web.put(3, 33, op="u")
    town.web.put(9, op="d")
    outcome = town.pull(WEB)
    assert outcome.retracted.count == 1 and town.fees(WEB) == {"1": "10", "3": "33"}
    town.web.put(2, 22)
    town.pull(WEB)
    assert town.fees(WEB) == {"1": "10", "2": "22", "3": "33"}
    assert town.revs(WEB) == [(1, "put"), (2, "put"), (3, "put")]


def test_a_row_deleted_and_written_again_between_two_reads_stands_as_last_written(town):
    town.web.put(1)
    town.web.put(0)
    town.pull(WEB)
    for op, fee in (("u", 11), ("d", 11), ("i", 12)):
        town.web.put(1, fee, op=op)
    town.pull(WEB)
    assert town.fees(WEB) == {"0": "10", "1": "12"}
    town.web.put(1, 13, op="u")
    town.web.put(1, 13, op="d")
    town.pull(WEB)
    assert town.fees(WEB) == {"0": "10"}
    town.sound()


# --- reads that break off ---


@pytest.mark.parametrize(
    ("kind", "state"),
    [("busy", "incomplete"), ("cut", "incomplete"), ("odd", "failed"), ("denied", "failed")],
)
def test_a_read_that_breaks_off_keeps_what_it_gave_and_assumes_nothing(town, kind, state):
    for n in range(1, 7):
        town.web.put(n)
    town.pull(WEB)
    assert town.store.cursor(WEB, "stalls") == "6"
    for n in (1, 7, 8):
        town.web.edit(n, 50)
    town.web.rows = [each for each in town.web.rows if each["编号"] != "6"]
    town.web.fault = (4, kind)
    outcome = town.pull(WEB, full=True)
    assert (outcome.pull.state, outcome.retracted.count) == (state, 0) and outcome.pull.problem
    assert town.store.cursor(WEB, "stalls") == "6"
    # Pages 1 to 3 were read: 2 to 5, 1 and 7. The 6 was not met, the 8 not read.
    assert town.fees(WEB) == {"1": "50", "2": "10", "3": "10", "4": "10", "5": "10", "6": "10", "7": "50"}
    town.web.fault = None
    outcome = town.pull(WEB, full=True)
    assert outcome.pull.state == "succeeded" and outcome.retracted.count == 1 and outcome.pull.stored == 1
    assert town.store.cursor(WEB, "stalls") == "9" and "6" not in town.fees(WEB)


def test_a_read_that_breaks_off_leaves_rows_set_aside_as_they_were(town):
    town.web.put(1, "many")
    town.web.put(2)
    town.pull(WEB)
    town.web.fault = (1, "busy")
    for full in (False, True):
        town.pull(WEB, full=full)
        assert len(town.store.quarantine()) == 1
    town.web.fault = None
    town.web.edit(1, 5)
    town.pull(WEB)
    assert town.store.quarantine() == [] and town.fees(WEB) == {"1": "5", "2": "10"}


def test_a_city_that_cannot_be_asked_at_all_is_told_and_raises_nothing(town):
    declared = town.declared[WEB]
    for connection in ({"base_url": "env:NOT_SET"}, {"base_url": "http://127.0.0.1:1"}):
        outcome = town.intake.run(declared, declared.feeds[0], connection, full=False, who="test")
        assert outcome.pull.state in ("failed", "incomplete") and outcome.pull.problem
    (town.folder / "drops").rmdir()
    assert town.pull().pull.state in ("failed", "incomplete")
    assert not any(pull.state == "running" for pull in town.store.last_pulls())


def test_a_refused_key_of_one_city_is_that_citys_failure(town):
    path = town.folder / "hub" / "keys" / f"batch.{FILES}.key"
    path.chmod(0o640)
    town.hub._issuers.clear()
    town.drop(row(1))
    outcome = town.pull()
    assert outcome.pull.state == "failed" and "chmod 600" in outcome.pull.problem
    path.chmod(0o600)
    assert town.pull().pull.stored == 1


# --- secrecy ---


def test_what_is_set_aside_rests_encrypted_and_is_never_told(town):
    town.drop(row(CANARY, "一" + CANARY, holder=CANARY), row(2, holder=CANARY * 9), row(3, holder=CANARY))
    outcome = town.pull()
    assert outcome.pull.quarantined == 2
    told = repr(outcome) + repr([(each.where, each.field, each.reason) for each in town.store.quarantine()])
    told += repr(town.hub.status()) + repr(town.store.last_pulls())
    assert CANARY not in told
    assert all(CANARY in each.row.decode() for each in town.store.quarantine())
    town.store.close()
    assert CANARY.encode() not in town.files()


# --- two at once ---

RACER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from city_parts import FILES, Town, row
with Town(Path(sys.argv[1]), web=False) as town:
    print("ready", flush=True)
    for line in sys.stdin:
        town.drop(*[row(n, line.strip()) for n in range(int(line) % 7, 40)])
        outcome = town.pull()
        print(outcome.pull.state, flush=True)
"""


def test_two_processes_pulling_one_city_lose_nothing_and_sign_nothing_twice(tmp_path):
    with Town(tmp_path, web=False) as town:
        town.drop(row(1))
        town.pull()
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER, str(tmp_path), str(TESTS)], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True, cwd=TESTS.parent)
        for _ in range(2)
    ]  # fmt: skip
    try:
        for racer in racers:
            assert racer.stdout.readline() == "ready\n"
        for turn in range(1, 21):
            for racer in racers:
                racer.stdin.write(f"{turn}\n")
                racer.stdin.flush()
            assert [racer.stdout.readline() for racer in racers] == ["succeeded\n"] * 2
    finally:
        for racer in racers:
            racer.stdin.close()
            racer.wait()
            racer.stdout.close()
    with Town(tmp_path, web=False) as town:
        town.drop(*[row(n, 20) for n in range(20 % 7, 40)])
        assert town.pull().pull.stored == 0
        assert set(town.fees().values()) == {"20"} and len(town.fees()) == 34
        town.sound()


@pytest.mark.parametrize("looked_before", [False, True])
def test_a_chain_that_moves_between_reading_and_signing_is_taken_anew(town, monkeypatch, looked_before):
    """The other process comes exactly between what this one knows of the record and its append."""
    town.drop(row(1), row(2))
    town.pull()
    issuer, kind = town.hub.issuer(FILES), town.settings.kinds[KIND]

    def draft(fee):
        return issuer.draft(
            kind, '["1"]', {"stall_code": "1", "holder": "摊主1", "fee_yuan": fee, "checked_on": "2026-11-20"}
        )

    seal, met = issuer._seal, []

    def interrupted(drafts, known):
        leaves = seal(drafts, known)
        if not met:
            met.append(True)
            issuer.issue([draft("77.00")])
        return leaves

    monkeypatch.setattr(issuer, "_seal", interrupted)
    standing = issuer.standing([draft("88.00")]) if looked_before else None
    (leaf,) = issuer.issue([draft("88.00")], standing=standing)
    assert town.fees()["1"] == "88" and town.revs() == [(1, "put"), (3, "put")] and met and leaf.rev == 3
    town.sound()


def test_a_run_that_was_killed_is_a_run_that_never_ended(town):
    with town.store.transaction():
        town.store.start_pull(Pull(FILES, "stalls", "2026-11-22T16:00:00+08:00", "test"))
    row_ = next(each for each in town.hub.status()["jurisdictions"] if each["code"] == FILES)
    assert row_["strip"][-1]["state"] == "never" and row_["state"] != "on_time"


# --- a city that does anything ---

CODES = st.integers(0, 7)
FEES = st.integers(1, 5)


class City(RuleBasedStateMachine):
    """A city edits its table as it likes; each pull leaves the view that a correct reading must give."""

    made: list[Town] = []
    folder: Path
    turn = 0
    rows = Bundle("rows")

    @initialize()
    def begin(self) -> None:
        City.turn += 1
        self.town = Town(City.folder / str(City.turn), web=False)
        self.table: list[tuple[int, int | str]] = []  # in file order: code (-1 unreadable) and fee ("x" spoilt)
        self.model: dict[str, str] = {}
        self.ever: set[int] = set()

    @rule(target=rows, code=CODES, fee=FEES)
    def add(self, code: int, fee: int) -> int:
        if all(code != other for other, _ in self.table):
            self.table.append((code, fee))
        return code

    @rule(code=rows, fee=FEES)
    def edit(self, code: int, fee: int) -> None:
        self.table = [(other, fee if other == code else old) for other, old in self.table]

    @rule(code=consumes(rows))
    def remove(self, code: int) -> None:
        self.table = [each for each in self.table if each[0] != code]

    @rule(code=rows)
    def spoil(self, code: int) -> None:
        self.table = [(other, "x" if other == code else old) for other, old in self.table]

    @rule(code=rows, fee=FEES, first=st.booleans())
    def duplicate(self, code: int, fee: int, first: bool) -> None:
        self.table.insert(0 if first else len(self.table), (code, fee))

    @rule()
    def lose_a_key(self) -> None:
        self.table.append((-1, 1))

    @rule()
    def mend_keys(self) -> None:
        self.table = [each for each in self.table if each[0] != -1]

    @rule()
    def pull(self) -> None:
        self.town.drop(*(row("" if code == -1 else code, fee) for code, fee in self.table))
        good: dict[str, str] = {}
        for code, fee in self.table:
            if code != -1 and fee != "x":
                good.setdefault(str(code), str(fee))
        present = {str(code) for code, _ in self.table}
        kept = self.model if "-1" in present else {code: fee for code, fee in self.model.items() if code in present}
        size = self.town.store.size()
        self.same = kept | good == self.model
        self.model = kept | good
        outcome = self.town.pull()
        assert outcome.pull.state == "succeeded"
        assert self.town.fees() == dict(sorted(self.model.items()))
        assert (self.town.store.size() == size) == self.same
        bad = {each for each in self.table if each[0] == -1 or each[1] == "x"}
        twice = {
            (code, fee) for code, fee in self.table if str(code) in good and fee not in ("x", int(good[str(code)]))
        }
        assert len(self.town.store.quarantine()) == len(bad | {each for each in twice if each[0] != -1})

    @invariant()
    def counted(self) -> None:
        standing = [each.standing for each in self.town.store.series() if each.kind == KIND] or [0]
        assert standing == [len(self.model)]

    def teardown(self) -> None:
        if hasattr(self, "town"):
            self.town.sound()
            self.town.__exit__()


def test_whatever_a_city_does_the_view_is_what_it_shows(tmp_path):
    City.folder = tmp_path
    run_state_machine_as_test(
        City,
        settings=settings(
            max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
