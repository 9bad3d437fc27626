"""From a certification authority's key to the card's own: EMV Book 2, 5.3 and 6.4 (tables 6 and 14)."""

from __future__ import annotations

from datetime import date
from typing import Final

import msgspec

from edge.emv.errors import NotAuthentic
from edge.emv.oda.keys import EXPONENTS, MODULUS_BYTES_MAX, CaKey, CaKeys, PublicKey
from edge.emv.oda.recovery import HASH_BYTES, RSA, recover

#: Bytes of a certificate besides the key: Book 2, tables 6 and 14.
_ISSUER_OVERHEAD: Final = 36
_ICC_OVERHEAD: Final = 42

#: A recovered key needs room for the smallest signature that it may have to make: Book 2, table 17.
_KEY_BYTES_MIN: Final = 26

#: Book 4, 6.7.3: years of two digits from here on are those of the last century.
_CENTURY_TURNS: Final = 50


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """The three objects of a public key certificate. `remainder` is what of the key did not fit in.

    Never shown: a card's number can be recovered from its certificate.
    """

    signature: bytes
    remainder: bytes
    exponent: bytes

    def __repr__(self) -> str:
        return f"Certificate({len(self.signature)} bytes)"


def issuer_key(certificate: Certificate, ca_key: CaKey, *, pan: str, on: date, keys: CaKeys) -> PublicKey:
    """The issuer's key. `pan` in digits, `on` the day on which it has to be in force. Raises NotAuthentic."""
    what = "the issuer certificate"
    if ca_key.key.exponent not in EXPONENTS or len(ca_key.key.modulus) > MODULUS_BYTES_MAX:
        raise NotAuthentic(f"the CA key {ca_key.name} is none that EMV allows")
    if ca_key.expires is not None and on > ca_key.expires:
        raise NotAuthentic(f"the CA key {ca_key.name} expired on {ca_key.expires}")
    data = recover(
        certificate.signature,
        ca_key.key,
        what=what,
        forms=b"\x02",
        hash_at=11,
        least=_ISSUER_OVERHEAD + 1,
        vouched=certificate.remainder + certificate.exponent,
    )
    identifier = data[2:6].hex().upper().rstrip("F")
    if not (3 <= len(identifier) <= 8 and identifier.isdecimal() and pan.startswith(identifier)):
        raise NotAuthentic(f"{what} is for other card numbers")
    _in_force(data[6:8], on, what)
    if keys.is_revoked(ca_key, data[8:11]):
        raise NotAuthentic(f"{what} was revoked")
    return _key(data[12:], certificate, what)


def icc_key(certificate: Certificate, issuer: PublicKey, *, pan: str, static: bytes, on: date) -> PublicKey:
    """The card's key. `static`: the static data to be authenticated. Raises NotAuthentic."""
    what = "the card's certificate"
    data = recover(
        certificate.signature,
        issuer,
        what=what,
        forms=b"\x04",
        hash_at=17,
        least=_ICC_OVERHEAD + 1,
        vouched=certificate.remainder + certificate.exponent + static,
    )
    if data[2:12].hex().upper().rstrip("F") != pan:
        raise NotAuthentic(f"{what} is for another card number")
    _in_force(data[12:14], on, what)
    return _key(data[18:], certificate, what)


def two_digit_year(year: int) -> int:
    """2025 for 25, 1999 for 99."""
    return year + (2000 if year < _CENTURY_TURNS else 1900)


def _in_force(month_and_year: bytes, on: date, what: str) -> None:
    """Book 2: a certificate counts up to the last day of its month."""
    text = month_and_year.hex()
    if not text.isdecimal() or not 1 <= int(text[:2]) <= 12:
        raise NotAuthentic(f"{what} has no date of expiry")
    month, year = int(text[:2]), two_digit_year(int(text[2:]))
    if (on.year, on.month) > (year, month):
        raise NotAuthentic(f"{what} expired in {year}-{month:02}")


def _key(data: bytes, certificate: Certificate, what: str) -> PublicKey:
    """The key in what follows the hash algorithm: algorithm, two lengths, as much of the modulus as fits, hash."""
    algorithm, size, exponent_size = data[0], data[1], data[2]
    if algorithm != RSA:
        raise NotAuthentic(f"{what} names public key algorithm {algorithm:02X}, which is unknown")
    part = data[3 : -1 - HASH_BYTES]
    modulus = (part + certificate.remainder)[:size]
    if not _KEY_BYTES_MIN <= size <= MODULUS_BYTES_MAX or len(certificate.remainder) != max(
        0, size - len(part)
    ):
        raise NotAuthentic(f"{what} is for a key of another length")
    exponent = int.from_bytes(certificate.exponent, "big")
    if len(certificate.exponent) != exponent_size or exponent not in EXPONENTS:
        raise NotAuthentic(f"{what} is for a key with another exponent")
    if int.from_bytes(modulus, "big") < 2:
        raise NotAuthentic(f"{what} holds no key")
    return PublicKey(modulus=modulus, exponent=exponent)
