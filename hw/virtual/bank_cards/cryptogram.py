"""The card's side of an application cryptogram: session key and MAC (EMV Book 2, 8.1 and annexes A1.2, A1.3).

Written from the book, so that the issuer, which checks with another implementation, is a second opinion.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

_BLOCK: Final = 8


def session_key(master: bytes, diversifier: bytes) -> bytes:
    """Common session key derivation (A1.3.1): the eight bytes of `diversifier` twice, with F0 and 0F as their third."""
    halves = b"".join(diversifier[:2] + bytes((mark,)) + diversifier[3:] for mark in (0xF0, 0x0F))
    return _encrypt(master, halves)


def cryptogram(session: bytes, data: bytes) -> bytes:
    """MAC by ISO/IEC 9797-1 algorithm 3, padding method 2 (A1.2.1): eight bytes."""
    padded = data + b"\x80" + bytes(-(len(data) + 1) % _BLOCK)
    left, right = session[:_BLOCK], session[_BLOCK:]
    state = bytes(_BLOCK)
    for at in range(0, len(padded), _BLOCK):
        state = _encrypt(left, bytes(a ^ b for a, b in zip(state, padded[at : at + _BLOCK], strict=True)))
    return _encrypt(left, _decrypt(right, state))


def _cipher(key: bytes) -> Cipher[modes.ECB]:
    """Triple DES with two keys, or DES: the same key three times."""
    return Cipher(TripleDES(key + key[:_BLOCK] if len(key) == 2 * _BLOCK else key * 3), modes.ECB())  # noqa: S305


def _encrypt(key: bytes, data: bytes) -> bytes:
    encryptor = _cipher(key).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def _decrypt(key: bytes, data: bytes) -> bytes:
    decryptor = _cipher(key).decryptor()
    return decryptor.update(data) + decryptor.finalize()
