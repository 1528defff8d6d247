"""Cosignatures, quorums, add-checkpoint and fork proofs: bytes as C2SP writes them, and nothing forged is taken."""

import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from hub import merkle, note
from hub.canonical import b64
from hub.errors import KeyRefused, RecordError
from hub.note import COSIGNATURE, Checkpoint, parse_vkey
from hub.witness import Ask, Cosign, Policy, Seen, Witness, answer, check_fork, fork_of, parse_ask, policy_of, policy_text

LOG = note.signer("hub.example/ledger", Ed25519PrivateKey.from_private_bytes(bytes(32)))
ONE, TWO, THREE = (
    note.signer(f"w{n}.example", Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32), COSIGNATURE) for n in (1, 2, 3)
)
AT = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
LEAVES = [merkle.leaf_hash(bytes([n])) for n in range(40)]


def tree(size, leaves=LEAVES):
    tiles = {}
    read = lambda level, n: tiles.get((level, n), b"")  # noqa: E731
    tiles.update(merkle.grow(0, leaves[:size], read))
    return read, merkle.root(read, size)


def signed(size, leaves=LEAVES, signer=LOG):
    return note.sign(Checkpoint(LOG.vkey.name, size, tree(size, leaves)[1]).text(), [signer])


def proof(old, size):
    return tuple(merkle.consistency(tree(size)[0], old, size))


cosign = Cosign(ONE, lambda: AT)


def asked(seen, old, size, raw=None, hashes=None):
    body = Ask(old, proof(old, size) if hashes is None else hashes, raw or signed(size)).body()
    return answer(seen, body, LOG.vkey, cosign)


def seen(size):
    return Seen(size, tree(size)[1]) if size else Seen()


def test_a_cosignature_signs_its_time_and_the_whole_text():
    raw = signed(7)
    text = note.parse(raw).text
    line = note.parse(raw + note.cosign(text, ONE, 1_700_000_000)).lines[1]
    # tlog-cosignature v1.0.1: key id, 8 bytes of time, the signature over its own header and the note text.
    stated = b"cosignature/v1\ntime 1700000000\n" + text
    ONE.private.public_key().verify(line.signature[8:], stated)
    assert line.id == ONE.vkey.id and note.time_of(line) == 1_700_000_000 and len(line.signature) == 72
    assert ONE.vkey.verify(line.signature, text) and not ONE.vkey.verify(line.signature, text + b"x")
    assert not ONE.vkey.verify(line.signature[8:], text)
    assert not ONE.vkey.verify((1_700_000_001).to_bytes(8, "big") + line.signature[8:], text)


def test_a_witness_key_is_no_other_key():
    text = str(ONE.vkey)
    assert parse_vkey(text, COSIGNATURE) == ONE.vkey
    for wrong in (lambda: parse_vkey(text), lambda: parse_vkey(str(LOG.vkey), COSIGNATURE)):
        with pytest.raises(RecordError):
            wrong()


@pytest.mark.parametrize(
    ("held", "old", "size", "status"),
    [(0, 0, 9, 200), (9, 9, 9, 200), (9, 9, 30, 200), (9, 5, 30, 409), (9, 9, 5, 400), (30, 30, 9, 400), (0, 4, 9, 409)],
)
def test_add_checkpoint_answers_as_specified(held, old, size, status):
    found = asked(seen(held), old, size, hashes=proof(old, size) if 0 < old < size else ())
    assert found.status == status
    if status == 200:
        assert found.seen == seen(size)
        assert Policy((Witness("one", ONE.vkey),), 1).signed_by(note.parse(signed(size) + found.body)) == {
            "one": int(AT.timestamp())
        }
    else:
        assert found.seen is None
    if status == 409:
        assert (found.body, found.type) == (f"{held}\n".encode(), "text/x.tlog.size")


def test_what_cannot_be_believed_is_not_cosigned():
    other = [*LEAVES[:3], *LEAVES[4:]]
    assert asked(seen(9), 9, 30, raw=signed(30, other)).status == 422
    assert asked(seen(9), 9, 9, raw=signed(9, other), hashes=()).status == 409, "one size, another root"
    assert asked(seen(0), 0, 9, raw=signed(9, signer=note.signer(LOG.vkey.name, ONE.private))).status == 403
    stranger = note.signer("other.example", ONE.private)
    assert asked(seen(0), 0, 1, raw=note.sign(b"other.example\n1\n%b\n" % b64(bytes(32)).encode(), [stranger])).status == 404
    for body in (b"", b"old 1\n\n", b"old x\n\n" + signed(1), b"old 1\n" + signed(1), b"old 01\n\n" + signed(1)):
        assert answer(seen(0), body, LOG.vkey, cosign).status == 400, body


@given(st.integers(1, 40), st.integers(0, 40), st.binary(min_size=1, max_size=1), st.data())
def test_no_changed_byte_of_an_ask_is_cosigned_as_another_tree(size, old, byte, data):
    old = min(old, size)
    body = bytearray(Ask(old, proof(old, size) if 0 < old < size else (), signed(size)).body())
    at = data.draw(st.integers(0, len(body) - 1))
    body[at : at + 1] = byte
    found = answer(seen(old), bytes(body), LOG.vkey, cosign)
    assert found.status != 200 or found.seen == seen(size)


@given(st.integers(0, 50), st.lists(st.binary(min_size=32, max_size=32), max_size=63))
def test_an_ask_is_read_as_it_was_written(old, hashes):
    ask = Ask(old, tuple(hashes), signed(5))
    assert parse_ask(ask.body()) == ask


def test_a_policy_speaks_the_words_of_tlog_policy():
    policy = Policy((Witness("one", ONE.vkey, "https://w1.example"), Witness("two", TWO.vkey), Witness("three", THREE.vkey)), 2)
    assert policy_text(policy.text(LOG.vkey)) == (LOG.vkey, policy) and policy.tolerated == 0
    assert policy_of(policy.plain()) == policy
    assert policy_text(f"# none\nlog {LOG.vkey}\nquorum none\n")[1] == Policy((), 0)
    for quorum in (0, 1, 4):
        with pytest.raises(RecordError, match="more than half"):
            policy_of(policy.plain() | {"quorum": quorum})
    for line in ("witness one", "group g", "quorum g", "what"):
        with pytest.raises(RecordError):
            policy_text(f"log {LOG.vkey}\n{line}\n")


def test_a_bad_cosignature_of_a_known_witness_rejects_the_note():
    policy = Policy((Witness("one", ONE.vkey), Witness("two", TWO.vkey)), 2)
    raw = signed(7)
    good = raw + note.cosign(note.parse(raw).text, ONE, 5) + note.cosign(note.parse(raw).text, THREE, 5)
    assert policy.signed_by(note.parse(good)) == {"one": 5}, "an unknown witness is ignored"
    bad = raw + note.cosign(note.parse(signed(8)).text, ONE, 5)
    with pytest.raises(KeyRefused, match="does not hold"):
        policy.signed_by(note.parse(bad))


# --- forks ---

OTHER = [*LEAVES[:2], *LEAVES[3:], LEAVES[2]]


def test_two_trees_of_one_size_are_a_fork_that_anybody_can_check():
    document = json.loads(fork_of("hub.example", signed(9), signed(9, OTHER)))
    one, other = check_fork(document, LOG.vkey)
    assert one.size == other.size == 9 and one.root != other.root


def test_trees_of_two_sizes_are_a_fork_by_the_root_between():
    smaller, larger = signed(5, OTHER), signed(9)
    document = json.loads(fork_of("hub.example", smaller, larger, tree(5)[1], proof(5, 9)))
    assert [each.size for each in check_fork(document, LOG.vkey)] == [5, 9]


def test_what_can_both_be_true_is_no_fork():
    cases = [
        fork_of("hub.example", signed(9), signed(9)),
        fork_of("hub.example", signed(5), signed(9), tree(5)[1], proof(5, 9)),
        fork_of("hub.example", signed(5), signed(9)),
        fork_of("hub.example", signed(5), signed(9), tree(5, OTHER)[1], proof(5, 9)),
        fork_of("hub.example", signed(9), signed(9, OTHER, note.signer(LOG.vkey.name, ONE.private))),
        b"{}",
        b"[]",
    ]
    for raw in cases:
        with pytest.raises((RecordError, KeyRefused)):
            check_fork(json.loads(raw), LOG.vkey)


# --- what is malformed ---


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"witnesses": []},
        {"witnesses": 3, "quorum": 1},
        {"witnesses": [{"name": "a"}], "quorum": 1},
        {"witnesses": ["a"], "quorum": 1},
    ],
)
def test_junk_is_no_policy(plain):
    with pytest.raises(RecordError, match="not a witness policy"):
        policy_of(plain)


def test_a_policy_text_is_read_line_by_line():
    witnesses = f"log {LOG.vkey}\nwitness one {ONE.vkey}\nwitness two {TWO.vkey} https://two.example\n"

    def read(rest):
        return policy_text(witnesses + rest)[1]

    assert read("quorum one\n").quorum == 1 and [each.name for each in read("quorum one\n").witnesses] == ["one"]
    assert read("group g any one two\nquorum g\n").quorum == 1
    assert read("group g all one two\nquorum g\n").quorum == 2
    assert read("group g 2 one two\nquorum g\n").witnesses[1].url == "https://two.example"
    for group in ("group g 3 one two", "group g 0 one", "group g 1 three"):
        with pytest.raises(RecordError, match="unknown witness, or more"):
            read(f"{group}\nquorum g\n")
    with pytest.raises(RecordError, match="unknown witness, or more"):
        read("quorum three\n")
    with pytest.raises(RecordError) as caught:
        read(f"witness three {THREE.vkey} https://a b\n")
    assert caught.value.where == "policy line 4"
    with pytest.raises(RecordError, match="names no log"):
        policy_text(f"witness one {ONE.vkey}\nquorum one\n")


def test_the_limit_on_hashes_is_the_last_that_is_taken():
    assert len(parse_ask(Ask(1, (bytes(32),) * 63, signed(5)).body()).proof) == 63
    for body in (Ask(1, (bytes(32),) * 64, signed(5)).body(), b"new 1\n\n" + signed(5), b"old 1"):
        with pytest.raises(RecordError):
            parse_ask(body)


def test_a_log_that_signs_what_is_no_checkpoint_is_answered_400():
    text = f"{LOG.vkey.name}\n5\n{b64(bytes(32))}\nextension\n".encode()
    assert asked(seen(0), 0, 5, raw=note.sign(text, [LOG]), hashes=()).status == 400


def test_a_proof_too_many_is_refused():
    assert asked(seen(9), 9, 9, hashes=(bytes(32),)).status == 422
    assert asked(seen(0), 0, 9, hashes=(bytes(32),)).status == 422


@pytest.mark.parametrize("cut", [0, 8, 64, 71, 73])
def test_a_cosignature_of_another_length_never_holds(cut):
    text = note.parse(signed(7)).text
    line = note.parse(signed(7) + note.cosign(text, ONE, 5)).lines[1]
    assert not ONE.vkey.verify((line.signature + b"x")[:cut], text)


@pytest.mark.parametrize("type", [note.ED25519, COSIGNATURE, note.PRIVATE, 2])
@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_length_holds_nothing_and_raises_nothing(type, size):
    assert not note.VKey("a", type, bytes(size)).verify(bytes(72 if type == COSIGNATURE else 64), b"text")


def test_a_line_under_another_name_is_another_keys():
    raw = signed(7)
    blob = note.parse(raw).lines[0]
    other = raw.replace(b"\xe2\x80\x94 hub.example", b"\xe2\x80\x94 aaa.example")
    assert other != raw and note.parse(other).lines[0].id == blob.id
    with pytest.raises(KeyRefused, match="no signature by a known key"):
        note.verify(note.parse(other), [LOG.vkey])
