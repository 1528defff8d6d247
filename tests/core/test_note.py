"""Signed notes against the example of the C2SP specification's own implementation (Go's sumdb/note), and against mutation."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from hub import note
from hub.errors import HubError, KeyRefused, RecordError

GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()

ONE = note.signer("example.org/one", Ed25519PrivateKey.from_private_bytes(bytes(32)))
TWO = note.signer("example.org/two", Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32))


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
    for text in (f"other\n1\n{root}\n", f"{ONE.vkey.name}\n1\n{root}\nextra\n"):
        with pytest.raises(RecordError):
            note.open_checkpoint(note.sign(text.encode(), [ONE]), ONE.vkey)
