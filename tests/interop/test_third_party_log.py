"""A third party's log client and witness (PyPI aics-tlog and aics-witness, in an environment of their own) against a hub."""

import os
import re
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hub_parts import ROOT, bodies, rig

from hub import app, note
from hub.note import COSIGNATURE, parse_vkey
from hub.web.witness import create_witness
from hub.witness import Policy, Witness

HOME = Path(os.environ.get("CROSSREGION_AICS", ROOT / "var" / "aics")) / "bin"
C = "330503"


def run(*command, cwd=None):
    return subprocess.run([str(each) for each in command], capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A hub whose tiles are open, with more entries than a tile holds."""
    with rig(tmp_path_factory.mktemp("hub"), selves=(), pullers=(C,), serve=False) as made:
        made.settings = replace(made.settings, hub=replace(made.settings.hub, tiles="everybody"))
        made.clock.live = True
        made.open()
        for n in range(260):
            made.put(C, "case/1", bodies("case/1", C, 1, seed=str(n)))
        made.tiles = f"http://127.0.0.1:{made.port}/ledger"
        yield made


def test_its_client_verifies_checkpoint_and_inclusion(made, tmp_path):
    key = ("--log-key", made.card.ledger, "--tiles", made.tiles)
    told = run(HOME / "aics-tlog", "verify-checkpoint", *key)
    assert told.returncode == 0, told.stdout + told.stderr
    for index in (0, 255, 256, made.hub.store.size() - 1):
        (tmp_path / "leaf").write_bytes(made.hub.store.entry(index).note)
        told = run(HOME / "aics-tlog", "verify-inclusion", *key, "--index", index, "--leaf", tmp_path / "leaf")
        assert told.returncode == 0, told.stdout + told.stderr
    (tmp_path / "leaf").write_bytes(made.hub.store.entry(1).note)
    assert run(HOME / "aics-tlog", "verify-inclusion", *key, "--index", 2, "--leaf", tmp_path / "leaf").returncode != 0


def test_its_witness_cosigns_what_the_hub_brings(made, tmp_path):
    config, bound = tmp_path / "witness.json", app.bind("127.0.0.1", 0)
    address = f"127.0.0.1:{bound.getsockname()[1]}"
    bound.close()
    told = run(HOME / "aics-witness", "init", "-c", config, "--name", "w.example/one", "--listen", address)
    assert told.returncode == 0, told.stderr
    vkey = re.search(r"w\.example/one\+[0-9a-f]{8}\+\S+", told.stdout + told.stderr)[0]
    log = ("--origin", made.hub.ledger.seal.name, "--vkey", made.card.ledger)
    added = run(HOME / "aics-witness", "add-log", "-c", config, *log)
    assert added.returncode == 0, added.stderr
    witness = subprocess.Popen([HOME / "aics-witness", "serve", "-c", config], stderr=subprocess.DEVNULL)
    try:
        url = f"http://{address}"
        policy = Policy((Witness("w.example/one", parse_vkey(vkey, COSIGNATURE), url),), 1)
        made.hub.framework = made.hub.framework.with_witnesses(policy)
        for _ in range(2):
            until(lambda: made.hub.desk.witnessing.state()["size"] == made.hub.store.size(), made.hub.ask_witnesses)
            reached = made.hub.desk.witnessing.witnessed()
            assert policy.signed_by(note.parse(reached.raw)).keys() == {"w.example/one"}
            made.put(C, "case/1", bodies("case/1", C, 1, seed=f"more {made.hub.store.size()}"))
        made.hub.desk.witnessing.compare(app.WitnessPost())
    finally:
        witness.terminate()
        witness.wait()


def until(reached, again):
    """Ask again until it is so: the witness takes a moment to start."""
    end = time.monotonic() + 30
    while True:
        again()
        if reached():
            return
        assert time.monotonic() < end


def test_its_feeder_is_answered_by_a_node(made, tmp_path):
    bound = app.bind("127.0.0.1", 0)
    server = app.Server(create_witness(made.nodes[C].add_checkpoint), bound, None)
    server.start()
    try:
        (tmp_path / "note").write_bytes(made.hub.ledger.checkpoint()[0])
        script = (
            "import sys\nfrom aics_witness import submit_checkpoint\n"
            "print(submit_checkpoint(sys.argv[1], open(sys.argv[2], 'rb').read(), lambda old, new: [], "
            "witness_vkey=sys.argv[3]), end='')"
        )
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        for _ in range(2):
            told = run(HOME / "python", "-c", script, url, tmp_path / "note", made.made[C]["witness_key"])
            assert told.returncode == 0 and told.stdout.startswith("— "), told.stderr
    finally:
        server.stop()
