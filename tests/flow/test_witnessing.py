"""Partners cosign what they verified, stock witnesses are asked, and a hub that shows two trees is found out."""

import json
import shutil
from dataclasses import replace
from datetime import timedelta

import pytest
from hub_parts import KINDS, Rig, bodies, rig

from hub import app, audit, merkle, note
from hub.canonical import b64
from hub.errors import HubError, KeyRefused, RecordError, Tampered
from hub.note import Checkpoint, parse_vkey
from hub.web.metrics import metrics
from hub.web.witness import create_witness
from hub.wire import WitnessPost
from hub.witness import Ask, Forked, Policy, check_fork

A, B, C = "330483", "330521", "330503"
THREE = {"witnesses": (A, B, C), "quorum": 2, "pullers": (C,)}


def grow(made: Rig):
    """One more batch of A on the ledger."""
    made.nodes[A].push()
    made.put(A, "case/1", bodies("case/1", A, 2, seed=f"{made.hub.store.size()} {made.clock.at}"))
    made.nodes[A].push()


def state(made):
    return made.hub.status()["ledger"]["witnessed"]


def test_a_quorum_of_pulls_witnesses_the_ledger_and_growth_ends_it(tmp_path):
    with rig(tmp_path, **THREE) as made:
        grow(made)
        size = made.hub.store.size()
        first = state(made)
        assert (first["size"], first["quorum"]) == (0, 2) and first["since"] is not None
        assert made.nodes[A].pull()["cosigned"] == size and state(made)["size"] == 0, "one of two is no quorum"
        assert made.nodes[B].pull()["cosigned"] == size
        assert state(made) | {"witnesses": 0} == {
            "quorum": 2, "size": size, "by": [A, B], "since": None, "witnesses": 0,
        }  # fmt: skip
        served = made.nodes[C]._client.get("/ledger/checkpoint").body
        assert made.policy().signed_by(note.parse(served)).keys() == {A, B}, "what is served carries them"
        made.clock.at += timedelta(hours=1)
        grow(made)
        assert made.nodes[C]._client.get("/ledger/checkpoint").body == made.hub.ledger.checkpoint()[0]
        assert state(made)["size"] == size and state(made)["since"] == "2026-11-22T18:00:00+08:00"
        told = metrics(made.hub.status(), healthy=True).decode().splitlines()
        assert f"crossregion_hub_ledger_witnessed_entries {size}.0" in told
        assert "crossregion_hub_ledger_unwitnessed_since_timestamp_seconds 1.7953416e+09" in told


def test_one_checkpoint_is_asked_for_until_a_quorum_has_it(tmp_path):
    with rig(tmp_path, **THREE) as made:
        grow(made)
        asked = made.nodes[A].pull()["cosigned"]
        grow(made)
        assert made.nodes[B].pull()["cosigned"] == asked, "the ledger has grown, the question stays"
        assert state(made)["size"] == asked
        assert made.nodes[C].pull()["cosigned"] == made.hub.store.size(), "with a quorum the next one is asked for"
        made.clock.at += timedelta(hours=7)
        grow(made)
        assert made.nodes[A].pull()["cosigned"] == made.hub.store.size(), "nor does it wait for ever"


def test_receipts_and_evidence_rest_on_the_witnessed_checkpoint(tmp_path):
    with rig(tmp_path, **THREE) as made:
        grow(made)
        for code in (A, B):
            made.nodes[code].pull()
        witnessed = made.hub.desk.witnessing.witnessed()
        grow(made)
        raw = made.hub.desk.witnessing.best(0)[0]
        assert raw == witnessed.raw and made.policy().signed_by(note.parse(raw)).keys() == {A, B}
        assert made.hub.desk.witnessing.best(made.hub.store.size() - 1)[0] == made.hub.ledger.checkpoint()[0]


def test_only_a_named_witness_counts_and_only_for_itself(tmp_path):
    with rig(tmp_path, witnesses=(A, B), quorum=2, pullers=(C,)) as made:
        grow(made)
        assert made.nodes[C].pull()["cosigned"] == 0, "no witness, no cosignature"
        raw = made.hub.desk.target()
        line = note.cosign(note.parse(raw).text, made.rings[B].signer("witness", B), 1_700_000_000)
        with pytest.raises(KeyRefused, match="no cosignature of a witness"):
            made.hub.desk.cosign(A, raw + line)
        with pytest.raises(KeyRefused, match="no cosignature of a witness"):
            made.hub.desk.cosign(C, raw)
        late = note.cosign(note.parse(raw).text, made.rings[B].signer("witness", B), 9_000_000_000)
        with pytest.raises(KeyRefused, match="time to come"):
            made.hub.desk.cosign(B, raw + late)
        assert state(made)["size"] == 0


def test_a_node_answers_stock_logs_by_the_state_its_pulls_cosign_by(tmp_path):
    with rig(tmp_path, witnesses=(C,), quorum=1, pullers=(C,)) as made:
        bound = app.bind("127.0.0.1", 0)
        server = app.Server(create_witness(made.nodes[C].add_checkpoint), bound, None)
        server.start()
        try:
            url = f"http://127.0.0.1:{bound.getsockname()[1]}"
            policy = made.policy()
            made.hub.framework = made.hub.framework.with_witnesses(Policy((policy.witnesses[0]._replace(url=url),), 1))
            grow(made)
            for _ in range(2):
                made.hub.ask_witnesses()
                assert state(made)["size"] == made.hub.store.size() == made.nodes[C].status()["cosigned"]
                grow(made)
            # A witness that has lost track of nothing, a hub that has: it asks again from where the witness stands.
            with made.hub.store.transaction():
                made.hub.store.drop_cosignatures(10**9)
            made.hub.ask_witnesses()
            assert state(made)["size"] == made.hub.store.size() - 1
            assert WitnessPost()(url + "/add-checkpoint", b"old x")[0] == 400
        finally:
            server.stop()


def test_a_witness_that_is_away_stops_nothing(tmp_path, caplog):
    with rig(tmp_path, witnesses=(C,), quorum=1, pullers=(C,)) as made:
        policy = made.policy()
        gone = Policy((policy.witnesses[0]._replace(url="http://127.0.0.1:9"),), 1)
        made.hub.framework = made.hub.framework.with_witnesses(gone)
        grow(made)
        made.hub.ask_witnesses()
        assert C in caplog.text and state(made)["since"] is not None


def test_another_tree_of_one_size_is_refused_and_proven(tmp_path):
    """The hub's operator goes back to an older copy and lets another history grow from it."""
    with rig(tmp_path, witnesses=(B, C), quorum=2, pullers=(C,)) as made:
        grow(made)
        made.stop()
        shutil.copytree(tmp_path / "hub", tmp_path / "older")
        made.open()
        grow(made)
        size = made.hub.store.size()
        made.nodes[B].pull()
        made.stop()
        shutil.rmtree(tmp_path / "hub")
        (tmp_path / "older").rename(tmp_path / "hub")
        made.open()
        made.put(C, "case/1", bodies("case/1", C, 1))
        assert made.hub.store.size() == size
        with pytest.raises(Forked, match="two trees") as caught:
            made.nodes[B].pull()
        document = json.loads((tmp_path / B / "fork.json").read_bytes())
        assert json.loads(caught.value.proof) == document
        one, other = check_fork(document, parse_vkey(made.card.ledger))
        assert one.size == other.size == size
        # Whoever holds both views shows it to the hub's own door too.
        raw = next(each.encode() for each in document["checkpoints"] if each.encode() != made.hub.ledger.checkpoint()[0])
        with pytest.raises(Tampered, match="signed two trees"):
            made.hub.desk.cosign(B, raw)


def test_a_checkpoint_of_strangers_proves_nothing_against_the_hub(tmp_path):
    with rig(tmp_path, witnesses=(B,), quorum=1, pullers=()) as made:
        grow(made)
        head = made.hub.ledger.checkpoint()[1]
        text = Checkpoint(head.origin, head.size, bytes(32)).text()
        raw = note.sign(text, []) + note.cosign(text, made.rings[B].signer("witness", B), 1_700_000_000)
        with pytest.raises(KeyRefused, match="not signed by this ledger"):
            made.hub.desk.cosign(B, raw)
        beyond = Checkpoint(head.origin, head.size + 1, bytes(32)).text()
        with pytest.raises(RecordError, match="are published"):
            made.hub.desk.cosign(B, note.sign(beyond, [made.rings[B].signer("http", B)]))


def test_cosignatures_do_not_change_what_stands(tmp_path):
    with rig(tmp_path, **THREE) as made:
        grow(made)
        for code in (A, B, C):
            made.nodes[code].pull()
        report = audit.fsck(made.hub.ledger, KINDS, made.hub.digest_key)
        assert report.problems == []
        assert b64(merkle.root(made.hub.store.tile, made.hub.store.size())) == made.nodes[C].status()["copy"]["root"]




def signed(made, size, root=bytes(32)):
    """A checkpoint that the hub's own key signs, true or not."""
    signer = made.ring.signer("ledger", "hub")
    return note.sign(Checkpoint(signer.vkey.name, size, root).text(), [signer])


def shown(made, code):
    """The two checkpoints of the fork that a node kept a proof of."""
    return check_fork(json.loads((made.folder / code / "fork.json").read_bytes()), parse_vkey(made.card.ledger))


@pytest.mark.parametrize("later", [0, 1])
def test_a_checkpoint_brought_of_another_tree_than_the_copys_is_not_cosigned_but_kept_as_proof(tmp_path, caplog, later):
    with rig(tmp_path, witnesses=(C,), quorum=1, pullers=(C,)) as made:
        grow(made)
        size = made.hub.store.size()
        for _ in range(later):
            grow(made)
        made.nodes[C].pull()
        before = made.nodes[C].status()["cosigned"]
        found = made.nodes[C].add_checkpoint(Ask(before, (), signed(made, size)).body())
        assert found.status != 200 and found.seen is None
        assert [each.size for each in shown(made, C)] == [size, size + later] and "two trees" in caplog.text


def test_a_first_checkpoint_of_another_tree_than_the_copys_is_not_cosigned(tmp_path):
    with rig(tmp_path, pullers=(C,)) as made:
        grow(made)
        made.nodes[C].pull()
        size = made.hub.store.size()
        assert made.nodes[C].status()["cosigned"] == 0
        found = made.nodes[C].add_checkpoint(Ask(0, (), signed(made, size)).body())
        assert found.status == 422 and made.nodes[C].status()["cosigned"] == 0
        assert [each.size for each in shown(made, C)] == [size, size]


def test_two_checkpoints_of_one_size_brought_to_a_witness_are_kept_as_proof(tmp_path):
    with rig(tmp_path, pullers=(C,)) as made:
        assert made.nodes[C].add_checkpoint(Ask(0, (), signed(made, 7)).body()).status == 200
        assert made.nodes[C].add_checkpoint(Ask(7, (), signed(made, 7, b"x" * 32)).body()).status == 409
        assert [each.root for each in shown(made, C)] in ([bytes(32), b"x" * 32], [b"x" * 32, bytes(32)])


def test_a_pull_does_not_cosign_past_another_tree_that_was_cosigned_when_brought(tmp_path):
    """Cosigning both would say that each continues the other."""
    with rig(tmp_path, witnesses=(C,), quorum=1, pullers=(C,)) as made:
        grow(made)
        size = made.hub.store.size()
        assert made.nodes[C].add_checkpoint(Ask(0, (), signed(made, size)).body()).status == 200, "nothing is held against it"
        grow(made)
        with pytest.raises(Forked, match="two trees"):
            made.nodes[C].pull()
        assert made.nodes[C].status()["cosigned"] == size
        assert [each.size for each in shown(made, C)] == [size, made.hub.store.size()]


@pytest.mark.parametrize(("status", "body"), [(409, b"9" * 5_000), (409, "١٢".encode()), (422, b""), (500, b"x")])
def test_what_a_witness_answers_that_is_no_size_is_told_and_stops_nothing(tmp_path, status, body):
    with rig(tmp_path, witnesses=(C,), quorum=1, pullers=(C,)) as made:
        policy = made.policy()
        made.hub.framework = made.hub.framework.with_witnesses(Policy((policy.witnesses[0]._replace(url="http://w"),), 1))
        (problem,) = made.hub.desk.witnessing.compare(lambda url, ask: (status, body))
        assert C in problem and str(status) in problem
        grow(made)


def test_a_halt_by_a_witness_s_word_ends_when_the_framework_names_it_no_more_and_one_that_is_proven_does_not(tmp_path):
    with rig(tmp_path, witnesses=(C,), quorum=1, pullers=(C,)) as made:
        named = made.hub.framework
        policy = Policy((made.policy().witnesses[0]._replace(url="http://w"),), 1)
        made.hub.framework, compare = named.with_witnesses(policy), made.hub.desk.witnessing.compare
        for proven in (False, True):
            with pytest.raises(Tampered, match="cosigned 999999 entries"):
                compare(lambda url, ask: (409, b"999999"))
            with pytest.raises(HubError, match="cosigned 999999 entries"):
                grow(made)
            assert compare(lambda url, ask: (500, b"")), "away, it said what it said"
            with pytest.raises(HubError, match="cosigned 999999 entries"):
                grow(made)
            if proven:
                made.hub.ledger.halt("two trees")
            made.hub.framework = replace(named, witnessing=None)
            compare(lambda url, ask: (200, b""))
            if not proven:
                grow(made)
                made.hub.framework = named.with_witnesses(policy)
        with pytest.raises(HubError, match="two trees"):
            grow(made)
