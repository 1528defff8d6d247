"""Keys: private files, encrypted, stable, one role each; what they encrypt opens only where it was put."""

import hashlib
import json
import os
import shutil
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

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
    KeyRing(tmp_path / "keys", "1234567890123456").secrets()


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
        with pytest.raises(OSError, match="No space"):
            keys.write_private(path, b"first")
        broken.setattr(keys.os, "open", lambda *call: die(0))
        with pytest.raises(OSError, match="No space"):
            keys.write_private(path, b"first")
    assert files(tmp_path) == []
    keys.write_private(path, b"second")
    assert path.read_bytes() == b"second"


def test_a_private_file_is_on_the_disk_before_it_has_its_name_and_its_name_before_it_counts(tmp_path, monkeypatch):
    path, synced, real = tmp_path / "deep" / "keys" / "some.key", [], os.fsync

    def fsync(handle):
        found = os.fstat(handle)
        synced.append(("folder" if stat.S_ISDIR(found.st_mode) else found.st_size, path.exists()))
        real(handle)

    monkeypatch.setattr(keys.os, "fsync", fsync)
    held = len(os.listdir("/dev/fd"))
    keys.write_private(path, b"first")
    assert synced == [(5, False), ("folder", True)] and path.read_bytes() == b"first"
    assert len(os.listdir("/dev/fd")) == held, "no file is left open"


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


def test_the_root_secret_rests_as_the_format_says(tmp_path):
    # Written and read by the standard library's scrypt: a folder of years ago opens for ever.
    path, salt, nonce, root = tmp_path / "keys" / "root.key", bytes(range(16)), bytes(12), bytes(range(32))
    stretched = hashlib.scrypt(PHRASE.encode(), salt=salt, n=16_384, r=8, p=1, dklen=32)
    sealed = AESGCM(stretched).encrypt(nonce, root, b"root")
    text = json.dumps({"salt": note.b64(salt), "nonce": note.b64(nonce), "sealed": note.b64(sealed)})
    keys.write_private(path, text.encode())
    assert KeyRing(tmp_path / "keys", PHRASE).secrets().digest_key == Secrets(root).digest_key
    made = KeyRing(tmp_path / "other", PHRASE)
    first = made.secrets()
    held = json.loads((tmp_path / "other" / "root.key").read_text())
    salt, nonce, sealed = (note.unb64(held[name]) for name in ("salt", "nonce", "sealed"))
    assert (len(salt), len(nonce), len(sealed)) == (16, 12, 32 + 16)
    stretched = hashlib.scrypt(PHRASE.encode(), salt=salt, n=16_384, r=8, p=1, dklen=32)
    assert AESGCM(stretched).decrypt(nonce, sealed, b"root") == made.secrets()._root == first._root


# --- a key of each role ---


def test_a_key_is_made_once_and_a_second_one_never_takes_its_place(tmp_path, ring):
    held = {path: path.read_bytes() for path in files(tmp_path)}
    for state in ("current", "next"):
        with pytest.raises(KeyRefused, match=f"the {state} batch key of 330483 is there"):
            ring.new("batch", "330483", "another", state, TIME)
    assert ring.create("batch", "330483", "another").vkey == ring.signer("batch", "330483").vkey
    assert {path: path.read_bytes() for path in files(tmp_path)} == held
    made = ring.new("http", "330483", "name", "next", TIME)
    assert ring.has("http", "330483", "next") and not ring.has("http", "330483")
    assert ring.signer("http", "330483", "next").vkey == made.vkey
    with pytest.raises(KeyRefused, match="no http key of 330483"):
        ring.signer("http", "330483")


def test_each_role_has_its_type_of_key_and_signs_when_read_again(ring):
    for role, type in (("batch", note.ED25519), ("http", note.ED25519), ("witness", note.COSIGNATURE), ("sm2", note.PRIVATE)):
        made, again = ring.create(role, "x", f"{HUB}/x", since=TIME), ring.signer(role, "x")
        assert made.vkey == again.vkey and again.vkey.type == type
        if role != "witness":
            assert made.vkey.verify(again.private.sign(b"text\n"), b"text\n")


def test_a_key_of_another_algorithm_is_refused(tmp_path, ring):
    path = tmp_path / "keys" / "batch.330483.key"
    other = generate_private_key(65_537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(PHRASE.encode()),
    )
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pem": other.decode()}))
    with pytest.raises(KeyRefused, match="not an Ed25519 key"):
        ring.signer("batch", "330483")


# --- a chain's keys ---


def begun(ring, origin="330483", second=False):
    raw = ring.first_note(HUB, origin, "custodial", TIME, second=second)
    return grown(batch.Chain(origin), raw, keys.pin_of(raw))


def grown(chain, raw, pin=None):
    parsed = note.parse(raw)
    return chain.follow(batch.parse(HUB, parsed.text), parsed, pin=pin)


LATER = "2027-03-01T00:00:00+08:00"


def states(tmp_path, role="batch"):
    return {each.state: (each.vkey, each.since) for each in keys.list_keys(tmp_path / "keys")
            if (each.role, each.owner) == (role, "330483")}  # fmt: skip


def test_a_rotation_brings_the_next_key_into_force_and_announces_another(tmp_path, ring):
    chain, before, out = begun(ring), states(tmp_path), []
    first = ring.rotate("330483", chain, out.append, HUB, LATER)
    chain = grown(chain, *out)
    after = states(tmp_path)
    assert [str(key) for key in chain.keys] == [before["next"][0]] == [str(first)]
    assert after["current"] == (before["next"][0], LATER) and before["current"][1] == TIME
    assert after["next"][1] == "" and after["next"][0] not in {vkey for vkey, _ in before.values()}
    assert chain.next == batch.keys_hash([ring.signer("batch", "330483", "next").vkey])
    old = tmp_path / "keys" / "old"
    assert [path.name for path in old.iterdir()] == [f"batch.330483.{note.parse_vkey(before['current'][0]).id.hex()}.key"]
    assert stat.S_IMODE(old.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in old.iterdir()} == {0o600}
    assert list((tmp_path / "keys" / "following").iterdir()) == []
    # What a call that broke off once left behind is in nobody's way.
    (tmp_path / "keys" / "next" / ".batch.330483.key.current").write_bytes(b"cut of")
    # Again: what is put away stays, and the announced key comes.
    ring.rotate("330483", chain, out.append, HUB, LATER)
    assert grown(chain, out[1]).seq == 3 and len(list(old.iterdir())) == 2


def test_what_a_rotation_moved_is_on_the_disk_before_it_goes_on(tmp_path, ring, monkeypatch):
    folder, steps, sync, move = tmp_path / "keys", [], keys._sync, os.replace
    monkeypatch.setattr(keys, "_sync", lambda where: (steps.append(("synced", where)), sync(where)))
    monkeypatch.setattr(keys.os, "replace", lambda path, to: (steps.append(("moved", Path(to))), move(path, to)))
    ring.rotate("330483", begun(ring), lambda raw: None, HUB, LATER)
    for target in (folder, folder / "next"):
        last = len(steps) - steps[::-1].index(("moved", target / "batch.330483.key"))
        assert steps[last] == ("synced", target)


def test_a_rotation_tells_from_which_entry_on_a_thief_signed(ring):
    chain, out = begun(ring), []
    chain = grown(chain, batch.make(HUB, chain, [bytes(32)], ring.signers("330483"), TIME))
    ring.rotate("330483", chain, out.append, HUB, LATER, void_from=2)
    assert grown(chain, *out).voids == ((2, 2),)


def test_a_second_key_comes_stays_and_goes_only_when_told(tmp_path, ring):
    chain, counts = begun(ring), []
    for second in (None, True, None, None, False, None, None):
        out = []
        ring.rotate("330483", chain, out.append, HUB, LATER, second=second)
        chain = grown(chain, *out)
        assert tuple(each.vkey for each in ring.signers("330483")) == chain.keys
        assert batch.keys_hash(each.vkey for each in ring.signers("330483", "next")) == chain.next
        chain = grown(chain, batch.make(HUB, chain, [bytes(32)], ring.signers("330483"), TIME))
        counts.append(len(chain.keys))
    assert counts == [1, 1, 2, 2, 2, 1, 1]


def test_a_chain_may_begin_with_two_signatures(tmp_path):
    ring = KeyRing(tmp_path / "keys", PHRASE)
    chain = begun(ring, second=True)
    assert [key.type for key in chain.keys] == [note.ED25519, note.PRIVATE]
    assert {len(ring.signers("330483", state)) for state in ("current", "next")} == {2}
    assert {state: since for state, (_, since) in states(tmp_path, "sm2").items()} == {"current": TIME, "next": ""}


class Stop(Exception):
    pass


def calls_of(ring, chain, broken, n, monkeypatch):
    """One rotation that dies at the n-th change of a file's place; the entry it published, and whether it came to its end."""
    out, count = [], [0]

    def dying(real):
        def call(*args, **kwargs):
            count[0] += 1
            if count[0] == n:
                raise Stop
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for where, name in broken:
            patch.setattr(where, name, dying(getattr(where, name)))
        try:
            ring.rotate("330483", chain, out.append, HUB, LATER)
        except Stop:
            return out, False
    return out, True


@pytest.mark.parametrize("second", [False, True])
def test_a_rotation_that_dies_at_any_change_of_a_file_goes_on(tmp_path, monkeypatch, second):
    broken = ((keys, "write_private"), (keys.os, "replace"), (Path, "unlink"))
    n, ended = 0, False
    while not ended:
        n += 1
        ring = KeyRing(tmp_path / str(n) / "keys", PHRASE)
        chain = begun(ring, second=second)
        coming = [each.vkey for each in ring.signers("330483", "next")]
        published, ended = calls_of(ring, chain, broken, n, monkeypatch)
        now = grown(chain, *published) if published else chain
        again = []
        if not ended:
            assert ring.rotate("330483", now, again.append, HUB, LATER) == coming[0]
        assert len(published) + len(again) == 1, f"change {n}: announced once"
        now = grown(now, *again) if again else now
        assert [each.vkey for each in ring.signers("330483")] == coming == list(now.keys), f"change {n}"
        assert batch.keys_hash(each.vkey for each in ring.signers("330483", "next")) == now.next, f"change {n}"
    assert n > (10 if second else 5)


def set_back(folder):
    """The announced keys as a rotation leaves them that broke off before its last step."""
    for path in (folder / "next").iterdir():
        path.rename(folder / "following" / path.name)


def test_keys_brought_back_from_a_safe_after_they_came_into_force_change_nothing(tmp_path):
    folder, out = tmp_path / "keys", []
    ring = KeyRing(folder, PHRASE)
    chain = begun(ring, second=True)
    shutil.copytree(folder / "next", tmp_path / "safe")
    ring.rotate("330483", chain, out.append, HUB, LATER)
    chain, old = grown(chain, *out), sorted((folder / "old").iterdir())
    set_back(folder)
    shutil.copytree(tmp_path / "safe", folder / "next", dirs_exist_ok=True)
    assert ring.rotate("330483", chain, lambda raw: pytest.fail("published"), HUB, LATER) == chain.keys[0]
    assert sorted((folder / "old").iterdir()) == old
    assert tuple(each.vkey for each in ring.signers("330483")) == chain.keys
    assert batch.keys_hash(each.vkey for each in ring.signers("330483", "next")) == chain.next


def test_a_rotation_that_broke_off_goes_on_where_the_next_folder_is_in_the_safe(tmp_path):
    folder, out = tmp_path / "keys", []
    ring = KeyRing(folder, PHRASE)
    chain = begun(ring)
    ring.rotate("330483", chain, out.append, HUB, LATER)
    chain = grown(chain, *out)
    set_back(folder)
    (folder / "next").rmdir()
    ring.rotate("330483", chain, lambda raw: pytest.fail("published"), HUB, LATER)
    assert batch.keys_hash([ring.signer("batch", "330483", "next").vkey]) == chain.next
    assert stat.S_IMODE((folder / "next").stat().st_mode) == 0o700


def test_a_first_key_that_is_not_in_force_rotates_nothing_though_the_second_is(tmp_path):
    folder, out = tmp_path / "keys", []
    ring = KeyRing(folder, PHRASE)
    chain = begun(ring, second=True)
    ring.rotate("330483", chain, out.append, HUB, LATER)
    chain = grown(chain, *out)
    set_back(folder)
    (folder / "batch.330483.key").unlink()
    ring.create("batch", "330483", f"{HUB}/330483")
    with pytest.raises(KeyRefused, match="no next key"):
        ring.rotate("330483", chain, lambda raw: pytest.fail("published"), HUB, LATER)


def test_a_rotation_without_its_next_key_names_the_folder(tmp_path, ring):
    chain = begun(ring)
    (tmp_path / "keys" / "next" / "batch.330483.key").rename(tmp_path / "safe")
    with pytest.raises(KeyRefused, match="no next key of 330483") as caught:
        ring.rotate("330483", chain, lambda raw: pytest.fail("published"), HUB, LATER)
    assert caught.value.where == str(tmp_path / "keys" / "next")


def test_another_hands_key_is_announced_and_none_is_made_here(tmp_path, ring):
    chain, out = begun(ring), []
    theirs = KeyRing(tmp_path / "theirs", PHRASE).create("batch", "330483", f"{HUB}/330483", "next").vkey
    ring.rotate("330483", chain, out.append, HUB, LATER, to=theirs)
    chain = grown(chain, *out)
    assert chain.next == batch.keys_hash([theirs]) and "next" not in states(tmp_path)
    # The same call again finds all of it done; without `to` it has no key to go on with.
    assert ring.rotate("330483", chain, lambda raw: pytest.fail("published"), HUB, LATER, to=theirs) == chain.keys[0]
    with pytest.raises(KeyRefused, match="no next key"):
        ring.rotate("330483", chain, lambda raw: pytest.fail("published"), HUB, LATER)


def test_a_next_http_key_takes_the_place_of_the_one_in_use(tmp_path, ring):
    with pytest.raises(KeyRefused, match="no next http key of 330483"):
        ring.replace_http("330483", LATER)
    first = ring.new("http", "330483", "name", "next", "").vkey
    assert ring.replace_http("330483", LATER) == first == ring.signer("http", "330483").vkey
    assert not (tmp_path / "keys" / "old").exists() and states(tmp_path, "http") == {"current": (str(first), LATER)}
    second = ring.new("http", "330483", "name", "next", "").vkey
    assert ring.replace_http("330483", LATER) == second == ring.signer("http", "330483").vkey
    third = ring.new("http", "330483", "name", "next", "").vkey
    assert ring.replace_http("330483", LATER) == third
    old = tmp_path / "keys" / "old"
    assert {path.name for path in old.iterdir()} == {f"http.330483.{each.id.hex()}.key" for each in (first, second)}
    assert stat.S_IMODE(old.stat().st_mode) == 0o700


def test_what_was_taken_over_is_kept_for_its_origin_alone(tmp_path, ring):
    assert ring.taken_over("330483") is None
    ring.keep_taken_over("330483", "pin", bytes(range(32)))
    again = KeyRing(tmp_path / "keys", PHRASE)
    assert again.taken_over("330483") == ("pin", bytes(range(32))) and again.taken_over("330503") is None
    path = tmp_path / "keys" / "taken-over.330483.json"
    assert note.b64(bytes(range(32))) not in path.read_text() and stat.S_IMODE(path.stat().st_mode) == 0o600
    path.rename(tmp_path / "keys" / "taken-over.330503.json")
    with pytest.raises(KeyRefused, match="do not open"):
        again.taken_over("330503")


# --- the vault ---


def test_the_vault_opens_only_what_lies_in_its_place():
    vault, other = Vault(bytes(32)), Vault(bytes([1] * 32))
    sealed = vault.seal("张三".encode(), b"place")
    assert vault.open(sealed, b"place") == "张三".encode() and "张三".encode() not in sealed
    assert vault.seal("张三".encode(), b"place") != sealed
    # A nonce of 96 bits in front, a tag of 128 behind.
    assert AESGCM(bytes(32)).decrypt(sealed[:12], sealed[12:], b"place") == "张三".encode() and len(sealed) == 12 + 6 + 16
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
