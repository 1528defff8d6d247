"""A partner's client in JavaScript (npm http-message-signatures) pushes and pulls, and is believed and believes."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from hub_parts import ROOT, packed, rig, sealed, signed

from hub import batch

HOME = Path(os.environ.get("CROSSREGION_NPM", ROOT / "var" / "npm"))
SCRIPT = Path(__file__).parent / "foreign_client.mjs"
A = "330483"


@pytest.fixture
def made(tmp_path):
    with rig(tmp_path / "rig", selves=(A,), pullers=()) as made:
        made.stop()
        made.clock.live = True
        made.open()
        made.nodes[A].push()
        made.key = made.rings[A].signer("http", A)
        (tmp_path / "key.pem").write_bytes(
            made.key.private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        yield made


def client(made, tmp_path, *bodies, hub=None):
    command = ["node", SCRIPT, HOME, made.card.url, made.key.vkey.handle, hub or made.card.http, tmp_path / "key.pem", *bodies]
    return subprocess.run([str(each) for each in command], capture_output=True, text=True, check=False)


def test_it_pushes_a_batch_and_pulls_the_whole_ledger(made, tmp_path):
    leaves = sealed(made, A, "case/1", 3)
    (tmp_path / "body").write_bytes(packed(signed(made, A, leaves), leaves))
    told = client(made, tmp_path, tmp_path / "body", tmp_path / "body")
    assert told.returncode == 0, told.stderr
    size = made.hub.store.size()
    assert json.loads(told.stdout) == {"statuses": [201, 200], "entries": size, "size": size, "member": A}
    assert made.hub.ledger.chain(A).seq == 2


def test_it_hears_a_refusal_in_a_signed_answer(made, tmp_path):
    leaves = sealed(made, A, "case/1", 1)
    chain = batch.Chain(A, 7, batch.NOTHING, "self", made.nodes[A].own.chain(A).keys, made.nodes[A].own.chain(A).keys_text)
    (tmp_path / "body").write_bytes(packed(signed(made, A, leaves, chain=chain), leaves))
    told = client(made, tmp_path, tmp_path / "body")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["statuses"] == [409]


def test_it_believes_no_answer_of_another_key(made, tmp_path):
    told = client(made, tmp_path, hub=str(made.key.vkey))
    assert told.returncode != 0
