"""The strict signing profile at the hub's end, against a signer written by hand from RFC 9421 and RFC 9530.

The hand-made signer is what a partner's engineer would write elsewhere; it can also break each rule at will.
"""

from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256, sha512
from threading import Barrier
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from http_message_signatures.algorithms import ED25519
from hypothesis import given, settings
from hypothesis import strategies as st

from hub import note, wire
from hub.errors import ConfigError, KeyRefused, Locked, RecordError

NOW = 1_795_490_000
OWN = "hub.example:8443"
HUB = note.signer("hub.example/http", Ed25519PrivateKey.generate())
CITY = note.signer("330483/http", Ed25519PrivateKey.generate())
OTHER = note.signer("330424/http", Ed25519PrivateKey.generate())
KEYS = {key.vkey.handle: wire.HttpKey.pinned(key.vkey.name[:6], str(key.vkey)) for key in (CITY, OTHER)}
GET = ["@method", "@authority", "@path", "@query"]
POST = [*GET, "content-type", "content-digest"]


def digest(body: bytes) -> str:
    return "sha-256=:" + b64encode(sha256(body).digest()).decode() + ":"


@dataclass
class Letter:
    """A request signed by hand; every part can be bent before `environ` is asked for."""

    method: str = "GET"
    target: str = "/v1/entries?after=3"
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    covers: list[str] | None = None
    params: dict[str, Any] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    signer: note.Signer = CITY
    authority: str = OWN
    label: str = "sig"

    def value(self, name: str) -> str:
        path, _, query = self.target.partition("?")
        derived = {"@method": self.method, "@authority": self.authority, "@path": path, "@query": "?" + query}
        return derived[name] if name in derived else self.headers[name]

    def sign(self) -> "Letter":
        if self.method == "POST":
            self.headers.setdefault("content-type", "application/x-test")
            self.headers.setdefault("content-digest", digest(self.body))
        covers = self.covers if self.covers is not None else (POST if self.method == "POST" else GET)
        params = {
            "created": NOW,
            "expires": NOW + 300,
            "nonce": "AAECAwQFBgcICQoLDA0ODw",
            "keyid": self.signer.vkey.handle,
            "alg": "ed25519",
            "tag": "crossregion-hub/v1",
        } | self.params
        shown = [f";{k}={v}" if isinstance(v, int) else f';{k}="{v}"' for k, v in params.items() if k not in self.drop]
        inner = "(" + " ".join(f'"{name}"' for name in covers) + ")" + "".join(shown)
        base = "".join(f'"{name}": {self.value(name)}\n' for name in covers) + f'"@signature-params": {inner}'
        signature = b64encode(self.signer.private.sign(base.encode())).decode()
        self.headers["signature-input"] = f"{self.label}={inner}"
        self.headers["signature"] = f"{self.label}=:{signature}:"
        return self

    def environ(self) -> dict[str, Any]:
        path, _, query = self.target.partition("?")
        found = {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_URI": self.target,
            "HTTP_HOST": OWN,
        }
        if self.body:
            found["CONTENT_LENGTH"] = str(len(self.body))
        for name, value in self.headers.items():
            variable = name.upper().replace("-", "_")
            found[variable if variable == "CONTENT_TYPE" else f"HTTP_{variable}"] = value
        return found


def gate(now: int = NOW, **more: Any) -> wire.Gate:
    hub = wire.HttpKey.signing("hub", HUB)
    return wire.Gate(OWN, KEYS.get, wire.MemoryNonces(), hub, lambda: datetime.fromtimestamp(now, UTC), **more)


def check(letter: Letter, at: wire.Gate | None = None) -> str:
    return (at or gate()).check(letter.environ(), letter.body)


# --- what is accepted ---


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_hand_made_signature_is_accepted_and_names_its_owner(method: str) -> None:
    assert check(Letter(method, body=b"{}\n" if method == "POST" else b"").sign()) == "330483"


def test_the_order_of_components_and_parameters_is_free() -> None:
    params = {
        "tag": "crossregion-hub/v1",
        "nonce": "AAECAwQFBgcICQoLDA0ODw",
        "expires": NOW + 1,
        "created": NOW,
    }
    assert check(Letter(covers=GET[::-1], params=params).sign()) == "330483"


def test_a_post_of_nothing_covers_the_digest_of_nothing() -> None:
    assert check(Letter("POST").sign()) == "330483"


def test_clocks_may_differ_by_thirty_seconds() -> None:
    assert check(Letter(params={"created": NOW + 30, "expires": NOW + 60}).sign()) == "330483"
    assert check(Letter(params={"created": NOW - 330, "expires": NOW - 30}).sign()) == "330483"


def test_rfc_9421_b_2_6_through_the_library_as_it_is_used_here() -> None:
    pem = b"""-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF
-----END PRIVATE KEY-----
"""
    signature = "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="
    covers = ("date", "@method", "@path", "@authority", "content-type", "content-length")
    plain = {
        "Date": "Tue, 20 Apr 2021 02:07:55 GMT",
        "Content-Type": "application/json",
        "Content-Length": "18",
    }
    private = load_pem_private_key(pem, None)
    assert isinstance(private, Ed25519PrivateKey)
    key = wire.HttpKey.signing("test", note.signer("test-key-ed25519", private))
    message = wire._Request("POST", "hub://example.com/foo?param=Value&Pet=dog", dict(plain))
    prepared = wire._signer.prepare(
        message,
        key_id="test-key-ed25519",
        created=datetime.fromtimestamp(1618884473, UTC),
        include_alg=False,
        label="sig-b26",
        covered_component_ids=covers,
    )
    wire._attach(message, prepared, key)
    assert message.headers["Signature"] == f"sig-b26=:{signature}:"
    assert message.headers["Signature-Input"] == (
        'sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length")'
        ';created=1618884473;keyid="test-key-ed25519"'
    )
    verifier = wire._Verifier(signature_algorithm=ED25519, key_resolver=wire._Keys(lambda _: key))
    assert verifier.verify(message, max_age=None)[0].parameters["created"] == 1618884473


# --- what is refused, one rule each ---


def bent(**parts: Any) -> Callable[[], Letter]:
    return lambda: Letter(**parts).sign()


def after(change: Callable[[Letter], Any], **parts: Any) -> Callable[[], Letter]:
    """A letter that is changed once it was signed."""

    def make() -> Letter:
        letter = Letter(**parts).sign()
        change(letter)
        return letter

    return make


def second_label(letter: Letter) -> None:
    for name in ("signature-input", "signature"):
        letter.headers[name] += ", " + letter.headers[name].replace("sig=", "two=", 1)


def replace(name: str, old: str, new: str) -> Callable[[Letter], None]:
    return lambda letter: letter.headers.update({name: letter.headers[name].replace(old, new)})


def remove(name: str) -> Callable[[Letter], Any]:
    return lambda letter: letter.headers.pop(name)


def spare_bits(letter: Letter) -> None:
    """The last character before the padding holds two bits; the other four decode to nothing."""
    old = letter.headers["signature"]
    letter.headers["signature"] = old[:-4] + chr(ord(old[-4]) + 1) + old[-3:]


STRANGER = note.signer("330483/http", Ed25519PrivateKey.generate())
POSTED = {"method": "POST", "body": b"{}\n"}
WEAK = {"@method": GET[1:], "@authority": [GET[0], *GET[2:]], "@path": [*GET[:2], GET[3]], "@query": GET[:3]}

REFUSALS: dict[str, tuple[Callable[[], Letter], str]] = {
    "unsigned": (Letter, "no signature-input"),
    "no signature": (after(remove("signature")), "no signature header"),
    "no input": (after(remove("signature-input")), "no signature-input"),
    "future": (bent(params={"created": NOW + 31, "expires": NOW + 60}), "in the future"),
    "stale": (bent(params={"created": NOW - 331, "expires": NOW - 31}), "expired 31 seconds ago"),
    "expires > 300": (bent(params={"expires": NOW + 301}), "too long"),
    "expires before created": (bent(params={"expires": NOW}), "too long"),
    "ten years": (bent(params={"expires": NOW + 315_360_000}), "too long"),
    **{f"no {name}": (bent(covers=covers), "other components") for name, covers in WEAK.items()},
    "post without type": (bent(**POSTED, covers=[*GET, "content-digest"]), "other components"),
    "post without digest": (bent(**POSTED, covers=[*GET, "content-type"]), "other components"),
    "post covered as a get": (bent(**POSTED, covers=GET), "other components"),
    "more than asked": (
        bent(covers=[*GET, "content-type"], headers={"content-type": "a/b"}),
        "other components",
    ),
    "get with digest": (bent(headers={"content-digest": digest(b"")}), "a GET with a body"),
    "get with body": (bent(body=b"x"), "a GET with a body"),
    **{f"without {name}": (bent(drop=(name,)), ".") for name in ("created", "expires", "nonce", "keyid", "alg", "tag")},
    "another alg": (bent(params={"alg": "hmac-sha256"}), "does not hold|known key"),
    "another alg, rsa": (bent(params={"alg": "rsa-pss-sha512"}), "does not hold|known key"),
    "another tag": (bent(params={"tag": "other"}), "another protocol"),
    "an unknown parameter": (bent(params={"extra": "x"}), "."),
    "short nonce": (bent(params={"nonce": "AAECAwQFBgc"}), "128 bits"),
    "long nonce": (bent(params={"nonce": "A" * 43}), "128 bits"),
    "nonce in two spellings": (bent(params={"nonce": "AAECAwQFBgcICQoLDA0ODx"}), "128 bits"),
    "unknown key": (bent(signer=STRANGER), "known key"),
    "another's keyid": (bent(signer=STRANGER, params={"keyid": CITY.vkey.handle}), "does not hold"),
    "keyid of another partner": (bent(params={"keyid": OTHER.vkey.handle}), "does not hold"),
    "two labels": (after(second_label), "longer than"),
    "label differs": (after(replace("signature", "sig=", "tig=")), "."),
    "a blank more": (after(replace("signature-input", ";created", "; created")), "canonical"),
    "no padding": (after(replace("signature", "==:", "=:")), "."),
    "spare bits in base64": (after(spare_bits), "canonical"),
    "wrong digest": (after(lambda letter: setattr(letter, "body", b"[]\n"), **POSTED), "not the signed one"),
    "digest stripped": (after(remove("content-digest"), **POSTED), "."),
    "body stripped": (after(lambda letter: setattr(letter, "body", b""), **POSTED), "not the signed one"),
    "sha-512": (
        bent(
            **POSTED,
            headers={"content-digest": f"sha-512=:{b64encode(sha512(b'{}' + bytes([10])).digest()).decode()}:"},
        ),
        "not the signed one",
    ),
    "two digests": (
        bent(**POSTED, headers={"content-digest": f"{digest(b'')}, {digest(b'{}' + bytes([10]))}"}),
        ".",
    ),
    "method changed": (after(lambda letter: setattr(letter, "method", "POST")), "."),
    "put": (bent(method="PUT"), "another method"),
    "head": (bent(method="HEAD"), "another method"),
    "path changed": (
        after(lambda letter: setattr(letter, "target", "/v1/framework?after=3")),
        "does not hold",
    ),
    "query changed": (
        after(lambda letter: setattr(letter, "target", "/v1/entries?after=4")),
        "does not hold",
    ),
    "query stripped": (after(lambda letter: setattr(letter, "target", "/v1/entries")), "does not hold"),
    "for another hub": (bent(authority="other.example"), "does not hold"),
    "header too long": (bent(params={"nonce": "A" * 2000}), "longer than"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused(name: str) -> None:
    make, why = REFUSALS[name]
    with pytest.raises(KeyRefused, match=why):
        check(make())


TARGETS = {
    "percent": "/v1/%65ntries",
    "encoded slash": "/v1%2Fentries",
    "empty segment": "/v1//entries",
    "slash at the end": "/v1/entries/",
    "dot": "/v1/./entries",
    "dots": "/v1/../v1/entries",
    "absolute form": f"http://{OWN}/v1/entries",
    "no slash": "v1/entries",
    "asterisk": "*",
    "fragment": "/v1/entries#x",
    "backslash": "/v1\\entries",
    "blank in the query": "/v1/entries?a b",
    "not ascii": "/v1/entriés",
}


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_that_is_not_canonical_is_refused_though_signed_as_sent(name: str) -> None:
    letter = Letter(target=TARGETS[name])
    letter.target.isascii() and letter.sign()
    with pytest.raises(KeyRefused, match="canonical"):
        check(letter)


@pytest.mark.parametrize(
    "change",
    [
        {"PATH_INFO": "/v1/other"},
        {"SCRIPT_NAME": "/v1"},
        {"QUERY_STRING": "after=4"},
        {"REQUEST_URI": None},
        {"HTTP_HOST": "other.example"},
        {"HTTP_HOST": f"{OWN}, {OWN}"},
        {"HTTP_HOST": ""},
        {"CONTENT_LENGTH": "3"},
        {"HTTP_TRANSFER_ENCODING": "chunked"},
    ],
)
def test_a_server_that_routes_otherwise_than_it_was_signed_is_refused(change: dict[str, Any]) -> None:
    environ = Letter().sign().environ()
    assert gate().check(environ, b"") == "330483"
    with pytest.raises(KeyRefused):
        gate().check(environ | change, b"")


def test_a_get_with_a_body_of_untold_length_is_refused() -> None:
    with pytest.raises(KeyRefused, match="a GET with a body"):
        gate().check(Letter().sign().environ(), b"x")


def test_gunicorn_gives_the_raw_target_under_another_name() -> None:
    environ = Letter().sign().environ()
    environ["RAW_URI"] = environ.pop("REQUEST_URI")
    assert gate().check(environ, b"") == "330483"


def test_keys_that_cannot_be_looked_up_are_no_bad_signature() -> None:
    def locked(keyid: str) -> None:
        raise Locked("the store is busy")

    at = wire.Gate(OWN, locked, wire.MemoryNonces(), wire.HttpKey.signing("hub", HUB))
    with pytest.raises(Locked):
        check(Letter().sign(), at)


# --- replay ---


def test_a_request_is_taken_once() -> None:
    at, letter = gate(), Letter().sign()
    assert check(letter, at) == "330483"
    with pytest.raises(KeyRefused, match="nonce was used"):
        check(letter, at)


def test_of_many_at_once_one_is_taken() -> None:
    at, letter, together = gate(), Letter().sign(), Barrier(16)

    def attempt(_: int) -> bool:
        together.wait()
        try:
            return check(letter, at) == "330483"
        except KeyRefused:
            return False

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(attempt, range(16))) == 1


def test_a_forged_request_spends_no_nonce() -> None:
    at, letter = gate(), Letter(**POSTED).sign()
    forged = Letter(**POSTED, signer=STRANGER, params={"keyid": CITY.vkey.handle}).sign()
    for wrong in (forged, after(lambda x: setattr(x, "body", b"[]\n"), **POSTED)()):
        with pytest.raises(KeyRefused):
            check(wrong, at)
    assert check(letter, at) == "330483"


def test_a_nonce_belongs_to_its_key() -> None:
    at = gate()
    assert check(Letter().sign(), at) == "330483"
    assert check(Letter(signer=OTHER).sign(), at) == "330424"


def test_full_means_refused_for_that_key_alone_until_nonces_lapse() -> None:
    nonces = wire.MemoryNonces(each=2)
    assert nonces.take("a", "1", 100, 0) and nonces.take("a", "2", 200, 0)
    assert not nonces.take("a", "3", 300, 0), "a live nonce is never evicted"
    assert not nonces.take("a", "1", 100, 0)
    assert nonces.take("b", "1", 100, 0), "one partner cannot block the rest"
    assert nonces.take("a", "3", 300, 101)
    assert not nonces.take("a", "2", 200, 101)


def test_a_nonce_is_kept_until_no_clock_would_take_its_request() -> None:
    kept: list[int] = []

    class Seen:
        def take(self, keyid: str, nonce: str, until: int, now: int) -> bool:
            kept.append(until)
            return True

    hub = wire.HttpKey.signing("hub", HUB)
    check(Letter().sign(), wire.Gate(OWN, KEYS.get, Seen(), hub, lambda: datetime.fromtimestamp(NOW, UTC)))
    assert kept == [NOW + 300 + 30]


def test_what_was_signed_before_a_restore_is_refused() -> None:
    with pytest.raises(KeyRefused, match="restore"):
        check(Letter().sign(), gate(not_before=NOW + 1))
    assert check(Letter().sign(), gate(not_before=NOW)) == "330483"


# --- every byte ---

_letter = Letter(**POSTED).sign()
_places = [(name, i) for name, value in _letter.headers.items() for i in range(len(value))]
_places += [("target", i) for i in range(len(_letter.target))] + [("body", i) for i in range(len(_letter.body))]


@given(st.sampled_from(_places), st.integers(0, 127))
@settings(max_examples=600, deadline=None)
def test_no_byte_of_a_signed_request_can_be_another(place: tuple[str, int], byte: int) -> None:
    name, i = place
    letter = Letter(**POSTED, headers=dict(_letter.headers))
    if name == "body":
        letter.body = letter.body[:i] + bytes([byte]) + letter.body[i + 1 :]
        same = letter.body == _letter.body
    else:
        old = letter.target if name == "target" else letter.headers[name]
        new = old[:i] + chr(byte) + old[i + 1 :]
        same = new == old
        if name == "target":
            letter.target = new
        else:
            letter.headers[name] = new
    if same:
        assert check(letter) == "330483"
    else:
        with pytest.raises(KeyRefused):
            check(letter)


# --- responses and names ---


def test_a_response_answers_one_request_and_no_other() -> None:
    letter, body = Letter().sign(), b"answer"
    headers = {k.lower(): v for k, v in gate().sign(letter.environ(), 200, {}, body).items()}
    assert headers["content-digest"] == digest(body)
    inner = headers["signature-input"].removeprefix("sig=")
    base = (
        f'"@status": 200\n"content-digest": {digest(body)}\n"@method";req: GET\n"@path";req: /v1/entries\n'
        f'"signature";req: {letter.headers["signature"]}\n"@signature-params": {inner}'
    )
    signature = headers["signature"].removeprefix("sig=:").removesuffix(":")
    assert len(signature) == 88
    HUB.private.public_key().verify(note.unb64(signature, 64, "signature"), base.encode())


def test_there_is_no_answer_to_what_was_not_signed() -> None:
    with pytest.raises(KeyRefused):
        gate().sign(Letter().environ(), 200, {}, b"")
    with pytest.raises(KeyRefused):
        gate().sign(Letter(target="/v1//entries").sign().environ(), 401, {}, b"")


def test_a_response_signature_is_no_request_signature() -> None:
    letter = Letter().sign()
    letter.headers |= {k.lower(): v for k, v in gate().sign(letter.environ(), 200, {}, b"").items()}
    del letter.headers["content-digest"]
    with pytest.raises(KeyRefused):
        check(letter)


def test_compression_and_signing_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="encoding"):
        gate().sign(Letter().sign().environ(), 200, {"Content-Encoding": "gzip"}, b"")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://Hub.Example.cn", "hub.example.cn"),
        ("https://hub.example.cn:443/", "hub.example.cn"),
        ("https://hub.example.cn:80", "hub.example.cn:80"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://[::1]:8080", "[::1]:8080"),
    ],
)
def test_authority(url: str, expected: str) -> None:
    assert wire.authority(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "hub.example",
        "ftp://hub.example",
        "https://u@hub.example",
        "https://hub.example/x",
        "https://h/?q",
        "https://",
    ],
)
def test_what_is_no_base_url(url: str) -> None:
    with pytest.raises(ValueError, match="base URL"):
        wire.authority(url)


def test_a_private_key_is_never_shown() -> None:
    assert "private" not in repr(wire.HttpKey.signing("330483", CITY))


def test_a_vkey_of_another_algorithm_is_no_http_key() -> None:
    with pytest.raises(RecordError):
        wire.HttpKey.pinned("330483", str(note.VKey("330483/http", 4, CITY.vkey.raw)))


@pytest.mark.parametrize(
    ("url", "more", "words"),
    [
        ("http://hub.example", {}, "the address given: http:// is for loopback only"),
        ("https://hub.example/x", {}, "the address given: not a base URL such as https://"),
        ("https://name:word@hub.example", {}, "the address given: the host and port"),
        ("nothing", {}, "the address given: not a base URL such as https://"),
        ("https://hub.example", {"ca_file": "/nowhere.pem"}, "ca_file: no such file"),
    ],
)
def test_a_client_is_not_made_of_settings_that_cannot_be_safe(url: str, more: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        wire.Client(url, wire.HttpKey.signing("330483", CITY), str(HUB.vkey), **more)
