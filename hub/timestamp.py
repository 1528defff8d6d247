"""RFC 3161 timestamps: what to ask a time-stamping authority (TSA), what to take of its answer, what that proves.

Rule 1. What is stamped is the SHA-256 of bytes that others hold too; the authority learns nothing else.
Rule 2. A token is believed only under roots that came another way, never for a certificate it brings itself.
Speaks no HTTP and reads no clock. The PyPI library rfc3161-client decodes and verifies.
"""

from collections.abc import Sequence
from datetime import UTC
from hashlib import sha256
from typing import NamedTuple

from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    TimeStampRequest,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from hub.errors import ConfigError, RecordError

_SHA256 = x509.ObjectIdentifier("2.16.840.1.101.3.4.2.1")
_WHERE = "timestamp"
_SEQUENCE, _EXPLICIT = 0x30, 0xA0


class Stamp(NamedTuple):
    """What a token that held says: its bytes existed in the second `at` (RFC 3339, UTC), by the word of `by` (RFC 4514)."""

    at: str
    by: str


def read_roots(raw: bytes) -> list[x509.Certificate]:
    """The certificates of a PEM file, each of them a root to believe; ConfigError where there is none."""
    try:
        return x509.load_pem_x509_certificates(raw)
    except ValueError:
        raise ConfigError(["--tsa: no certificate in PEM; give the root of the authority that stamps"]) from None


def ask(data: bytes) -> TimeStampRequest:
    """The request for a token over the SHA-256 of `data`, with a fresh nonce, asking for the signer's certificate."""
    built = TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256)
    return built.nonce(nonce=True).cert_request(cert_request=True).build()


def take(request: TimeStampRequest, data: bytes, raw: bytes) -> bytes:
    """An answer to a request for `data`, to be kept: granted, over these bytes, with this nonce. RecordError otherwise.

    It comes back in DER, also where the authority wrote its certificates in another order than DER's, as OpenSSL's does.
    """
    raw = _ordered(raw)
    if read(data, raw).tst_info.nonce != request.nonce:
        raise RecordError("it answers another request: the nonce is not the one that was sent", where=_WHERE)
    return raw


def read(data: bytes, raw: bytes) -> TimeStampResponse:
    """A TimeStampResp (DER) granted over the SHA-256 of `data`; RecordError otherwise. No signature is looked at."""
    try:
        found = decode_timestamp_response(raw)
        if found.status:
            words = "".join(c for c in ", ".join(found.status_string)[:200] if c.isprintable())
            raise RecordError(f"refused with status {found.status}" + (f" ({words})" if words else ""), where=_WHERE)
        imprint = found.tst_info.message_imprint
        algorithm, stamped = imprint.hash_algorithm, imprint.message
    except ValueError:
        raise RecordError("not a timestamp response (RFC 3161) in DER", where=_WHERE) from None
    if (algorithm, stamped) != (_SHA256, sha256(data).digest()):
        raise RecordError("it stamps other bytes than this checkpoint's, by SHA-256", where=_WHERE)
    return found


def check(data: bytes, raw: bytes, roots: Sequence[x509.Certificate]) -> Stamp:
    """What a TimeStampResp says that is granted over `data` and signed under one of `roots`; RecordError otherwise.

    Certificates must be in force at the time told; the signer's must be critically for time stamping (RFC 3161, 2.3).
    """
    found = read(data, raw)
    try:
        VerifierBuilder(roots=list(roots)).build().verify_message(found, data)
        at, by = found.tst_info.gen_time.astimezone(UTC), _signer(found)
    except (VerificationError, ValueError) as error:
        cause = str(error).partition(": ErrorStack")[0][:120]
        mend = "is --tsa the root of the authority that stamped it?"
        raise RecordError(f"the signature does not hold: {cause}", where=_WHERE, mend=mend) from None
    return Stamp(at.isoformat(timespec="seconds").replace("+00:00", "Z"), by)


def _signer(found: TimeStampResponse) -> str:
    """The subject of the certificate that the one SignerInfo of a verified token names."""
    (signer,) = found.signed_data.signer_infos
    certificates = map(x509.load_der_x509_certificate, found.signed_data.certificates)
    (by,) = {
        each.subject.rfc4514_string()
        for each in certificates
        if (each.issuer, each.serial_number) == (signer.issuer, signer.serial_number)
    }
    return by


def _ordered(raw: bytes) -> bytes:
    """A TimeStampResp with its set of certificates in DER's order: not signed, and of the same length in any order."""
    try:
        _, (_, token) = _children(raw, _SEQUENCE)
        _, (_, content) = _children(token, _SEQUENCE)
        ((_, signed),) = _children(content, _EXPLICIT)
        held = next(part for tag, part in _children(signed, _SEQUENCE) if tag == _EXPLICIT)
        parts = [part for _, part in _children(held, _EXPLICIT)]
    except (ValueError, IndexError, StopIteration):
        return raw
    return raw.replace(b"".join(parts), b"".join(sorted(parts)), 1)


def _children(raw: bytes, tag: int) -> list[tuple[int, bytes]]:
    """The tag and bytes of each part of a constructed DER value; ValueError or IndexError where it is none."""
    at, end = _inside(raw, 0)
    if raw[0] != tag or end != len(raw):
        raise ValueError
    parts = []
    while at < end:
        _, stop = _inside(raw, at)
        parts.append((raw[at], raw[at:stop]))
        at = stop
    return parts


def _inside(raw: bytes, at: int) -> tuple[int, int]:
    """Where the content of the DER value at `at` starts and ends."""
    size, start = raw[at + 1], at + 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(raw[at + 2 : start], "big")
    return start, start + size
