"""A certification authority for test cards: certificates and signatures of EMV Book 2, chapters 5 and 6."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from edge.emv.tlv import encode
from hw.virtual.bank_cards.rsa import EXPONENT, PrivateKey, draw_key

#: Real CA keys have 1408 or 1984 bits; issuers' and cards' keys are shorter, so that answers fit into 256 bytes.
_CA_BITS: Final = 1408
_ISSUER_BITS: Final = 1152
_CARD_BITS: Final = 1024

#: The schemes whose identifiers (RID) the test cards carry; the index is one that no live key has.
VISA: Final = bytes.fromhex("A000000003")
MASTERCARD: Final = bytes.fromhex("A000000004")
KEY_INDEX: Final = 0xF5

#: Signed data formats: dynamic data; fDDA of a request that goes online (Book C-3, annex C).
DYNAMIC: Final = 0x05
FAST_ONLINE: Final = 0x95

#: Header, trailer and padding of what is recovered; SHA-1, the only hash of Book 2; RSA.
_HEADER: Final = 0x6A
_TRAILER: Final = 0xBC
_PADDING: Final = 0xBB
_SHA1: Final = 0x01
_RSA: Final = 0x01


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """An issuer's key under the authority's certificate. `serial`: three bytes, as revocation lists name it."""

    key: PrivateKey
    rid: bytes
    certificate: bytes
    remainder: bytes
    serial: bytes

    def objects(self) -> bytes:
        """What a card shows of it: 8F, 9F32, 92, 90."""
        shown = encode("8F", bytes((KEY_INDEX,))) + encode("9F32", bytes((EXPONENT,)))
        return shown + encode("92", self.remainder) + encode("90", self.certificate)


@dataclass(frozen=True, slots=True)
class CardKey:
    """A card's key under its issuer's certificate."""

    key: PrivateKey
    certificate: bytes
    remainder: bytes

    def objects(self) -> bytes:
        """What a card shows of it: 9F47, 9F48, 9F46."""
        shown = encode("9F47", bytes((EXPONENT,))) + encode("9F48", self.remainder)
        return shown + encode("9F46", self.certificate)

    def sign_dynamic(self, dynamic: bytes, terminal: bytes, *, form: int = DYNAMIC) -> bytes:
        """Signed dynamic application data (9F4B): Book 2, table 15. `terminal`: what only the hash covers."""
        room = self.key.size - len(dynamic) - 25
        body = bytes((form, _SHA1, len(dynamic))) + dynamic + bytes((_PADDING,)) * room
        return self.key.sign(_framed(body, terminal))


@dataclass
class TestAuthority:
    """`revoked`: (RID, key index, serial) of issuer certificates that must not be taken any more."""

    __test__ = False  # a name, not a test

    seed: int = 2026
    expires: str = "2031-12-31"
    revoked: list[tuple[bytes, int, bytes]] = field(default_factory=list)
    _serial: int = 0

    @cached_property
    def _keys(self) -> dict[bytes, PrivateKey]:
        return {
            rid: draw_key(_CA_BITS, random.Random(f"{self.seed} {rid.hex()}"))  # noqa: S311 - test keys from a seed
            for rid in (VISA, MASTERCARD)
        }

    def capk(self) -> list[dict[str, str]]:
        """The public keys, as `emv replay --capk` reads them."""
        return [
            {
                "rid": rid.hex().upper(),
                "index": f"{KEY_INDEX:02X}",
                "modulus": key.modulus.hex().upper(),
                "exponent": f"{EXPONENT:02X}",
                "expires": self.expires,
            }
            for rid, key in self._keys.items()
        ]

    def certify_issuer(self, rid: bytes, pan: str, *, expires: str = "1231") -> IssuerKey:
        """A key for the issuer of `pan`: Book 2, table 2. `expires`: MMYY."""
        key = draw_key(_ISSUER_BITS, self._draw(f"issuer {pan[:8]} {expires}"))
        self._serial += 1
        serial = self._serial.to_bytes(3, "big")
        identifier = bytes.fromhex(pan[:8])
        head = bytes((0x02,)) + identifier + bytes.fromhex(expires) + serial
        certificate, remainder = _certificate(self._keys[rid], key, head, vouched=b"", overhead=36)
        return IssuerKey(key, rid, certificate, remainder, serial)

    def certify_card(self, issuer: IssuerKey, pan: str, *, static: bytes, expires: str = "1231") -> CardKey:
        """A key for one card: Book 2, table 11. `static`: the data that the certificate vouches for as well."""
        key = draw_key(_CARD_BITS, self._draw(f"card {pan}"))
        number = bytes.fromhex(pan.ljust(20, "F"))
        head = bytes((0x04,)) + number + bytes.fromhex(expires) + bytes(3)
        certificate, remainder = _certificate(issuer.key, key, head, vouched=static, overhead=42)
        return CardKey(key, certificate, remainder)

    def revoke(self, issuer: IssuerKey) -> None:
        """Put an issuer's certificate on the list."""
        self.revoked.append((issuer.rid, KEY_INDEX, issuer.serial))

    def _draw(self, name: str) -> random.Random:
        return random.Random(f"{self.seed} {name}")  # noqa: S311 - test keys from a seed


def _certificate(
    by: PrivateKey, key: PrivateKey, head: bytes, *, vouched: bytes, overhead: int
) -> tuple[bytes, bytes]:
    """A certificate, and what of the key did not fit into it."""
    room = by.size - overhead
    part, remainder = key.modulus[:room], key.modulus[room:]
    body = head + bytes((_SHA1, _RSA, key.size, 1)) + part.ljust(room, bytes((_PADDING,)))
    return by.sign(_framed(body, remainder + bytes((EXPONENT,)) + vouched)), remainder


def _framed(body: bytes, only_hashed: bytes) -> bytes:
    digest = hashlib.sha1(body + only_hashed, usedforsecurity=False).digest()
    return bytes((_HEADER,)) + body + digest + bytes((_TRAILER,))
