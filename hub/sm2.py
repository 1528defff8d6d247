"""SM2 signatures with SM3 (GB/T 32918, GB/T 32905) by OpenSSL's own library: no curve arithmetic is written here.

`cryptography` has no SM2, and what else there is in Python draws nonces from a generator that can be predicted. The
distinguishing identifier is always given: leaving it out means another, empty one. libcrypto 3 is loaded when first needed.
"""

import ctypes
import ctypes.util
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from hub.errors import KeyRefused

DISTID = b"1234567812345678"
POINT = 65
# SubjectPublicKeyInfo of an SM2 key (id-ecPublicKey, curve 1.2.156.10197.1.301) up to the point.
_SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d034200")
_P = ctypes.c_void_p


@cache
def _lib() -> Any:
    name = ctypes.util.find_library("crypto")
    lib = ctypes.CDLL(name) if name else None
    if lib is None or not hasattr(lib, "EVP_PKEY_Q_keygen"):
        raise KeyRefused("no OpenSSL 3 library to sign by SM2", where="libcrypto", mend="apt-get install libssl3")
    for function, result in (
        ("EVP_PKEY_Q_keygen", _P), ("EVP_PKEY_get1_encoded_public_key", ctypes.c_size_t), ("EVP_MD_CTX_new", _P),
        ("EVP_PKEY_CTX_new", _P), ("EVP_sm3", _P), ("BIO_new", _P), ("BIO_s_mem", _P), ("BIO_new_mem_buf", _P),
        ("PEM_read_bio_PrivateKey", _P), ("EVP_aes_256_cbc", _P), ("d2i_PUBKEY", _P), ("BIO_ctrl", ctypes.c_long),
        ("EVP_PKEY_is_a", ctypes.c_int),
    ):  # fmt: skip
        getattr(lib, function).restype = result
    return lib


@contextmanager
def _freed(pointer: int | None, free: str) -> Iterator[_P]:
    if not pointer:
        raise KeyRefused("OpenSSL refuses this SM2 key", where="sm2")
    try:
        yield _P(pointer)
    finally:
        getattr(_lib(), free)(_P(pointer))


class Sm2Private:
    """A private key; `sign` gives r‖s in 64 bytes."""

    def __init__(self, pem: bytes, passphrase: bytes) -> None:
        self._pem, self._passphrase = pem, passphrase
        with self._key() as key:
            self.point = _point(key)

    @contextmanager
    def _key(self) -> Iterator[_P]:
        lib = _lib()
        with ExitStack() as stack:
            bio = stack.enter_context(_freed(lib.BIO_new_mem_buf(self._pem, len(self._pem)), "BIO_free"))
            # With no callback the last argument is the passphrase, ended by a zero byte.
            read = lib.PEM_read_bio_PrivateKey(bio, None, None, self._passphrase)
            key = stack.enter_context(_freed(read, "EVP_PKEY_free"))
            if not lib.EVP_PKEY_is_a(key, b"SM2"):
                raise KeyRefused("not an SM2 key", where="sm2")
            yield key

    def sign(self, message: bytes) -> bytes:
        """The signature of a message, 64 bytes."""
        lib = _lib()
        with self._key() as key, _context(key, lib.EVP_DigestSignInit) as context:
            size = ctypes.c_size_t(256)
            out = ctypes.create_string_buffer(256)
            if lib.EVP_DigestSign(context, out, ctypes.byref(size), message, ctypes.c_size_t(len(message))) != 1:
                raise KeyRefused("OpenSSL could not sign by SM2", where="sm2")
        r, s = decode_dss_signature(out.raw[: size.value])
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def generate(passphrase: bytes) -> tuple[bytes, Sm2Private]:
    """A fresh key: its PKCS #8 PEM, encrypted under the passphrase by AES-256-CBC, and the key."""
    lib = _lib()
    with ExitStack() as stack:
        key = stack.enter_context(_freed(lib.EVP_PKEY_Q_keygen(None, None, b"SM2"), "EVP_PKEY_free"))
        bio = stack.enter_context(_freed(lib.BIO_new(_P(lib.BIO_s_mem())), "BIO_free"))
        cipher, data = _P(lib.EVP_aes_256_cbc()), _P()
        written = lib.PEM_write_bio_PKCS8PrivateKey(bio, key, cipher, passphrase, len(passphrase), None, None)
        size = lib.BIO_ctrl(bio, 3, ctypes.c_long(0), ctypes.byref(data))  # BIO_get_mem_data
        if written != 1 or size <= 0:
            raise KeyRefused("OpenSSL could not write the SM2 key", where="sm2")
        pem = ctypes.string_at(data, size)
    return pem, Sm2Private(pem, passphrase)


def verify(point: bytes, signature: bytes, message: bytes) -> bool:
    """Whether r‖s of this public point (65 bytes, uncompressed) over the message holds."""
    if len(point) != POINT or point[0] != 4 or len(signature) != 64:
        return False
    lib = _lib()
    spki = _SPKI + point
    data = ctypes.c_char_p(spki)
    pointer = lib.d2i_PUBKEY(None, ctypes.byref(data), ctypes.c_long(len(spki)))
    if not pointer:
        return False
    with _freed(pointer, "EVP_PKEY_free") as key:
        if not lib.EVP_PKEY_is_a(key, b"SM2"):
            return False
        der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
        with _context(key, lib.EVP_DigestVerifyInit) as context:
            found = lib.EVP_DigestVerify(
                context, der, ctypes.c_size_t(len(der)), message, ctypes.c_size_t(len(message))
            )
    return bool(found == 1)


def _point(key: _P) -> bytes:
    lib, out = _lib(), _P()
    size = lib.EVP_PKEY_get1_encoded_public_key(key, ctypes.byref(out))
    try:
        return ctypes.string_at(out, size)
    finally:
        lib.CRYPTO_free(out, None, 0)


@contextmanager
def _context(key: _P, start: Callable[..., int]) -> Iterator[_P]:
    """A digest context over SM3 with the distinguishing identifier set."""
    lib = _lib()
    with ExitStack() as stack:
        # The options outlive the context that uses them: they are freed after it.
        options = stack.enter_context(_freed(lib.EVP_PKEY_CTX_new(key, None), "EVP_PKEY_CTX_free"))
        context = stack.enter_context(_freed(lib.EVP_MD_CTX_new(), "EVP_MD_CTX_free"))
        if lib.EVP_PKEY_CTX_set1_id(options, DISTID, len(DISTID)) != 1:
            raise KeyRefused("OpenSSL takes no distinguishing identifier", where="sm2")
        lib.EVP_MD_CTX_set_pkey_ctx(context, options)
        if start(context, None, _P(lib.EVP_sm3()), None, key) != 1:
            raise KeyRefused("OpenSSL refuses this SM2 key", where="sm2")
        yield context
