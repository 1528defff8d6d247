"""Canonical bytes: RFC 8785 JSON restricted so that every implementation writes the same bytes.

Rule 1. Only maps with keys `[a-z0-9_]+`, lists, text, booleans, null and integers within ±(2^53−1); never a float.
Rule 2. A receiver accepts only bytes that encode back to themselves, and hashes the bytes it received.
Rule 3. base64 in one spelling only: what does not encode back to itself is refused.
On such data msgspec's sorted order gives the bytes of RFC 8785 (a test holds it to the `rfc8785` package).
"""

import binascii
import re
from typing import Any

import msgspec

from hub.errors import RecordError

LARGEST = 2**53 - 1

_b2a = binascii.b2a_base64
_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder().decode
_decode_base64 = msgspec.json.Decoder(bytes).decode
_key = re.compile(r"[a-z0-9_]+").fullmatch
_URLSAFE = bytes.maketrans(b"+/", b"-_")
# To the standard alphabet; what base64url has not, and what means something to JSON, becomes what no base64 has.
_STANDARD = bytes.maketrans(b'-_+/="\\', b"+/!!!!!")
_PADDING = {0: b'"', 2: b'=="', 3: b'="'}
_LAST = {2: b"AQgw", 3: b"AEIMQUYcgkosw048"}


def encode(value: Any) -> bytes:
    """Canonical bytes of a value that already keeps Rule 1 (a checked body, a struct)."""
    return _encode(value)


def require(value: Any, where: str = "value") -> None:
    """Raise RecordError unless the value keeps Rule 1; `where` names the place, never the content."""
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            raise RecordError("text with half a character", where=where, mend="send whole Unicode characters")
    elif isinstance(value, int):
        if not -LARGEST <= value <= LARGEST:
            raise RecordError("integer beyond 2^53−1", where=where, mend="send it as text")
    elif isinstance(value, list):
        for n, item in enumerate(value):
            require(item, f"{where}.{n}")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or not _key(key):
                raise RecordError("a key that is not [a-z0-9_]+", where=where, mend="rename the key")
            require(item, f"{where}.{key}")
    else:
        raise RecordError(f"a {type(value).__name__}", where=where, mend="decimals are sent as text")


def decode(raw: bytes, where: str = "value") -> Any:
    """The value of canonical bytes; RecordError on anything that is not their one byte form."""
    try:
        value = _decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise RecordError("not JSON", where=where) from error
    require(value, where)
    if _encode(value) != raw:
        raise RecordError("not canonical JSON (RFC 8785)", where=where, mend="sort keys, no blanks, no duplicates")
    return value


def b64(raw: bytes) -> str:
    """Standard base64, as notes and hashes write it."""
    return binascii.b2a_base64(raw, newline=False).decode("ascii")


def unb64(text: str, size: int | None = None, where: str = "base64") -> bytes:
    """Bytes of standard base64 in its one spelling; `size` is the length wanted in bytes."""
    try:
        raw = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (ValueError, UnicodeEncodeError) as error:
        raise RecordError("not base64", where=where) from error
    if b64(raw) != text or (size is not None and len(raw) != size):
        raise RecordError("not the base64 of that many bytes in its one spelling", where=where)
    return raw


def b64url(raw: bytes) -> bytes:
    """base64url without padding, as ASCII bytes (RFC 4648 §5)."""
    return _b2a(raw, newline=False).translate(_URLSAFE, b"=")


def unb64url(text: bytes, where: str = "base64url") -> bytes:
    """Bytes of unpadded base64url in its one spelling."""
    rest = len(text) % 4
    try:
        # msgspec reads base64 in a JSON text twice as fast as binascii, and as strictly.
        raw = _decode_base64(b'"' + text.translate(_STANDARD) + _PADDING[rest])
    except (msgspec.DecodeError, KeyError) as error:
        raise RecordError("not base64url", where=where) from error
    # The last character's spare bits are zero in the one spelling.
    if rest and text[-1] not in _LAST[rest]:
        raise RecordError("not base64url in its one spelling", where=where)
    return raw
