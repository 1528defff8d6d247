"""Pauses and pulls: what is paused is not read by tick, night or person, and no city is read twice at a time."""

import json
import os
import subprocess
import sys
import threading
from datetime import datetime, timedelta

import pytest
from city_parts import FILES, PHRASE, ROOT, SELF, START, WEB, Town, row
from console_parts import enrol

from hub.errors import HubError, Locked, NotFound
from hub.intake import Outcome
from hub.store.base import Account, Acked, Pull


@pytest.fixture
def town(tmp_path):
    with Town(tmp_path) as made:
        made.drop(row(1), row(2))
        made.web.put(1)
        enrol(made.store, Account("li.ming", "", "coordinator"))
        yield made


def shown(town, code=FILES):
    return next(each for each in town.hub.status()["jurisdictions"] if each["code"] == code)


def started(town, code=FILES):
    return len(town.store.runs([(code, "stalls")], 99))


def journal(town):
    return [(each.who, each.what, each.about, each.detail) for each in town.hub.accounts.journal(9)]


# --- pausing ---


def test_ticks_pass_over_a_paused_city_until_somebody_resumes_it(town):
    town.hub.tick()
    assert (started(town), started(town, WEB)) == (1, 1)
    town.hub.pauses.pause(FILES, "maintenance", "li.ming")
    for hours in (1, 2):
        town.clock.at = START + timedelta(hours=hours)
        town.hub.tick()
    assert (started(town), started(town, WEB)) == (1, 3)
    told = shown(town)
    assert told["state"] == "paused" and told["next"] is None and shown(town, WEB)["paused"] is None
    assert told["paused"] == {"reason": "maintenance", "zh": "系统维护", "en": "maintenance", "who": "li.ming",
                              "since": START.isoformat(), "until": None}  # fmt: skip
    town.hub.pauses.resume(FILES, "li.ming")
    town.hub.tick()
    assert started(town) == 2 and shown(town)["state"] == "on_time"
    about = f"jurisdiction {FILES}"
    assert journal(town)[:2] == [("li.ming", "resumed", about, ""), ("li.ming", "paused", about, "maintenance")]


def test_reading_goes_on_by_itself_on_the_day_that_was_given_and_not_before(town):
    town.hub.pauses.pause(FILES, "migration", "li.ming", "2026-11-24")
    assert shown(town)["next"] == "2026-11-24T00:00:00+08:00"
    for at, runs in (("2026-11-23T23:59:59", 0), ("2026-11-24T00:00:00", 1)):
        town.clock.at = datetime.fromisoformat(f"{at}+08:00")
        for agreement, night in town.nightly.due():
            town.nightly.run(agreement, [night])
        town.hub.tick()
        assert (started(town), shown(town)["state"] == "paused") == (runs, not runs)
    assert shown(town)["paused"] is None


def test_a_pause_survives_a_restart(tmp_path):
    with Town(tmp_path) as town:
        enrol(town.store, Account("li.ming", "", "coordinator"))
        town.hub.pauses.pause(WEB, "agreement", "li.ming")
    with Town(tmp_path) as town:
        town.hub.tick()
        assert started(town, WEB) == 0 and shown(town, WEB)["state"] == "paused"


def test_a_night_names_a_paused_city_and_leaves_its_differences_open(town):
    town.declare(FILES, ("    completeness: snapshot\n", "    completeness: snapshot\n    absent: flag\n"))
    town.pull()
    town.drop(row(1))
    town.hub.reconcile("pair", ["2026-11-22"])
    assert [each.type for each in town.store.differences()] == ["vanished"]
    town.hub.pauses.pause(FILES, "data_quality", "li.ming")
    before = started(town)
    town.drop(row(1), row(2))
    (done,) = town.hub.reconcile("pair", ["2026-11-23"])
    assert done.result["not_compared"] == [FILES] and done.result["compared"] == 1 and started(town) == before
    # The pause is no difference of its own, and what was open is not taken for mended.
    assert [each.type for each in town.store.differences()] == ["vanished"]
    town.hub.pauses.resume(FILES, "li.ming")
    (done,) = town.hub.reconcile("pair", ["2026-11-24"])
    assert done.result["not_compared"] == [] and town.store.differences() == []


def test_the_whole_is_never_called_well_without_saying_who_is_paused(town):
    town.hub.tick()
    town.hub.pauses.pause(FILES, "maintenance", "li.ming", "2026-12-01")
    verdict = town.hub.status()["verdict"]
    # 330521 has never been seen: that is what is said first, and the pause beside it.
    assert verdict["state"] == "late" and "1 个辖区已暂停" in verdict["zh"] and "1 paused" in verdict["en"]
    with town.store.transaction():
        at = town.clock.at.isoformat()
        town.store.start_pull(Pull(SELF, "push", at, "node", ended=at, state="succeeded"))
        town.store.put_acked(Acked(SELF, 1, 0, at))
    verdict = town.hub.status()["verdict"]
    assert verdict["state"] == "paused" and verdict["en"] == "All others are well; 1 paused"
    assert verdict["cause"] == {"zh": "桐乡市：已暂停，系统维护，2026-12-01 恢复",
                                "en": "Tongxiang: paused, maintenance, goes on 2026-12-01"}  # fmt: skip
    assert "li.ming" not in str(verdict)


@pytest.mark.parametrize(
    ("code", "reason", "who", "until", "says"),
    [
        (FILES, "张三病了", "li.ming", "", "is no reason to pause"),
        (FILES, "other", "nobody", "", "no such account"),
        (FILES, "other", "li.ming", "2026-11-22", "not a day to come"),
        (FILES, "other", "li.ming", "tomorrow", "not a day to come"),
        (FILES, "other", "li.ming", "20261201", "not a day to come"),
        (SELF, "other", "li.ming", "", "not read by this hub"),
        ("999999", "other", "li.ming", "", "not read by this hub"),
    ],
)
def test_a_pause_is_refused_with_the_way_to_mend_it(town, code, reason, who, until, says):
    with pytest.raises(HubError, match=says) as refused:
        town.hub.pauses.pause(code, reason, who, until)
    assert refused.value.mend and town.store.pauses() == [] and "paused" not in str(journal(town))


def test_what_is_not_paused_cannot_be_resumed_nor_by_nobody(town):
    with pytest.raises(HubError, match="not paused"):
        town.hub.pauses.resume(FILES, "li.ming")
    town.hub.pauses.pause(FILES, "other", "li.ming")
    with pytest.raises(NotFound):
        town.hub.pauses.resume(FILES, "nobody")
    assert town.hub.pauses.of(FILES) is not None


# --- one at a time ---


class Slow:
    """The web city with a gate in its page: it says when it was asked, and answers when it may."""

    def __init__(self, town) -> None:
        self.asked, self.may = threading.Event(), threading.Event()
        answer = town.web.server.RequestHandlerClass.do_GET

        def do_get(handler) -> None:
            self.asked.set()
            assert self.may.wait(30)
            answer(handler)

        town.web.server.RequestHandlerClass.do_GET = do_get


def test_a_pull_that_a_person_started_runs_alone_and_tells_how_far_it_is(town):
    slow, pulls, declared = Slow(town), town.hub.pulls, town.declared[WEB]
    for code in range(2, 6):
        town.web.put(code)
    pulls.start(declared, "li.ming")
    assert slow.asked.wait(30)
    live = pulls.live(WEB)
    assert (live.who, live.feeds) == ("li.ming", {"stalls": 0}) and pulls.live(FILES) is None
    for again in (pulls.start, pulls.run):
        with pytest.raises(Locked, match="being read"):
            again(declared, who="li.ming")
    # The tick leaves that city alone and reads the other.
    town.clock.on(hours=1)
    town.hub.tick()
    assert (started(town), started(town, WEB)) == (1, 1)
    held = threading.Thread(target=town.hub.reconcile, args=("pair", ["2026-11-22"]))
    held.start()
    slow.may.set()
    pulls._threads.shutdown(wait=True)
    held.join(30)
    night, person = town.store.runs([(WEB, "stalls")], 9)
    assert (person.who, person.state, person.read, person.stored) == ("li.ming", "succeeded", 5, 5)
    # The night waited for it, and then compared the city.
    assert (night.who, night.state, night.unchanged) == ("night pair", "succeeded", 5)
    assert town.store.night("pair", "2026-11-22").result["not_compared"] == []
    assert pulls.live(WEB) is None


HOLDER = """
import fcntl, os, sys
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(handle, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_another_process_that_reads_a_city_is_left_to_it_and_its_end_lets_go(town):
    other = subprocess.Popen([sys.executable, "-c", HOLDER, town.folder / "hub" / f"pull.{FILES}.lock"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    try:
        assert other.stdout.readline() == "held\n"
        for again in (town.hub.pulls.start, town.hub.pulls.run):
            with pytest.raises(Locked):
                again(town.declared[FILES], who="li.ming")
        town.hub.tick()
        assert (started(town), started(town, WEB)) == (0, 1)
    finally:
        other.kill()
        other.communicate()
    town.hub.tick()
    assert started(town) == 1


def test_a_paused_city_is_read_by_no_person_either(town):
    town.hub.pauses.pause(FILES, "maintenance", "li.ming")
    for again in (town.hub.pulls.start, town.hub.pulls.run):
        with pytest.raises(HubError, match="is paused"):
            again(town.declared[FILES], who="li.ming")
    assert started(town) == 0 and [each.code for each in town.hub.awake()] == [WEB]


def test_what_breaks_a_pull_in_the_background_is_told_by_its_class_and_lets_the_city_go(town, monkeypatch, caplog):
    def broken(*args, **options) -> Outcome:
        raise RuntimeError("张三 110101199003070038")

    monkeypatch.setattr(town.intake, "run", broken)
    town.hub.pulls.start(town.declared[FILES], "li.ming")
    town.hub.pulls._threads.shutdown(wait=True)
    assert "broke off: RuntimeError" in caplog.text and "110101" not in caplog.text
    assert town.hub.pulls.live(FILES) is None
    monkeypatch.undo()
    town.hub.tick()
    assert started(town) == 1


# --- the commands ---

MAIN = [sys.executable, "-c", "from hub.cli import main; main()"]


def test_the_commands_pause_and_resume_beside_a_running_hub(town):
    def hub(*args: object) -> subprocess.CompletedProcess:
        command = [*MAIN, *map(str, args), "--data", town.folder / "hub", "--config", town.folder / "config"]
        environment = {**os.environ, "CROSSREGION_PASSPHRASE": PHRASE}
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=environment, check=False)

    done = hub("pause", WEB, "--reason", "agreement", "--until", "2999-01-01", "--as", "li.ming", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["until"] == "2999-01-01" and town.hub.pauses.of(WEB).who == "li.ming"
    refused = hub("pull", WEB)
    assert refused.returncode == 1 and "is paused" in refused.stderr and "Traceback" not in refused.stderr
    assert hub("pause", WEB, "--reason", "holiday", "--as", "li.ming").returncode == 2
    assert "no such account" in hub("resume", WEB, "--as", "nobody").stderr
    done = hub("resume", WEB, "--as", "li.ming")
    assert done.returncode == 0 and "read again" in done.stdout and town.hub.pauses.of(WEB) is None
