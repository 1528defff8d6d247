"""The main job as a person starts it: ten cities to one ledger, resumed, stopped, never served as real."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from city_parts import ROOT
from flask import Flask

from adapters.sample import generator
from adapters.sample.cities import SampleCities
from hub import app
from hub import settings as configuration

MAIN = [sys.executable, "-c", "from hub.cli import main; main()"]
FIGURES = ("read", "stored", "unchanged", "quarantined", "retracted")
# Small, so that three starts take seconds; every feed of the samples still has its dirt.
SIZE = 12


def hub(*args: object, phrase: str = "") -> subprocess.CompletedProcess:
    command, environment = [*MAIN, *map(str, args)], {**os.environ, "CROSSREGION_PASSPHRASE": phrase}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=environment, check=False)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> tuple[Path, dict]:
    """A demo's folder after its first run, and what that run said."""
    folder = tmp_path_factory.mktemp("demo") / "data"
    done = hub("demo", "--once", "--json", "--size", SIZE, "--data", folder)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_ten_jurisdictions_are_told_with_their_figures(demo):
    folder, told = demo
    framework = configuration.load(ROOT / "config").framework
    rows = {each["code"]: each for each in told["jurisdictions"]}
    assert set(rows) == set(framework.members) and len(rows) == 10
    for code, each in rows.items():
        assert all(isinstance(each[name], int) for name in FIGURES)
        assert each["read"] == each["stored"] + each["unchanged"] + each["quarantined"] + each["retracted"], each
        assert each["read"] > 0 and each["problems"] == [] and each["custody"] == framework.members[code].custody
    assert [each["custody"] for each in told["jurisdictions"]].count("self") == 1
    with SampleCities(folder / "cities", size=SIZE) as cities:
        for code, each in rows.items():
            assert each["stored"] == sum(len(cities.truth(*at)) for at in cities.feeds() if at[0] == code)
    assert told["batches"] > 10 and told["ledger"]["size"] > told["batches"] and told["seconds"] > 0
    (copy,) = told["partner_copies"].values()
    assert copy["size"] == told["ledger"]["size"] and copy["root"] == told["ledger"]["root"]


def test_a_second_start_signs_nothing_twice(demo):
    folder, first = demo
    done = hub("demo", "--once", "--json", "--data", folder)
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    # Only a night that began in between may add its report.
    if again["ledger"] != first["ledger"]:
        assert first["ledger"]["size"] < again["ledger"]["size"] <= first["ledger"]["size"] + 2
    assert {each["code"]: each["stored"] for each in again["jurisdictions"]} == dict.fromkeys(
        (each["code"] for each in first["jurisdictions"]), 0
    )
    assert again["differences"] == first["differences"]


def test_evidence_of_a_sample_is_checked_with_the_photograph_it_names(demo, tmp_path):
    folder, _ = demo
    done = hub("partner", "export", "--to", tmp_path, "--format", "json", "--data", folder / "node-330521")
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "inspection_v1.json").read_text().splitlines()
    record = next(each for each in map(json.loads, lines) if each["origin"] == "330521" and "attachments" in each)
    photo, video = record["attachments"]
    (tmp_path / "photo").write_bytes(generator.attached(record["check_code"], photo["name"]))
    (tmp_path / "trust.json").write_text(hub("keys", "export", "--data", folder).stdout)
    bundle = tmp_path / "bundle.json"
    at = ("inspection", "330521", record["id"])
    kept = hub("evidence", "attach", *at, tmp_path / "photo", "--data", folder)
    assert kept.returncode == 0 and photo["sha256"] in kept.stdout.replace("\n", ""), kept.stderr
    done = hub("evidence", "export", *at, "--groups", "facts", "--data", folder, "--files", tmp_path / "out", "--out", bundle)
    assert done.returncode == 0, done.stderr
    assert [path.read_bytes() for path in (tmp_path / "out").iterdir()] == [(tmp_path / "photo").read_bytes()]
    told = hub("verify", bundle, tmp_path / "photo", "--trust", tmp_path / "trust.json")
    assert told.returncode == 0 and "photo is item 1 of attachments: by its SHA-256 and size" in told.stdout, told.stderr
    assert "what item 2 of attachments holds: its file was not given" in told.stdout and video["notarized_no"]


def test_ctrl_c_ends_a_served_demo_cleanly_and_the_store_is_sound(demo):
    folder, first = demo
    running = subprocess.Popen([*MAIN, "demo", "--port", "0", "--data", str(folder)], cwd=ROOT, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=1)  # fmt: skip
    try:
        url = next(line.split("status page: ")[1].split()[0] for line in running.stderr if "status page: " in line)
        # Only the running demo reaches its cities: a read from outside would fail, and be told as theirs.
        for command in (["pull", "330483"], ["reconcile"], ["adapters", "diff", "330483"]):
            told = hub(*command, "--data", folder)
            assert told.returncode == 11 and "this demo is running" in told.stderr, told.stderr
        assert hub("status", "--json", "--data", folder).returncode == 0
        with urllib.request.urlopen(f"{url}status.json", timeout=20) as answer:
            status = json.load(answer)
        assert status["hub"]["demo"] is True and len(status["jurisdictions"]) == 10
        assert status["ledger"]["size"] >= first["ledger"]["size"]
        assert {each["state"] for each in status["jurisdictions"]} == {"on_time"}
        with urllib.request.urlopen(f"{url}ledger/checkpoint", timeout=20) as answer:
            assert answer.read().splitlines()[0].endswith(b"/demo")
    finally:
        running.send_signal(signal.SIGINT)
        _, rest = running.communicate(timeout=60)
    assert running.returncode == 0 and "Traceback" not in rest, rest
    checked = hub("fsck", "--json", "--data", folder)
    assert checked.returncode == 0 and json.loads(checked.stdout)["problems"] == [], checked.stderr
    same = hub("rebuild", "--json", "--data", folder)
    assert same.returncode == 0 and json.loads(same.stdout)["changed"] == [], same.stderr


def test_a_demo_is_never_served_as_a_real_hub(demo):
    folder, _ = demo
    refused = hub("serve", "--port", "0", "--data", folder)
    assert refused.returncode != 0 and "demo ledger is never served as a real one" in refused.stderr.replace("\n", " ")
    assert "Traceback" not in refused.stderr
    # Nor by taking the mark away: the store remembers.
    mark = folder / "DEMO"
    text = mark.read_text()
    mark.unlink()
    try:
        refused = hub("serve", "--port", "0", "--data", folder, phrase=(folder / "passphrase").read_text())
        assert refused.returncode != 0 and "Traceback" not in refused.stderr
    finally:
        mark.write_text(text)


def test_a_real_hubs_folder_is_never_made_a_demo(tmp_path):
    (tmp_path / "store").mkdir()
    refused = hub("demo", "--once", "--data", tmp_path)
    assert refused.returncode != 0 and "holds a real hub" in refused.stderr.replace("\n", " ")
    assert not (tmp_path / "DEMO").exists() and "Traceback" not in refused.stderr


def test_a_server_whose_loop_is_quicker_than_its_bell_stops_all_the_same():
    bound = app.bind("127.0.0.1", 0)
    server = app.Server(Flask(__name__), bound, None)
    server.start()
    trigger, thread = server._server.trigger, server._thread
    ring = trigger._physical_pull

    def late() -> None:
        # Somebody else's bell: the loop wakes, does what waits for it, and closes this bell too.
        ring()
        thread.join(10)
        ring()

    trigger._physical_pull = late
    server.stop()
    assert not thread.is_alive()
