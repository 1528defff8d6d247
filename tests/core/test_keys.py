"""Keys: private files, encrypted, stable, one role each; what they encrypt opens only where it was put."""

import json
import stat

import pytest
from cryptography.hazmat.primitives import serialization

from hub import batch, keys, note
from hub.errors import KeyRefused
from hub.keys import KeyRing, Secrets, Vault

PHRASE = "a passphrase for tests"
HUB = "hub.example/ledger"
TIME = "2026-11-22T17:05:00+08:00"


@pytest.fixture
def ring(tmp_path):
    made = KeyRing(tmp_path / "keys", PHRASE)
    made.secrets()
    made.first_note(HUB, "330483", "custodial", TIME)
    made.create("ledger", "hub", HUB)
    made.create("http", "hub", f"{HUB}/http")
    return made


def files(tmp_path):
    return [path for path in (tmp_path / "keys").rglob("*") if path.is_file()]


def test_every_file_is_private_and_so_are_its_folders(tmp_path, ring):
    assert len(files(tmp_path)) == 6
    assert {stat.S_IMODE(path.stat().st_mode) for path in files(tmp_path)} == {0o600}
    assert {stat.S_IMODE((tmp_path / "keys" / each).stat().st_mode) for each in (".", "next")} == {0o700}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o644])
def test_a_key_that_others_may_read_is_refused(tmp_path, ring, mode):
    for name, use in (
        ("batch.330483.key", lambda: ring.signer("batch", "330483")),
        ("root.key", ring.secrets),
    ):
        path = tmp_path / "keys" / name
        path.chmod(mode)
        with pytest.raises(KeyRefused, match="chmod 600"):
            use()
        path.chmod(0o600)
        use()


def test_another_passphrase_opens_nothing(tmp_path, ring):
    other = KeyRing(tmp_path / "keys", PHRASE + " ")
    for use in (
        other.secrets,
        lambda: other.signer("ledger", "hub"),
        lambda: other.create("http", "hub", f"{HUB}/http"),
    ):
        with pytest.raises(KeyRefused) as refused:
            use()
        assert "passphrase does not open" in str(refused.value) and PHRASE not in str(refused.value)


def test_a_short_passphrase_is_refused(tmp_path):
    with pytest.raises(KeyRefused, match="shorter than 16"):
        KeyRing(tmp_path / "keys", "123456789012345")


def test_no_private_byte_rests_in_the_clear(tmp_path, ring):
    secret = ring.secrets()
    raw = [
        ring.signer(role, owner, state).private.private_bytes(
            serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
        )
        for role, owner, state in (
            ("ledger", "hub", "current"),
            ("batch", "330483", "current"),
            ("batch", "330483", "next"),
        )
    ]
    canaries = [*raw, secret._root, secret.digest_key, secret.id_key("330483"), PHRASE.encode()]
    for path in files(tmp_path):
        held = path.read_bytes()
        for canary in canaries:
            assert canary not in held and canary.hex().encode() not in held and note.b64(canary).encode() not in held


def test_keys_and_pins_stay_what_they_are(tmp_path, ring):
    again = KeyRing(tmp_path / "keys", PHRASE)
    first = ring.first_note(HUB, "330483", "custodial", TIME)
    assert again.first_note(HUB, "330483", "custodial", "2027-01-01T00:00:00+08:00") == first
    assert again.create("ledger", "hub", HUB).vkey == ring.signer("ledger", "hub").vkey
    assert again.secrets().digest_key == ring.secrets().digest_key
    parsed = note.parse(first)
    assert keys.pin_of(first) == batch.text_hash(parsed.text)
    entry = batch.parse(HUB, parsed.text)
    assert entry.keys == (again.signer("batch", "330483").vkey,)
    # The next key is promised by the first note, and lies where an operator can take it away.
    chain = batch.Chain("330483").follow(entry, parsed, pin=keys.pin_of(first))
    assert chain.next == entry.next and (tmp_path / "keys" / "next" / "batch.330483.key").exists()


def test_a_list_of_keys_needs_no_passphrase_and_tells_nothing_private(ring, tmp_path):
    found = {(each.role, each.owner, each.state): each for each in keys.list_keys(tmp_path / "keys")}
    assert set(found) == {("ledger", "hub", "current"), ("http", "hub", "current"),
                          ("batch", "330483", "current"), ("batch", "330483", "next")}  # fmt: skip
    assert found["ledger", "hub", "current"].vkey == str(ring.signer("ledger", "hub").vkey)
    assert len({note.parse_vkey(each.vkey).raw for each in found.values()}) == 4
    assert "PRIVATE" not in repr(found)


def test_one_public_key_never_stands_twice(ring):
    key = ring.signer("ledger", "hub").vkey
    other = ring.signer("http", "hub").vkey
    keys.distinct([key, other])
    for twin in (key, note.VKey("another.example/name", key.type, key.raw)):
        with pytest.raises(KeyRefused, match="stands twice"):
            keys.distinct([key, other, twin])


def test_a_private_file_is_never_overwritten_and_never_half_written(tmp_path):
    path = tmp_path / "keys" / "some.key"
    keys.write_private(path, b"first")
    with pytest.raises(FileExistsError):
        keys.write_private(path, b"second")
    assert path.read_bytes() == b"first" and [each.name for each in files(tmp_path)] == ["some.key"]


def test_a_write_that_dies_in_the_middle_leaves_no_file_of_that_name(tmp_path, monkeypatch):
    def die(handle):
        raise OSError(28, "No space left on device")

    path = tmp_path / "keys" / "some.key"
    with monkeypatch.context() as broken:
        broken.setattr(keys.os, "fsync", die)
        with pytest.raises(OSError):
            keys.write_private(path, b"first")
    assert files(tmp_path) == []
    keys.write_private(path, b"second")
    assert path.read_bytes() == b"second"


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"name": 1, "pem": 2}', b"\xff\xfe", b"{}"])
def test_a_damaged_key_file_is_named(tmp_path, ring, damage):
    for name, use in (
        ("batch.330483.key", lambda: ring.signer("batch", "330483")),
        ("root.key", ring.secrets),
        ("ledger.hub.key", lambda: list(keys.list_keys(tmp_path / "keys"))),
    ):
        path = tmp_path / "keys" / name
        whole = path.read_bytes()
        path.write_bytes(damage)
        with pytest.raises(KeyRefused, match=name):
            use()
        path.write_bytes(whole)


def test_flipped_bits_in_the_root_secret_are_refused(tmp_path, ring):
    path = tmp_path / "keys" / "root.key"
    info = json.loads(path.read_text())
    for name in ("sealed", "nonce", "salt"):
        raw = bytearray(note.unb64(info[name]))
        raw[3] ^= 1
        path.write_text(json.dumps(info | {name: note.b64(bytes(raw))}))
        with pytest.raises(KeyRefused):
            ring.secrets()


# --- the vault ---


def test_the_vault_opens_only_what_lies_in_its_place():
    vault, other = Vault(bytes(32)), Vault(bytes([1] * 32))
    sealed = vault.seal("张三".encode(), b"place")
    assert vault.open(sealed, b"place") == "张三".encode() and "张三".encode() not in sealed
    assert vault.seal("张三".encode(), b"place") != sealed
    flipped = sealed[:20] + bytes([sealed[20] ^ 1]) + sealed[21:]
    for opener, blob, place in (
        (vault, sealed, b"elsewhere"),
        (other, sealed, b"place"),
        (vault, sealed[:-1], b"place"),
        (vault, b"", b"place"),
        (vault, flipped, b"place"),
    ):
        with pytest.raises(KeyRefused):
            opener.open(blob, place)


def test_each_purpose_has_a_key_of_its_own():
    secret = Secrets(bytes(32))
    found = [
        secret.derive("disclosures"),
        secret.digest_key,
        secret.id_key("330483"),
        secret.id_key("330503"),
    ]
    assert len(set(found)) == 4 and {len(each) for each in found} == {32}
    assert Secrets(bytes([1] * 32)).digest_key != secret.digest_key
