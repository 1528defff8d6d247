"""Keys change hands on the ledger: by the announced next key alone, resumably, and with a thief's batches disowned."""

import csv
import json
import shutil
import sqlite3

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hub_parts import KINDS, PHRASE, bodies, rig

from hub import app, audit, batch, evidence, note
from hub.errors import ConfigError, HubError, KeyRefused, Tampered
from hub.export import export_records
from hub.keys import KeyRing, list_keys
from hub.ledger import Submission
from hub.partner import Node

A, CUSTODIAL = "330483", "330503"


@pytest.fixture
def made(tmp_path):
    with rig(tmp_path, selves=(A,), pullers=()) as made:
        made.put(CUSTODIAL, "case/1", bodies("case/1", CUSTODIAL, 2))
        made.put(A, "case/1", bodies("case/1", A, 2))
        made.nodes[A].push()
        yield made


def keys_of(made, origin):
    return [str(key) for key in made.hub.ledger.chain(origin).keys]


def listed(ring_folder, origin):
    return {info.state: info.vkey for info in list_keys(ring_folder) if (info.role, info.owner) == ("batch", origin)}


def sound(made):
    report = audit.fsck(made.hub.ledger, KINDS, made.hub.digest_key)
    assert report.problems == [], report.problems
    assert audit.rebuild(made.hub.ledger, KINDS, made.hub.digest_key)[1] == []
    made.hub.verify()


def test_a_custodial_key_rotates_and_the_next_batch_is_signed_by_the_new_one(made):
    folder = made.folder / "hub" / "keys"
    before = listed(folder, CUSTODIAL)
    issuer = made.hub.issuer(CUSTODIAL)  # as a hub that serves while the command rotates beside it
    assert made.hub.rotate(CUSTODIAL) == before["next"] == keys_of(made, CUSTODIAL)[0]
    after = listed(folder, CUSTODIAL)
    assert after["current"] == before["next"] and after["next"] not in before.values()
    assert [path.name for path in (folder / "old").iterdir()] == [f"batch.{CUSTODIAL}.{before['current'].split('+')[1]}.key"]
    assert issuer.issue([issuer.draft(KINDS["case/1"], "x", bodies("case/1", CUSTODIAL, 1, seed="more")["more1"])])
    made.hub.rotate(CUSTODIAL)
    made.put(CUSTODIAL, "case/1", bodies("case/1", CUSTODIAL, 1, seed="yet"))
    sound(made)


def test_evidence_leads_from_the_first_key_through_every_rotation(made):
    first = made.put(CUSTODIAL, "case/1", bodies("case/1", CUSTODIAL, 1, seed="one"))
    made.hub.rotate(CUSTODIAL)
    second = made.put(CUSTODIAL, "case/1", bodies("case/1", CUSTODIAL, 1, seed="two"))
    made.hub.rotate(CUSTODIAL)
    trust = made.hub.trust_file()
    for leaf in (*first, *second):
        bundle = made.hub.desk.export("case", CUSTODIAL, leaf.id, frozenset())
        assert len(bundle["keys"]) == 3
        evidence.check(bundle, trust)
        with pytest.raises(HubError):
            evidence.check(bundle | {"keys": bundle["keys"][1:]}, trust)


def test_a_node_rotates_and_pushes(made):
    node = made.nodes[A]
    before = listed(made.folder / A / "keys", A)
    node.rotate()
    node.push()
    assert keys_of(made, A) == [before["next"]]
    made.put(A, "case/1", bodies("case/1", A, 1, seed="after"))
    assert node.push()["sent"] == 1
    sound(made)


@pytest.mark.parametrize("stop", ["publish", "_put_away", "_relabel"])
def test_a_rotation_that_was_interrupted_goes_on(made, monkeypatch, stop):
    before = listed(made.folder / "hub" / "keys", CUSTODIAL)

    class Stop(Exception):
        pass

    def stopped(*args, **kwargs):
        raise Stop

    with monkeypatch.context() as patch:
        if stop == "publish":
            patch.setattr(made.hub.ledger, "append", stopped)
        else:
            patch.setattr(KeyRing, stop, stopped)
        with pytest.raises(Stop):
            made.hub.rotate(CUSTODIAL)
    assert made.hub.rotate(CUSTODIAL) == before["next"]
    assert listed(made.folder / "hub" / "keys", CUSTODIAL)["current"] == before["next"] == keys_of(made, CUSTODIAL)[0]
    assert len(made.hub.store.key_entries(CUSTODIAL)) == 2, "announced once"
    made.hub.rotate(CUSTODIAL)
    made.put(CUSTODIAL, "case/1", bodies("case/1", CUSTODIAL, 1, seed="then"))
    sound(made)


def test_without_the_next_key_nobody_rotates(made):
    folder = made.folder / "hub" / "keys"
    (folder / "next").rename(made.folder / "safe")
    for _ in range(2):
        with pytest.raises(KeyRefused, match="no next key"):
            made.hub.rotate(CUSTODIAL)
    # Nor does a thief with the current key alone: what he announces was announced by nobody.
    chain, thief = made.hub.ledger.chain(CUSTODIAL), made.ring.signer("batch", CUSTODIAL)
    own = note.signer(thief.vkey.name, Ed25519PrivateKey.generate())
    for signers in ([own], [thief]):
        raw = batch.next_key(made.hub.ledger.hub, chain, signers, [own.vkey], "2026-11-22T17:00:00+08:00")
        with pytest.raises(KeyRefused, match="announced as `next`"):
            made.hub.ledger.append([Submission(raw, None)])
    (made.folder / "safe").rename(folder / "next")
    made.hub.rotate(CUSTODIAL)


def test_a_thiefs_batches_are_disowned_and_seen_to_be(made):
    node = made.nodes[A]
    good = made.put(A, "case/1", bodies("case/1", A, 1, seed="good"))
    node.push()
    # The thief copies the whole node, but not the next keys that lie in a safe.
    shutil.copytree(made.folder / A, made.folder / "thief")
    shutil.rmtree(made.folder / "thief" / "keys" / "next")
    thief = Node(made.folder / "thief", KeyRing(made.folder / "thief" / "keys", PHRASE), KINDS, made.clock, timeout=30)
    issuer = thief.issuer(A)
    forged = [
        leaf
        for n in (1, 2)
        for body in bodies("case/1", A, 1, seed=f"f{n}").values()
        for leaf in issuer.issue([issuer.draft(KINDS["case/1"], f"f{n}", body)])
    ]
    thief.push()
    thief.close()
    made.put(A, "case/1", bodies("case/1", A, 1, seed="mine"))
    with pytest.raises(Tampered, match="somebody else signs with its key"):
        node.push()
    seq = node.own.chain(A).seq
    assert made.hub.ledger.chain(A).seq == seq + 1
    # Its own unpushed batch is of a chain that the ledger does not hold: the operator starts from the copy.
    node.close()
    shutil.rmtree(made.folder / A / "own")
    shutil.rmtree(made.folder / A / "own-head")
    node = made.node(A)
    node.pull()
    node.rotate(void_from=seq)
    node.push()
    assert made.hub.ledger.chain(A).voids == ((seq, seq + 1),)
    assert keys_of(made, A)[0] == listed(made.folder / A / "keys", A)["current"]
    row = next(row for row in made.hub.status()["jurisdictions"] if row["code"] == A)
    assert row["voided"] == [[seq, seq + 1]]
    assert f"{seq}–{seq + 1}" in row["problem"]["zh"] and "disowned" in row["problem"]["en"]
    assert any(f"entries {seq} to {seq + 1}: it disowned" in line for line in made.hub.verify().unproven)
    trust = made.hub.trust_file()
    evidence.check(made.hub.desk.export("case", A, good[0].id, frozenset()), trust)
    for leaf in forged:
        with pytest.raises(KeyRefused, match="disowned its batches"):
            evidence.check(made.hub.desk.export("case", A, leaf.id, frozenset()), trust)
    made.put(A, "case/1", bodies("case/1", A, 1, seed="new"))
    node.push()
    sound(made)


@pytest.mark.parametrize("how", ["csv", "json", "sqlite"])
def test_what_was_disowned_says_so_in_what_a_partner_exports(tmp_path, how):
    with rig(tmp_path, selves=(A,), pullers=(CUSTODIAL,)) as made:
        made.put(A, "case/1", bodies("case/1", A, 1, seed="good"))
        (forged,) = made.put(A, "case/1", bodies("case/1", A, 1, seed="forged"))
        made.nodes[A].push()

        def exported():
            made.nodes[CUSTODIAL].pull()
            kinds = {"case/1": KINDS["case/1"]}
            (told,) = export_records(tmp_path / "out", how, made.nodes[CUSTODIAL].records, kinds)
            if how == "sqlite":
                with sqlite3.connect(told["file"]) as store:
                    cursor = store.execute("SELECT * FROM case_v1")
                    return [dict(zip([each[0] for each in cursor.description], row, strict=True)) for row in cursor]
            with open(told["file"], encoding="utf-8-sig", newline="") as file:
                return [*csv.DictReader(file)] if how == "csv" else [json.loads(line) for line in file]

        assert [row for row in exported() if "disowned" in row] == []
        made.nodes[A].rotate(void_from=made.nodes[A].own.chain(A).seq)
        made.nodes[A].push()
        rows = exported()
        told = audit.fsck(made.nodes[CUSTODIAL].copy, KINDS, made.nodes[CUSTODIAL].digest_key).unproven
        assert any(f"what {A} says in its entries 3 to 3: it disowned them" in line for line in told), "partner verify"
        # An id may begin as a formula does: then CSV has an apostrophe before it.
        assert len(rows) == 2 and [row["id"].lstrip("'") for row in rows if row.get("disowned")] == [forged.id]


def test_a_revoked_http_key_is_refused_at_once(made):
    node = made.nodes[A]
    node.pull()
    beside = app.Hub(made.settings, made.folder / "hub", made.ring, port=made.port, now=made.clock,
                     first_keys={A: made.made[A]["first_key"]}, http_keys={A: [made.made[A]["http_key"]]})  # fmt: skip
    beside.revoke(made.made[A]["http_key"], "stolen")
    with pytest.raises(ConfigError, match="no member calls"):
        beside.revoke("somebody+00000000", "stolen")
    beside.close()
    with pytest.raises(KeyRefused):
        node.pull()
    made.stop()
    made.open()
    with pytest.raises(KeyRefused):
        node.pull()


def test_void_from_is_a_line_of_its_own_and_only_backwards(made):
    chain = made.hub.ledger.chain(CUSTODIAL)
    coming = made.ring.signer("batch", CUSTODIAL, "next")

    def entry(void):
        return batch.next_key("hub.example", chain, [coming], [coming.vkey], "2026-11-22T17:00:00+08:00", void)

    text = note.parse(entry(2)).text
    assert b"\nvoid-from 2\ntime " in text and batch.parse("hub.example", text).void_from == 2
    assert b"void-from" not in note.parse(entry(0)).text
    for wrong in (b"void-from 1\n", b"void-from 0\n", b"void-from 02\n", f"void-from {chain.seq + 1}\n".encode()):
        with pytest.raises(HubError):
            batch.parse("hub.example", text.replace(b"void-from 2\n", wrong))


def test_the_trust_file_reads_what_it_wrote_after_a_rotation(made):
    made.hub.rotate(CUSTODIAL)
    assert json.loads(made.hub.trust_file().dump())["pins"][CUSTODIAL][1] == "custodial"


# --- a second signature, by SM2 ---


def with_sm2(made):
    """The custodial city's chain, from its second rotation on signed by SM2 too."""
    made.hub.rotate(CUSTODIAL, second=True)
    assert len(made.hub.ledger.chain(CUSTODIAL).keys) == 1, "announced, not yet in force"
    made.hub.rotate(CUSTODIAL)


def test_sm2_comes_into_force_by_rotation_and_is_then_required(made):
    with_sm2(made)
    chain = made.hub.ledger.chain(CUSTODIAL)
    assert [key.type for key in chain.keys] == [note.ED25519, note.PRIVATE]
    leaves = made.put(CUSTODIAL, "case/1", bodies("case/1", CUSTODIAL, 2, seed="twice signed"))
    entry = made.hub.store.entry_at(CUSTODIAL, chain.seq + 1)
    raw = entry.note
    assert len(note.parse(raw).lines) == 2
    chain = made.hub.ledger.chain(CUSTODIAL)
    text = batch.Batch(CUSTODIAL, chain.seq + 1, chain.prev, 1, batch.NOTHING, chain.keys_text, "2026-11-22T17:00:00+08:00")
    signers = made.ring.signers(CUSTODIAL)
    for some in ([signers[0]], [signers[1]], signers[::-1]):
        forged = note.sign(text.text(made.hub.ledger.hub), some)
        with pytest.raises(KeyRefused):
            chain.follow(text, note.parse(forged), pin=None)
    chain.follow(text, note.parse(note.sign(text.text(made.hub.ledger.hub), signers)), pin=None)
    evidence.check(made.hub.desk.export("case", CUSTODIAL, leaves[0].id, frozenset()), made.hub.trust_file())
    made.nodes[A].pull()
    sound(made)


def test_sm2_goes_as_it_came(made):
    with_sm2(made)
    made.hub.rotate(CUSTODIAL, second=False)
    made.hub.rotate(CUSTODIAL)
    assert [key.type for key in made.hub.ledger.chain(CUSTODIAL).keys] == [note.ED25519]
    made.put(CUSTODIAL, "case/1", bodies("case/1", CUSTODIAL, 1, seed="once signed"))
    sound(made)


@pytest.mark.parametrize("stop", ["_put_away", "_relabel"])
def test_a_rotation_with_sm2_that_was_interrupted_goes_on(made, monkeypatch, stop):
    made.hub.rotate(CUSTODIAL, second=True)
    calls, real = [], getattr(KeyRing, stop)

    class Stop(Exception):
        pass

    def stopped(self, *args, **kwargs):
        calls.append(args)
        if len(calls) == (1 if stop == "_put_away" else 3):
            raise Stop
        return real(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(KeyRing, stop, stopped)
        with pytest.raises(Stop):
            made.hub.rotate(CUSTODIAL)
    made.hub.rotate(CUSTODIAL)
    made.put(CUSTODIAL, "case/1", bodies("case/1", CUSTODIAL, 1, seed="then"))
    made.hub.rotate(CUSTODIAL)
    made.put(CUSTODIAL, "case/1", bodies("case/1", CUSTODIAL, 1, seed="and then"))
    assert [key.type for key in made.hub.ledger.chain(CUSTODIAL).keys] == [note.ED25519, note.PRIVATE]
    sound(made)
