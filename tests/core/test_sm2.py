"""SM2 with SM3 by OpenSSL's library, held against the `openssl` command both ways."""

import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from hub import note, sm2
from hub.errors import KeyRefused, RecordError
from hub.note import ED25519, PRIVATE, parse_vkey

PHRASE = b"a passphrase for tests"
PEM, KEY = sm2.generate(PHRASE)
MESSAGE = "跨区域协作\n".encode()
DISTID = ["-sigopt", f"distid:{sm2.DISTID.decode()}"]


def openssl(*arguments, folder):
    return subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_openssl_verifies_what_is_signed_here(tmp_path):
    signature = KEY.sign(MESSAGE)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    (tmp_path / "s").write_bytes(encode_dss_signature(r, s))
    (tmp_path / "m").write_bytes(MESSAGE)
    (tmp_path / "k.der").write_bytes(sm2._SPKI + KEY.point)
    assert openssl("pkey", "-pubin", "-inform", "DER", "-in", "k.der", "-out", "k.pem", folder=tmp_path).returncode == 0
    check = ["dgst", "-sm3", "-verify", "k.pem", "-signature", "s"]
    assert "Verified OK" in openssl(*check, *DISTID, "m", folder=tmp_path).stdout
    (tmp_path / "m").write_bytes(MESSAGE + b"x")
    assert "Verified OK" not in openssl(*check, *DISTID, "m", folder=tmp_path).stdout


def test_what_openssl_signs_verifies_here(tmp_path):
    (tmp_path / "m").write_bytes(MESSAGE)
    (tmp_path / "k.pem").write_bytes(PEM)
    phrase = ["-passin", f"pass:{PHRASE.decode()}"]
    made = openssl("dgst", "-sm3", "-sign", "k.pem", *phrase, *DISTID, "-out", "s", "m", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    r, s = decode_dss_signature((tmp_path / "s").read_bytes())
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert sm2.verify(KEY.point, signature, MESSAGE) and not sm2.verify(KEY.point, signature, MESSAGE + b"x")
    # Another identifier is another signature: it is never left out.
    openssl("dgst", "-sm3", "-sign", "k.pem", *phrase, "-sigopt", "distid:somebody", "-out", "s", "m", folder=tmp_path)
    r, s = decode_dss_signature((tmp_path / "s").read_bytes())
    assert not sm2.verify(KEY.point, r.to_bytes(32, "big") + s.to_bytes(32, "big"), MESSAGE)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=300))
def test_a_signature_holds_for_its_message_alone(message):
    signature = KEY.sign(message)
    assert len(signature) == 64 and sm2.verify(KEY.point, signature, message)
    assert not sm2.verify(KEY.point, signature, message + b"\0")


SIGNATURE = KEY.sign(MESSAGE)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 63), st.integers(1, 255))
def test_no_changed_byte_of_a_signature_verifies(at, change):
    changed = bytearray(SIGNATURE)
    changed[at] ^= change
    assert not sm2.verify(KEY.point, bytes(changed), MESSAGE)


NO_POINTS = {
    "nothing": b"",
    "off the curve": b"\4" * 65,
    "zeros": bytes(65),
    "cut": KEY.point[:-1],
    "compressed": b"\2" + KEY.point[1:33],
    "longer": KEY.point + b"\0",
}


@pytest.mark.parametrize("point", NO_POINTS.values(), ids=NO_POINTS)
def test_what_is_no_point_verifies_nothing(point):
    assert not sm2.verify(point, SIGNATURE, MESSAGE)


@pytest.mark.parametrize("pem", [b"", b"junk", PEM[:-40]])
def test_a_key_that_cannot_be_read_is_refused(pem):
    with pytest.raises(KeyRefused):
        sm2.Sm2Private(pem, PHRASE)
    with pytest.raises(KeyRefused):
        sm2.Sm2Private(PEM, b"another passphrase")


def test_a_vkey_of_the_private_type_has_one_spelling():
    vkey = note.sm2_signer("hub.example/330483", KEY).vkey
    assert parse_vkey(str(vkey), ED25519, PRIVATE) == vkey and vkey.raw == note.SM2 + KEY.point
    with pytest.raises(RecordError):
        parse_vkey(str(vkey))
    for raw in (vkey.raw[:-1], b"another-algorithm/v1\0" + KEY.point, vkey.raw + b"x"):
        with pytest.raises(RecordError):
            parse_vkey(str(note.VKey(vkey.name, PRIVATE, raw)), ED25519, PRIVATE)
