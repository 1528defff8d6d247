"""Entries and chains: the exact lines, the exact keys, no gap, no rewrite, no key that was not announced."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from hub import batch, note, record, sm2
from hub.batch import Batch, Chain, KeyEntry
from hub.canonical import b64
from hub.errors import ChainError, ForkError, GapError, KeyRefused, RecordError

HUB = "hub.example/ledger"
TIME = "2026-11-22T17:05:00+08:00"
HASHES = [bytes([n]) * 32 for n in range(3)]


def signer(n):
    return note.signer(f"{HUB}/330483", Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32))


FIRST, SECOND, THIRD = signer(1), signer(2), signer(3)
GENESIS = batch.first_key(HUB, "330483", "self", [FIRST], [SECOND.vkey], TIME)
PIN = batch.text_hash(note.parse(GENESIS).text)


def follow(chain, raw, pin=PIN):
    parsed = note.parse(raw)
    return chain.follow(batch.parse(HUB, parsed.text), parsed, pin=pin)


STARTED = follow(Chain("330483"), GENESIS)
BATCH = batch.make(HUB, STARTED, HASHES, [FIRST], TIME)


def key_entry(chain, signers, following, custody="self"):
    keys = tuple(each.vkey for each in signers)
    entry = KeyEntry(chain.origin, chain.seq + 1, chain.prev, custody, keys, batch.keys_hash(following), TIME)
    return note.sign(entry.text(HUB), signers)


def test_the_text_of_a_batch_is_exactly_these_lines():
    text = note.parse(BATCH).text.decode()
    assert text == (
        f"{HUB}/batch/v1\norigin 330483\nseq 2\nprev {STARTED.prev}\ncount 3\nroot {b64(batch.merkle.root_of(HASHES))}\n"
        f"keys {PIN}\ntime {TIME}\n"
    )


def test_the_text_of_a_first_key_entry_is_exactly_these_lines():
    assert note.parse(GENESIS).text.decode() == (
        f"{HUB}/key/v1\norigin 330483\nseq 1\nprev 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\ncustody self\n"
        f"key {FIRST.vkey}\nnext {batch.keys_hash([SECOND.vkey])}\ntime {TIME}\n"
    )


def test_a_chain_goes_on_and_a_rotation_takes_the_announced_key():
    chain = follow(STARTED, BATCH)
    rotated = follow(chain, key_entry(chain, [SECOND], [THIRD.vkey]))
    assert (rotated.seq, rotated.keys) == (3, (SECOND.vkey,))
    with pytest.raises(KeyRefused):
        follow(rotated, batch.make(HUB, rotated, HASHES, [FIRST], TIME))
    assert follow(rotated, batch.make(HUB, rotated, HASHES, [SECOND], TIME)).seq == 4


def test_a_stolen_current_key_cannot_rotate():
    with pytest.raises(KeyRefused, match="announced"):
        follow(STARTED, key_entry(STARTED, [FIRST], [THIRD.vkey]))
    with pytest.raises(KeyRefused, match="announced"):
        follow(STARTED, key_entry(STARTED, [THIRD], [FIRST.vkey]))


def test_the_first_key_is_the_pinned_one():
    with pytest.raises(KeyRefused, match="pins"):
        follow(Chain("330483"), GENESIS, pin=b64(bytes(32)))
    with pytest.raises(KeyRefused, match="no first key is pinned"):
        follow(Chain("330483"), GENESIS, pin=None)
    other = batch.first_key(HUB, "330483", "self", [FIRST], [THIRD.vkey], TIME)
    with pytest.raises(KeyRefused, match="pins"):
        follow(Chain("330483"), other)


def test_every_listed_key_signs_and_nobody_else():
    both = batch.first_key(HUB, "330483", "self", [FIRST, THIRD], [SECOND.vkey], TIME)
    chain = follow(Chain("330483"), both, pin=batch.text_hash(note.parse(both).text))
    text = Batch("330483", 2, chain.prev, 3, b64(batch.merkle.root_of(HASHES)), chain.keys_text, TIME).text(HUB)
    assert follow(chain, note.sign(text, [FIRST, THIRD])).seq == 2
    for signers in ([FIRST], [THIRD], [THIRD, FIRST], [FIRST, THIRD, SECOND]):
        with pytest.raises(KeyRefused):
            follow(chain, note.sign(text, signers))


def test_gaps_and_forks_say_what_is_expected():
    ahead = replace(follow(STARTED, BATCH), seq=7)
    with pytest.raises(GapError) as gap:
        follow(STARTED, batch.make(HUB, ahead, HASHES, [FIRST], TIME))
    assert (gap.value.seq, gap.value.prev) == (2, STARTED.prev)
    with pytest.raises(ForkError):
        follow(follow(STARTED, BATCH), batch.make(HUB, STARTED, HASHES[:1], [FIRST], TIME))
    with pytest.raises(ForkError):
        follow(STARTED, batch.make(HUB, replace(STARTED, prev=b64(bytes(32))), HASHES, [FIRST], TIME))


def test_a_batch_names_the_keys_in_force():
    with pytest.raises(KeyRefused, match="in force"):
        follow(STARTED, batch.make(HUB, replace(STARTED, keys_text=b64(bytes(32))), HASHES, [FIRST], TIME))
    with pytest.raises(KeyRefused, match="no key/v1"):
        follow(Chain("330483"), batch.make(HUB, Chain("330483", keys_text=PIN), HASHES, [FIRST], TIME))


@given(st.integers(0, 5000), st.sampled_from([b" ", b"\n", b"0", b"+", b"=", b"x", b"\xc2\xa0", b"_"]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_no_other_spelling_of_an_entry_parses(at, extra, replaced):
    for text in (note.parse(BATCH).text, note.parse(GENESIS).text):
        place = at % len(text)
        other = text[:place] + extra + text[place + replaced :]
        try:
            entry = batch.parse(HUB, other)
        except RecordError:
            continue
        assert entry.text(HUB) == other


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seq 2", "seq 02"), ("seq 2", "seq ２"), ("seq 2", "seq 2_0"), ("count 3", "count 0"), ("count 3", "count 5001"),
        ("origin 330483", "origin 33 0483"), ("origin 330483", "origin ../x"), (TIME, "2026-11-22 17:05"),
        (TIME, "2026-11-22T17:05:00Z"), (TIME, "2026-19-39T29:59:59+08:00"), (TIME, "2026-02-30T10:00:00+08:00"),
        ("batch/v1", "batch/v2"), (f"{HUB}/", "other/"), ("origin", "Origin"),
        ("\ncount", "\n\ncount"), (TIME + "\n", TIME + "\nmore x\n"),
    ],
)  # fmt: skip
def test_malformed_entries_are_refused(old, new):
    text = note.parse(BATCH).text.decode()
    assert old in text
    with pytest.raises(RecordError):
        batch.parse(HUB, text.replace(old, new).encode())


@given(
    st.lists(
        st.tuples(
            st.binary(max_size=30).map(lambda raw: b"{" + raw.replace(b"\n", b"") + b"}"),
            st.lists(st.text("abc-_", max_size=9), max_size=3),
        ),
        max_size=5,
    )
)
def test_what_is_packed_is_unpacked(records):
    lines = [(raw, record.line_of(texts)) for raw, texts in records]
    assert batch.unpack(batch.pack(BATCH, records)) == (BATCH, lines)
    assert [record.texts_of(line) for _, line in lines] == [texts for _, texts in records]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}\n", b'{"note":"x"}', b'{"note":1}\n', b'{"note":"x"}\n{}\n', b'{"note":"x","more":1}\n',
        b"[" * 100_000 + b"\n", b"\xff\n",
    ],
)  # fmt: skip
def test_a_malformed_body_is_refused_with_its_line(body):
    with pytest.raises(RecordError) as caught:
        batch.unpack(body)
    assert caught.value.where


def test_records_must_be_those_that_were_signed():
    entry = batch.parse(HUB, note.parse(BATCH).text)
    batch.check_leaves(entry, HASHES)
    for other in (HASHES[:2], HASHES[::-1], [*HASHES, HASHES[0]], [*HASHES[:2], bytes(32)]):
        with pytest.raises(RecordError):
            batch.check_leaves(entry, other)
    with pytest.raises(RecordError, match="3 records where the note counts 2"):
        batch.check_leaves(replace(entry, count=2), HASHES)


@given(st.lists(st.sampled_from(["batch", "rotate", "replay", "skip", "steal"]), max_size=12))
@settings(max_examples=60, deadline=None)
def test_whatever_is_tried_only_the_true_chain_grows(steps):
    chain, current, upcoming, past = STARTED, 1, 2, [GENESIS]
    for step in steps:
        raw = {
            "batch": lambda: batch.make(HUB, chain, HASHES, [signer(current)], TIME),
            "rotate": lambda: key_entry(chain, [signer(upcoming)], [signer(upcoming + 1).vkey]),
            "replay": lambda: past[-1],
            "skip": lambda: batch.make(HUB, replace(chain, seq=chain.seq + 1), HASHES, [signer(current)], TIME),
            "steal": lambda: key_entry(chain, [signer(current)], [signer(99).vkey]),
        }[step]()
        if step in ("batch", "rotate"):
            chain = follow(chain, raw)
            past.append(raw)
            if step == "rotate":
                current, upcoming = upcoming, upcoming + 1
        else:
            with pytest.raises((ChainError, KeyRefused)):
                follow(chain, raw)
    assert chain.seq == len(past)


def rotated(chain, void, custody=None):
    return batch.next_key(HUB, chain, [SECOND], [THIRD.vkey], TIME, void, custody)


def test_void_from_reaches_back_to_the_second_entry_and_no_further_than_the_last():
    chain = follow(STARTED, BATCH)
    assert chain.seq == 2 and batch.parse(HUB, note.parse(rotated(chain, 2)).text).void_from == 2
    for void in (1, 3, 4):
        with pytest.raises(RecordError, match="names no batch before"):
            batch.parse(HUB, note.parse(rotated(chain, void)).text)
    after = follow(chain, rotated(chain, 2))
    assert after.voids == ((2, 2),) and [after.voided(seq) for seq in (1, 2, 3)] == [False, True, False]
    more = follow(after, batch.make(HUB, after, HASHES, [SECOND], TIME))
    assert more.voids == after.voids, "later batches are not disowned"


def test_custody_passes_to_the_city_and_never_back():
    begun = batch.first_key(HUB, "330483", "custodial", [FIRST], [SECOND.vkey], TIME)
    chain = follow(Chain("330483"), begun, batch.text_hash(note.parse(begun).text))
    city = follow(chain, rotated(chain, 0, "self"))
    assert (chain.custody, city.custody) == ("custodial", "self")
    taken = batch.next_key(HUB, city, [THIRD], [FIRST.vkey], TIME, 0, "custodial")
    with pytest.raises(KeyRefused, match="nobody takes that over"):
        follow(city, taken)
    assert follow(city, batch.next_key(HUB, city, [THIRD], [FIRST.vkey], TIME)).custody == "self"


def test_a_chain_that_continues_another_says_where_this_one_goes_on():
    chain = follow(STARTED, BATCH)
    with pytest.raises(ForkError) as caught:
        follow(chain, batch.make(HUB, replace(chain, prev=batch.NOTHING), HASHES, [FIRST], TIME))
    assert (caught.value.seq, caught.value.prev) == (3, chain.prev)


def test_the_limit_on_bytes_is_the_last_that_is_taken(monkeypatch):
    body = batch.pack(BATCH, [])
    for limit, fits in ((len(body), True), (len(body) - 1, False), (len(body) + 1, True)):
        monkeypatch.setattr(batch, "MAX_BYTES", limit)
        if fits:
            assert batch.unpack(body) == (BATCH, [])
        else:
            with pytest.raises(RecordError, match="at most"):
                batch.unpack(body)


def test_the_limits_that_partners_agree_on():
    text = note.parse(BATCH).text
    assert batch.parse(HUB, text.replace(b"count 3", b"count 5000")).count == 5_000
    for count in (b"0", b"5001"):
        with pytest.raises(RecordError, match="1 to 5000 records"):
            batch.parse(HUB, text.replace(b"count 3", b"count " + count))
    assert len(batch.unpack(b'{"note":"x"}\n' + b"{}\n[]\n" * 5_000)[1]) == 5_000
    with pytest.raises(RecordError, match="two lines per record"):
        batch.unpack(b'{"note":"x"}\n' + b"{}\n[]\n" * 5_001)
    with pytest.raises(RecordError, match="not one note line"):
        batch.unpack(b"x" * (8 << 20))
    with pytest.raises(RecordError, match="at most 8388608 bytes"):
        batch.unpack(b"x" * ((8 << 20) + 1))


@pytest.mark.parametrize("word", ["prev", "root", "keys", "next"])
def test_a_hash_in_an_entry_is_32_bytes_in_their_one_spelling(word):
    for raw in (BATCH, GENESIS):
        lines = note.parse(raw).text.decode().split("\n")
        for n, line in enumerate(lines):
            if line.startswith(word + " "):
                for wrong in ("", b64(bytes(31)), b64(bytes(33)), b64(bytes(32))[:-1], "x" * 44):
                    with pytest.raises(RecordError) as caught:
                        batch.parse(HUB, "\n".join([*lines[:n], f"{word} {wrong}", *lines[n + 1 :]]).encode())
                    assert caught.value.where == word


def test_a_key_entry_lists_each_key_once_and_an_ed25519_key_first():
    second = note.sm2_signer(f"{HUB}/330483", sm2.generate(b"a passphrase for tests")[1])
    twin = note.VKey(f"{HUB}/other", note.ED25519, FIRST.vkey.raw)
    for keys, fits in (
        ([FIRST.vkey], True),
        ([FIRST.vkey, second.vkey], True),
        ([], False),
        ([FIRST.vkey, twin], False),
        ([second.vkey], False),
        ([second.vkey, FIRST.vkey], False),
    ):
        text = KeyEntry("330483", 1, batch.NOTHING, "self", tuple(keys), batch.NOTHING, TIME).text(HUB)
        if fits:
            assert batch.parse(HUB, text).keys == tuple(keys)
        else:
            with pytest.raises(RecordError, match="no Ed25519 key first"):
                batch.parse(HUB, text)
    with pytest.raises(RecordError, match="custody is"):
        batch.parse(HUB, note.parse(GENESIS).text.replace(b"custody self", b"custody ours"))


def test_a_place_that_is_taken_stays_taken_whatever_the_entry_continues():
    chain = follow(STARTED, BATCH)
    for seq in (1, 2):
        again = Batch("330483", seq, chain.prev, 3, b64(batch.merkle.root_of(HASHES)), chain.keys_text, TIME)
        with pytest.raises(ForkError, match="already on the ledger") as caught:
            follow(chain, note.sign(again.text(HUB), [FIRST]))
        assert (caught.value.seq, caught.value.prev) == (3, chain.prev)


def test_a_key_entry_is_signed_by_the_keys_that_it_lists():
    # Whoever learns the announced public keys has not their private halves.
    text = note.parse(key_entry(STARTED, [SECOND], [THIRD.vkey])).text
    assert follow(STARTED, note.sign(text, [SECOND])).seq == 2
    for signers in ([], [FIRST], [THIRD], [SECOND, FIRST]):
        parsed = note.Note(text, note.parse(note.sign(text, signers)).lines if signers else ())
        with pytest.raises(KeyRefused, match="signature"):
            STARTED.follow(batch.parse(HUB, text), parsed, pin=None)
