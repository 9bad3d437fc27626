"""Public keys of certification authorities, what was revoked, and which of them may be used at all."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable
from datetime import date
from typing import Any, Final

import msgspec

from edge.emv.errors import CaKeysInvalid, LiveKeysRefused

RID_BYTES: Final = 5

#: Book 2, 5.1: moduli have at most 248 bytes. Lists of keys hold some that are longer; a file may hold no more.
MODULUS_BYTES_MAX: Final = 248
_MODULUS_BYTES_READ: Final = 512

#: Book 2, annex B2.1: the only exponents.
EXPONENTS: Final = (3, 65_537)

#: All schemes together have fewer, test keys included.
KEYS_MAX: Final = 1_000

#: A year and a month, such as 2027-12: the key counts up to the month's last day.
_MONTH_CHARACTERS: Final = 7

#: The longest exponent, with leading zeros.
_DIGITS_MAX: Final = 8

#: From which index on a scheme's keys are for tests. All other keys are, or may become, those of real cards.
_TEST_FROM: Final = {bytes.fromhex("A000000003"): 0x50, bytes.fromhex("A000000004"): 0xE0}


class PublicKey(msgspec.Struct, frozen=True, kw_only=True):
    """An RSA public key: the modulus as bytes, most significant first."""

    modulus: bytes
    exponent: int


class CaKey(msgspec.Struct, frozen=True, kw_only=True):
    """A certification authority's key, named by the scheme's RID and an index. It counts up to and with `expires`."""

    rid: bytes
    index: int
    key: PublicKey
    expires: date | None = None

    @property
    def name(self) -> str:
        return f"{self.rid.hex().upper()} {self.index:02X}"

    @property
    def live(self) -> bool:
        """True for what is not surely a test key: of those the scheme's real cards are certified with."""
        return self.index < _TEST_FROM.get(self.rid, 0x100)


class Revoked(msgspec.Struct, frozen=True):
    """An issuer certificate that counts no more (Book 2, 5.1.2): its CA key's RID and index, its serial number."""

    rid: bytes
    index: int
    serial: bytes


class CaKeys:
    """The keys, and the list of revoked certificates. Schemes have given a name twice: there may be several of one."""

    __slots__ = ("_keys", "_revoked")

    def __init__(self, keys: Iterable[CaKey], revoked: Iterable[Revoked] = ()) -> None:
        self._keys = tuple(keys)
        self._revoked = frozenset((each.rid, each.index, each.serial) for each in revoked)

    def find(self, rid: bytes, index: int) -> tuple[CaKey, ...]:
        """The keys of this name."""
        return tuple(key for key in self._keys if (key.rid, key.index) == (rid, index))

    def is_revoked(self, key: CaKey, serial: bytes) -> bool:
        """True when the issuer certificate with this serial number was revoked."""
        return (key.rid, key.index, serial) in self._revoked

    def for_payment(self, *, lab: bool) -> CaKeys:
        """These keys for a kernel that takes payments. Raises LiveKeysRefused for keys of real cards without a lab."""
        live = sorted(key.name for key in self._keys if key.live)
        if live and not lab:
            raise LiveKeysRefused(f"keys of real cards: {', '.join(live[:8])}")
        return self


def load(document: bytes) -> tuple[CaKey, ...]:
    """The keys of a JSON list of {"rid", "index", "modulus", "exponent", "expires"?}. Raises CaKeysInvalid.

    Bytes are in hex; an index or exponent may also be a JSON number; `expires` is a date such as 2027-12-31 or a
    month such as 2027-12. A key that EMV does not allow (Europay's had the exponent 02) is read, and vouches for none.
    """
    try:
        entries = msgspec.json.decode(document)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as e:
        raise CaKeysInvalid("the key file is not JSON") from e
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise CaKeysInvalid("the key file is no list of objects")
    if len(entries) > KEYS_MAX:
        raise CaKeysInvalid(f"more than {KEYS_MAX} keys")
    return tuple(_key(each, f"key {number}") for number, each in enumerate(entries, start=1))


def _key(entry: dict[str, Any], place: str) -> CaKey:
    rid = _hex(entry, "rid", place)
    if len(rid) != RID_BYTES:
        raise CaKeysInvalid(f"{place}: rid must have {RID_BYTES} bytes")
    index = _number(entry, "index", place)
    if not 0 <= index <= 0xFF:
        raise CaKeysInvalid(f"{place}: index must be one byte")
    modulus = _hex(entry, "modulus", place)
    if not 1 <= len(modulus) <= _MODULUS_BYTES_READ:
        raise CaKeysInvalid(f"{place}: modulus must have 1 to {_MODULUS_BYTES_READ} bytes")
    exponent = _number(entry, "exponent", place)
    if exponent < 1:
        raise CaKeysInvalid(f"{place}: exponent must be a number such as 03 or 010001")
    key = PublicKey(modulus=modulus, exponent=exponent)
    return CaKey(rid=rid, index=index, key=key, expires=_date(entry.get("expires"), place))


def _hex(entry: dict[str, Any], name: str, place: str) -> bytes:
    text = entry.get(name)
    try:
        return bytes.fromhex(text if isinstance(text, str) else "no hex")
    except ValueError:
        raise CaKeysInvalid(f"{place}: {name} must be bytes in hex") from None


def _number(entry: dict[str, Any], name: str, place: str) -> int:
    value = entry.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value < 1 << 4 * _DIGITS_MAX else -1
    try:
        return int(value, 16) if isinstance(value, str) and len(value) <= _DIGITS_MAX else -1
    except ValueError:
        raise CaKeysInvalid(f"{place}: {name} must be in hex") from None


def _date(text: object, place: str) -> date | None:
    if text is None:
        return None
    try:
        if isinstance(text, str) and len(text) == _MONTH_CHARACTERS:
            first = date.fromisoformat(f"{text}-01")
            return first.replace(day=monthrange(first.year, first.month)[1])
        return date.fromisoformat(text if isinstance(text, str) else "none")
    except ValueError:
        raise CaKeysInvalid(f"{place}: expires must be a date such as 2027-12-31") from None
