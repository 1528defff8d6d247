"""Key files, the root secret and what is derived from it; the only room that reads or writes private keys.

Each private key is one JSON file, mode 0600, its PKCS #8 PEM encrypted under the operator's passphrase. Roles: `ledger`
signs checkpoints, `batch` an origin's entries, `http` requests and answers, `witness` cosignatures; one raw key never
serves two roles. The `next` batch key of an origin lies under `next/` so that an operator can take it offline.
The root secret (32 bytes, encrypted the same way with scrypt and AES-256-GCM) yields the store's keys by HKDF: they
encrypt disclosures at rest, digest content and make record ids, and none of them ever leaves the folder.
"""

import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from hub import batch, note, sm2
from hub.canonical import b64, unb64
from hub.errors import KeyRefused
from hub.note import Signer, VKey

SM2_ROLE = "sm2"
ROLES = ("ledger", "batch", SM2_ROLE, "http", "witness")
_TYPES = {"witness": note.COSIGNATURE}
WARN_DAYS = (30, 7)


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be told of a key: its name, owner, role, vkey and whether it is `current` or `next`; `since` is the time from
    which it was in force, "" where that is not known or not yet."""

    name: str
    owner: str
    role: str
    vkey: str
    state: str
    since: str = ""


class KeyEnd(NamedTuple):
    """When a key's use ends: `last` is its last day, `left` how many days until then (0: today, below: it is over)."""

    owner: str
    role: str
    key: str
    last: date
    left: int

    @property
    def state(self) -> str:
        """ok, soon (30 days), near (7 days) or passed."""
        soon, near = WARN_DAYS
        return "passed" if self.left < 0 else "near" if self.left <= near else "soon" if self.left <= soon else "ok"

    @property
    def words(self) -> dict[str, str] | None:
        """What to tell people, None while there is time."""
        if self.state == "ok":
            return None
        signs = self.role != "http"
        zh, en = ("签名密钥", "signing key") if signs else ("HTTP 密钥", "HTTP key")
        if self.left >= 0:
            return {
                "zh": f"{zh} {self.key} 最后一日为 {self.last}（还有 {self.left} 天），请及时更换",
                "en": f"the {en} {self.key} has its last day on {self.last} ({self.left} days left): replace it",
            }
        return {
            "zh": f"{zh} {self.key} 已于 {self.last} 到期，"
            + ("请立即轮换（已签条目仍可验证）" if signs else "请求已被拒绝"),
            "en": f"the {en} {self.key} had its last day on {self.last}: "
            + ("rotate it now (what it signed still verifies)" if signs else "requests by it are refused"),
        }

    def plain(self) -> dict[str, Any]:
        return {"owner": self.owner, "role": self.role, "key": self.key, "expires": self.last.isoformat(),
                "days_left": self.left, "state": self.state}  # fmt: skip


def end_of(owner: str, role: str, key: str, since: str, age: timedelta | None, today: date) -> KeyEnd | None:
    """The end of a key that came into force at a time, by the age declared; None where one of these is not known."""
    if age is None or not since:
        return None
    last = date.fromisoformat(since[:10]) + age
    return KeyEnd(owner, role, key, last, (last - today).days)


class Vault:
    """Encrypts what rests in the store: AES-256-GCM, a fresh 96-bit nonce in front, bound to its place by `aad`."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def seal(self, plain: bytes, aad: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._aead.encrypt(nonce, plain, aad)

    def open(self, blob: bytes, aad: bytes) -> bytes:
        try:
            return self._aead.decrypt(blob[:12], blob[12:], aad)
        except (InvalidTag, ValueError) as error:  # ValueError: too short to hold a nonce and a tag.
            raise KeyRefused("stored bytes do not open under this store's key", where="store",
                             mend="restore the keys folder that belongs to this store, then run fsck") from error  # fmt: skip


class Secrets:
    """The root secret of a data folder and the keys derived from it."""

    def __init__(self, root: bytes) -> None:
        self._root = root

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose (HKDF-SHA256)."""
        return HKDF(hashes.SHA256(), 32, None, f"crossregion-hub/{purpose}".encode()).derive(self._root)

    def vault(self) -> Vault:
        return Vault(self.derive("disclosures"))

    @property
    def digest_key(self) -> bytes:
        return self.derive("content-digest")

    def id_key(self, origin: str) -> bytes:
        return self.derive(f"record-id/{origin}")


def write_private(path: Path, data: bytes) -> None:
    """Write a new file of mode 0600, durably and whole or not at all; an existing one is never overwritten."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(fresh, path)  # Unlike a rename, this refuses where the name is taken.
    finally:
        fresh.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """The names in a folder onto the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_private(path: Path) -> bytes:
    """Read a private file; KeyRefused where others than its owner may read it."""
    mode = path.stat().st_mode
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyRefused("others may read this file", where=str(path), mend=f"chmod 600 {path}")
    return path.read_bytes()


def _fields(path: Path, raw: bytes, *names: str) -> dict[str, str]:
    """The values of a key file; KeyRefused where it is damaged."""
    try:
        found = json.loads(raw)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in names):
        raise KeyRefused("not a whole key file", where=str(path), mend="restore the keys folder from its backup")
    return found


class KeyRing:
    """The keys folder of a hub or of a city's node."""

    def __init__(self, folder: Path, passphrase: str) -> None:
        if len(passphrase) < 16:
            raise KeyRefused(
                "the key passphrase is shorter than 16 characters",
                mend='python3 -c "import secrets; print(secrets.token_urlsafe(32))" makes one',
            )
        self._folder, self._passphrase = folder, passphrase.encode()

    def secrets(self) -> Secrets:
        """The root secret; made where the folder has none yet."""
        path = self._folder / "root.key"
        if not path.exists():
            salt, nonce, root = os.urandom(16), os.urandom(12), os.urandom(32)
            sealed = AESGCM(self._stretch(salt)).encrypt(nonce, root, b"root")
            text = json.dumps({"salt": b64(salt), "nonce": b64(nonce), "sealed": b64(sealed)})
            write_private(path, text.encode())
            return Secrets(root)
        data = _fields(path, read_private(path), "salt", "nonce", "sealed")
        key = AESGCM(self._stretch(unb64(data["salt"])))
        try:
            return Secrets(key.decrypt(unb64(data["nonce"]), unb64(data["sealed"]), b"root"))
        except InvalidTag as error:
            raise self._wrong(path) from error

    def _stretch(self, salt: bytes) -> bytes:
        return Scrypt(salt=salt, length=32, n=2**14, r=8, p=1).derive(self._passphrase)

    def _wrong(self, path: Path) -> KeyRefused:
        return KeyRefused(
            "the passphrase does not open this file", where=str(path), mend="check the `passphrase` reference"
        )

    def _path(self, role: str, owner: str, state: str) -> Path:
        folder = self._folder if state == "current" else self._folder / state
        return folder / f"{role}.{owner}.key"

    def has(self, role: str, owner: str, state: str = "current") -> bool:
        """Whether the key is there."""
        return self._path(role, owner, state).exists()

    def new(self, role: str, owner: str, name: str, state: str, since: str) -> Signer:
        """Make a key; KeyRefused where there is one."""
        if self.has(role, owner, state):
            where, mend = str(self._path(role, owner, state)), "a rotation replaces it; none is ever overwritten"
            raise KeyRefused(f"the {state} {role} key of {owner} is there", where=where, mend=mend)
        return self.create(role, owner, name, state, since)

    def create(self, role: str, owner: str, name: str, state: str = "current", since: str = "") -> Signer:
        """Make a key, or give the one that is there; `since` is the time from which it is in force."""
        path = self._path(role, owner, state)
        if path.exists():
            return self.signer(role, owner, state)
        if role == SM2_ROLE:
            text, private = sm2.generate(self._passphrase)
            made, pem = note.sm2_signer(name, private), text.decode()
        else:
            fresh = Ed25519PrivateKey.generate()
            made = note.signer(name, fresh, _TYPES.get(role, note.ED25519))
            pem = fresh.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(self._passphrase),
            ).decode()
        info = {"name": name, "owner": owner, "role": role, "state": state, "vkey": str(made.vkey), "since": since, "pem": pem}
        write_private(path, json.dumps(info, indent=1).encode())
        return made

    def begun(self, role: str, owner: str) -> bool:
        """Whether this key is noted to have signed."""
        return self._begun(role, owner).exists()

    def begin(self, role: str, owner: str) -> None:
        """Note, beside the key, that it has signed: where all else is lost, nobody takes it for a new one."""
        if not self.begun(role, owner):
            write_private(self._begun(role, owner), b"this key has signed\n")

    def _begun(self, role: str, owner: str) -> Path:
        return self._folder / f"{role}.{owner}.begun"

    def signer(self, role: str, owner: str, state: str = "current") -> Signer:
        """The private key of a role and owner; KeyRefused where there is none."""
        path = self._path(role, owner, state)
        if not path.exists():
            raise KeyRefused(f"no {role} key of {owner}", where=str(path), mend="run `python3 run.py keys init`")
        info = _fields(path, read_private(path), "name", "pem")
        if role == SM2_ROLE:
            return note.sm2_signer(info["name"], sm2.Sm2Private(info["pem"].encode(), self._passphrase))
        try:
            private = serialization.load_pem_private_key(info["pem"].encode(), self._passphrase)
        except ValueError as error:
            raise self._wrong(path) from error
        if not isinstance(private, Ed25519PrivateKey):
            raise KeyRefused("not an Ed25519 key", where=str(path))
        return note.signer(info["name"], private, _TYPES.get(role, note.ED25519))

    def signers(self, origin: str, state: str = "current") -> list[Signer]:
        """All keys that sign an origin's entries: its Ed25519 key, and its SM2 key where it has one."""
        second = self._path(SM2_ROLE, origin, state).exists()
        return [self.signer(role, origin, state) for role in (("batch", SM2_ROLE) if second else ("batch",))]

    def _make(self, origin: str, name: str, state: str, *, second: bool, since: str = "") -> list[Signer]:
        return [self.create(role, origin, name, state, since) for role in (("batch", SM2_ROLE) if second else ("batch",))]

    def rotate(self, origin: str, chain: batch.Chain, publish: Callable[[bytes], object], hub: str, time: str,
               void_from: int = 0, to: VKey | None = None, second: bool | None = None) -> VKey:  # fmt: skip
        """Bring an origin's `next` keys into force: `publish` puts the key/v1 onto its ledger; gives the first key in force.

        The keys that were in force are put away under `old/`. Interrupted anywhere, the same call goes on: what the chain says
        is in force decides. A thief of the current key has no `next` key, and without it no key/v1 is taken.
        With `to` that key of somebody else is announced as the next one, and none is made here. `second` says whether an SM2
        key is among the following ones (unless told, as it is now).
        """
        if self._path("batch", origin, "next").exists():
            coming = self.signers(origin, "next")
            if coming[0].vkey not in chain.keys:
                second = len(coming) > 1 if second is None else second
                name = f"{hub}/{origin}"
                following = [to] if to else [x.vkey for x in self._make(origin, name, "following", second=second)]
                publish(batch.next_key(hub, chain, coming, following, time, void_from))
            # A crash here: the ledger has the new keys in force, and the files say so once they are moved.
            self._put_away(origin, keep=coming[0].vkey, since=time)
        else:
            # Either a call before this one came that far, or the next keys are in a safe.
            coming = self.signers(origin)
            # The second key is moved before the first: it may have come to its place already.
            states = {"batch": "following", SM2_ROLE: "following" if self.has(SM2_ROLE, origin, "following") else "next"}
            made = [self.signer(role, origin, state).vkey for role, state in states.items() if self.has(role, origin, state)]
            if coming[0].vkey not in chain.keys or batch.keys_hash([to] if to else made) != chain.next:
                raise KeyRefused(f"no next key of {origin}", where=str(self._folder / "next"),
                                 mend="bring the keys/next folder back from its offline storage")  # fmt: skip
        for role in (SM2_ROLE, "batch"):
            self._relabel(role, origin, "following", "next")
        return coming[0].vkey

    def _put_away(self, origin: str, keep: VKey, since: str) -> None:
        """Current keys to old/, next keys to their place; nothing where that is done already."""
        current = self._path("batch", origin, "current")
        if current.exists() and self.signer("batch", origin).vkey != keep:
            old = self._folder / "old"
            old.mkdir(mode=0o700, exist_ok=True)
            # The first key last: by it the same call knows whether this was done.
            for signer, role in reversed(list(zip(self.signers(origin), ("batch", SM2_ROLE), strict=False))):
                os.replace(self._path(role, origin, "current"), old / f"{role}.{origin}.{signer.vkey.id.hex()}.key")
        for role in (SM2_ROLE, "batch"):
            self._relabel(role, origin, "next", "current", since)

    def _relabel(self, role: str, origin: str, state: str, new: str, since: str = "") -> None:
        """A key file to its place of another state; the state and time written in it are for `keys list` alone."""
        path, target = self._path(role, origin, state), self._path(role, origin, new)
        if not path.exists():
            return
        info = json.loads(read_private(path)) | {"state": new, "since": since}
        labelled = path.with_name(f".{path.name}.{new}")
        labelled.unlink(missing_ok=True)
        write_private(labelled, json.dumps(info, indent=1).encode())
        # Never in two places at once, or the same call would take a key that was announced for one that comes next.
        os.replace(labelled, path)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        os.replace(path, target)
        _sync(target.parent)

    def replace_http(self, owner: str, since: str) -> VKey:
        """Bring an owner's next HTTP key into use, the one before is put away; interrupted anywhere, the same call goes on."""
        if not self.has("http", owner, "next"):
            where, mend = str(self._path("http", owner, "next")), f"`keys new http {owner}` makes one; have it pinned first"
            raise KeyRefused(f"no next http key of {owner}", where=where, mend=mend)
        coming = self.signer("http", owner, "next").vkey
        if self.has("http", owner) and (before := self.signer("http", owner).vkey) != coming:
            old = self._folder / "old"
            old.mkdir(mode=0o700, exist_ok=True)
            os.replace(self._path("http", owner, "current"), old / f"http.{owner}.{before.id.hex()}.key")
        self._relabel("http", owner, "next", "current", since)
        return coming

    def keep_taken_over(self, origin: str, first_key: str, id_key: bytes) -> None:
        """Keep what a chain begun elsewhere goes on with: its first key's pin, and what its record ids are made with."""
        sealed = b64(self.secrets().vault().seal(id_key, f"id-key/{origin}".encode()))
        write_private(self._folder / f"taken-over.{origin}.json",
                      json.dumps({"first_key": first_key, "id_key": sealed}).encode())  # fmt: skip

    def taken_over(self, origin: str) -> tuple[str, bytes] | None:
        """The first key's pin and the id key of a chain that was taken over; None where this node began its own."""
        path = self._folder / f"taken-over.{origin}.json"
        if not path.exists():
            return None
        kept = _fields(path, read_private(path), "first_key", "id_key")
        return kept["first_key"], self.secrets().vault().open(unb64(kept["id_key"]), f"id-key/{origin}".encode())

    def first_note(self, hub: str, origin: str, custody: str, time: str, *, second: bool = False) -> bytes:
        """The signed first key/v1 of an origin; made once with its keys and kept, so that its hash can be pinned.

        With `second` every entry carries a signature by SM2 too.
        """
        path = self._folder / f"first.{origin}.note"
        if path.exists():
            return path.read_bytes()
        name = f"{hub}/{origin}"
        current = self._make(origin, name, "current", second=second, since=time)
        following = self._make(origin, name, "next", second=second)
        raw = batch.first_key(hub, origin, custody, current, [each.vkey for each in following], time)
        write_private(path, raw)
        return raw


def list_keys(folder: Path) -> Iterator[KeyInfo]:
    """Every key of a folder, without its passphrase."""
    for path in sorted([*folder.glob("*.*.key"), *folder.glob("next/*.*.key")]):
        info = _fields(path, path.read_bytes(), "name", "owner", "role", "vkey", "state")
        yield KeyInfo(info["name"], info["owner"], info["role"], info["vkey"], info["state"], info.get("since", ""))


def pin_of(first: bytes) -> str:
    """What the framework pins of a first key/v1: the hash of its text."""
    return batch.text_hash(note.parse(first).text)


def distinct(keys: list[VKey]) -> None:
    """Raise KeyRefused where one raw public key appears twice, in whatever role and under whatever name."""
    seen: set[bytes] = set()
    for key in keys:
        if key.raw in seen:
            raise KeyRefused(
                f"one public key stands twice: {key.name}", mend="make a key of its own for each role and member"
            )
        seen.add(key.raw)
