"""The partner guide's signing example holds: every value in it is computed again from the seed it names."""

import re
from base64 import b64decode
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub import note, wire
from hub.errors import KeyRefused

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "partner-guide.md").read_text("utf-8")
CITY = note.signer("330521/http", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
HUB = note.signer("hub.example.cn/http", Ed25519PrivateKey.generate())


def block(name: str) -> str:
    (found,) = re.findall(rf"^```{name}\n(.*?)```$", GUIDE, re.DOTALL | re.MULTILINE)
    return str(found)


def test_the_key_and_the_signature_are_those_of_the_seed() -> None:
    base = block("base").removesuffix("\n")
    signature = block("signature").strip().removeprefix("Signature: sig=:").removesuffix(":")
    assert block("vkey").strip() == str(CITY.vkey)
    CITY.private.public_key().verify(b64decode(signature), base.encode())
    assert f'"content-digest": {wire.digest(block("body").encode())}' in base.splitlines()
    assert len(block("body")) == 22


def test_the_hub_takes_the_guides_request_once() -> None:
    base = block("base").removesuffix("\n").splitlines()
    inner = base[-1].removeprefix('"@signature-params": ')
    environ = {
        "REQUEST_METHOD": "POST",
        "REQUEST_URI": "/v1/batches",
        "PATH_INFO": "/v1/batches",
        "HTTP_HOST": "hub.example.cn",
        "CONTENT_TYPE": "application/vnd.crossregion.batch",
        "HTTP_CONTENT_DIGEST": base[5].removeprefix('"content-digest": '),
        "HTTP_SIGNATURE_INPUT": f"sig={inner}",
        "HTTP_SIGNATURE": block("signature").strip().removeprefix("Signature: "),
    }
    known = wire.HttpKey.pinned("330521", block("vkey").strip())
    gate = wire.Gate(
        "hub.example.cn",
        {known.keyid: known}.get,
        wire.MemoryNonces(),
        wire.HttpKey.signing("hub", HUB),
        lambda: datetime.fromtimestamp(1795490000, UTC),
    )
    assert gate.check(environ, block("body").encode()) == "330521"
    with pytest.raises(KeyRefused, match="nonce"):
        gate.check(environ, block("body").encode())


def test_the_guide_names_what_is_covered_and_every_limit() -> None:
    for name in wire.POST_COVERS:
        assert f"`{name}`" in GUIDE
    for name in wire.REPLY_COVERS:
        assert f"`{name}`" in GUIDE or f'`"{name}"`' in GUIDE
    for name in wire.PARAMETERS:
        assert f"`{name}`" in GUIDE
    assert f"1 to {wire.LIFETIME} seconds" in GUIDE
    assert f"differ by {wire.SKEW} seconds" in GUIDE
    assert f"`{wire.TAG}`" in GUIDE
