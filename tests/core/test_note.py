"""Signed notes against the example of the C2SP specification's own implementation (Go's sumdb/note), and against mutation."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from hub import note, sm2
from hub.errors import HubError, KeyRefused, RecordError

GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()

ONE = note.signer("example.org/one", Ed25519PrivateKey.from_private_bytes(bytes(32)))
TWO = note.signer("example.org/two", Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32))

_, KEY = sm2.generate(b"a passphrase for tests")


def test_the_example_of_the_go_package_verifies():
    key = note.parse_vkey(GO_VKEY)
    assert str(key) == GO_VKEY
    assert note.verify(note.parse(GO_NOTE), [key]) == (key,)


def test_unknown_keys_are_ignored_and_a_known_key_with_a_bad_signature_rejects_all():
    raw = note.sign(b"text\n", [ONE, TWO])
    assert note.verify(note.parse(raw), [TWO.vkey]) == (TWO.vkey,)
    with pytest.raises(KeyRefused):
        note.verify(note.parse(raw), [note.VKey("example.org/three", 1, bytes(32))])
    lines = raw.decode().split("\n")
    blob = note.unb64(lines[2].split(" ")[2])
    lines[2] = f"— {ONE.vkey.name} {note.b64(blob[:-1] + bytes([blob[-1] ^ 1]))}"
    with pytest.raises(KeyRefused, match="does not hold"):
        note.verify(note.parse("\n".join(lines).encode()), [ONE.vkey, TWO.vkey])


def test_exactly_the_keys_in_force_in_their_order():
    note.verify_exactly(note.parse(note.sign(b"t\n", [ONE, TWO])), [ONE.vkey, TWO.vkey])
    for signers in ([TWO, ONE], [ONE], [ONE, TWO, ONE], [ONE, ONE]):
        with pytest.raises(KeyRefused):
            note.verify_exactly(note.parse(note.sign(b"t\n", signers)), [ONE.vkey, TWO.vkey])


@given(st.integers(0, 10_000), st.integers(0, 255))
@settings(max_examples=400, deadline=None)
def test_no_changed_byte_is_accepted(at, byte):
    raw = bytearray(note.sign(b"example.org/batch/v1\norigin 330483\nseq 43\n", [ONE]))
    if raw[at % len(raw)] == byte:
        return
    raw[at % len(raw)] = byte
    with pytest.raises(HubError):
        note.verify_exactly(note.parse(bytes(raw)), [ONE.vkey])


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"text\n", b"text\n\n", b"text\n\nx\n", "text\n\n— a QUJDREVG".encode(), "text\r\n\n— a QUJDREVG\n".encode(),
        "text\n\n—  QUJDREVG\n".encode(), "text\n\n— a+b QUJDREVG\n".encode(), "text\n\n— a QUJDREVG=\n".encode(),
        "t\n\n— a QUJD\n".encode(), b"\xff\n\n", "t\u2028\n\n- a QUJDREVG\n".encode(), b"x" * 70_000,
        ("t\n\n" + "— a QUJDREVG\n" * 17).encode(),
    ],
)  # fmt: skip
def test_a_malformed_note_is_refused(raw):
    with pytest.raises(RecordError):
        note.parse(raw)


@pytest.mark.parametrize(
    "text",
    [
        "", "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", GO_VKEY.replace("c7", "C7"),
        GO_VKEY + "\n", "a b+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", GO_VKEY.replace("+ARp", "+BBp"),
        "a+00000000+=",
    ],
)  # fmt: skip
def test_a_malformed_vkey_is_refused(text):
    with pytest.raises(RecordError):
        note.parse_vkey(text)


@given(st.integers(0, 2**53), st.binary(min_size=32, max_size=32))
def test_a_checkpoint_has_one_form(size, root):
    made = note.Checkpoint(ONE.vkey.name, size, root)
    assert note.open_checkpoint(note.sign(made.text(), [ONE]), ONE.vkey) == made


@pytest.mark.parametrize("size", ["01", "+1", "４２", "1_0", " 1", "", "-1"])
def test_a_checkpoint_size_has_one_spelling(size):
    text = f"{ONE.vkey.name}\n{size}\n{note.b64(bytes(32))}\n".encode()
    with pytest.raises(RecordError):
        note.open_checkpoint(note.sign(text, [ONE]), ONE.vkey)


def test_a_checkpoint_of_another_log_or_with_an_extra_line_is_refused():
    root = note.b64(bytes(32))
    own = f"{ONE.vkey.name}\n1\n{root}\n"
    note.open_checkpoint(note.sign(own.encode(), [ONE]), ONE.vkey)
    for text in (f"other\n1\n{root}\n", f"{own}extra\n", f"{own}\n", f"{ONE.vkey.name}\n1\n"):
        with pytest.raises(RecordError):
            note.open_checkpoint(note.sign(text.encode(), [ONE]), ONE.vkey)
    with pytest.raises(RecordError, match="three lines"):
        note.parse_checkpoint(own.encode() + b"x", ONE.vkey.name)


def test_the_types_of_keys_are_those_of_the_specifications():
    # signed-note v1.0.0: 0x01 Ed25519, 0x04 timestamped cosignatures, 0xff a type of one's own that carries its name.
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    for key, type in (
        (ONE.vkey, 1),
        (note.signer("w.example", private, note.COSIGNATURE).vkey, 4),
        (note.sm2_signer("c.example", KEY).vkey, 0xFF),
    ):
        name, id, blob = str(key).split("+", 2)
        assert note.unb64(blob)[0] == type and key.handle == f"{name}+{id}"


def test_a_key_of_the_private_type_verifies_by_sm2_and_of_no_other_kind():
    key, signature = note.sm2_signer("c.example", KEY).vkey, KEY.sign(b"text\n")
    assert key.verify(signature, b"text\n") and not key.verify(signature, b"other\n")
    named = note.VKey(key.name, note.PRIVATE, b"another-algorithm/v1".ljust(len(note.SM2), b"\0") + KEY.point)
    assert not named.verify(signature, b"text\n")


def test_a_key_of_a_type_that_nobody_knows_holds_nothing():
    # The same raw key and signature hold as Ed25519.
    signature = ONE.private.sign(b"text\n")
    assert note.VKey("a", note.ED25519, ONE.vkey.raw).verify(signature, b"text\n")
    assert not note.VKey("a", 2, ONE.vkey.raw).verify(signature, b"text\n")


def test_no_key_has_a_name_that_breaks_a_line():
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    for name in ("", "a b", "a+b", "a\nb", "a\u2028b", "x" * 201):
        with pytest.raises(RecordError, match="key name"):
            note.signer(name, private)
        with pytest.raises(RecordError, match="not a verifier key"):
            note.parse_vkey(str(note.VKey(name, note.ED25519, ONE.vkey.raw)))
    assert note.parse_vkey(str(note.signer("x" * 200, private).vkey)).name == "x" * 200


def test_the_limits_of_a_note_are_the_last_that_are_taken():
    line = "— a QUJDREVG\n".encode()
    assert len(note.parse(b"t\n\n" + line * 16).lines) == 16
    with pytest.raises(RecordError, match="more than 16"):
        note.parse(b"t\n\n" + line * 17)
    room = 65_535 - len(b"\n\n" + line)
    assert len(note.parse(b"x" * room + b"\n\n" + line).text) == room + 1
    with pytest.raises(RecordError, match="longer than 65535"):
        note.parse(b"x" * (room + 1) + b"\n\n" + line)


def test_a_signature_holds_a_key_id_and_at_least_one_byte():
    assert note.parse(f"t\n\n— a {note.b64(b'idid5')}\n".encode()).lines == (note.Line("a", b"idid", b"5"),)
    for blob in (b"idid", b"idi"):
        with pytest.raises(RecordError, match="too short"):
            note.parse(f"t\n\n— a {note.b64(blob)}\n".encode())


def test_signatures_without_a_blank_line_before_or_an_end_of_line_are_no_note():
    for raw in ("— a QUJDREVG\n", "t\n— a QUJDREVG\n", "t\n\n— a QUJDREVGx"):
        with pytest.raises(RecordError, match="no blank line"):
            note.parse(raw.encode())
