"""Secure Unique NFC (SUN): a membership card that proves itself anew at each tap.

NTAG 424 DNA puts its UID and a read counter, encrypted, and a MAC over both into the address that it shows as
NDEF. NXP AN12196, 3.3 to 3.4, and the NT4H2421Gx data sheet, 9.3 (Secure Dynamic Messaging). A copy of the
address is worthless once the counter has been seen: whoever verifies keeps the highest counter of each UID.
"""

from __future__ import annotations

import hmac
from typing import Final, Literal
from urllib.parse import parse_qs, urlsplit

import msgspec

KEY_BYTES: Final = 16
UID_BYTES: Final = 7
MAC_BYTES: Final = 8

#: PICCDataTag: the UID (bit 7) and the counter (bit 6) are mirrored, the UID has 7 bytes.
_PICC_DATA_TAG: Final = 0xC7

#: Where the session key for the MAC is derived from: AN12196, table 4, SV2.
_SV2: Final = bytes.fromhex("3CC300010080")

#: The NDEF application, whose name goes into each card's key.
_APPLICATION: Final = bytes.fromhex("D2760000850101")

#: Longer addresses do not fit into the card's NDEF file of 256 bytes.
_URL_MAX: Final = 256


class SunKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's keys, 16 bytes each.

    `meta_read` decrypts who the card says it is and is the same on every card: it protects privacy, not money.
    `file_read` is the master of the keys that prove it: each card holds one derived from it, its UID and
    `system`, 2 to 16 bytes of the operator's choice. A card that is taken apart gives away only itself.
    """

    meta_read: bytes
    file_read: bytes
    system: bytes

    def __post_init__(self) -> None:
        if len(self.meta_read) != KEY_BYTES or len(self.file_read) != KEY_BYTES:
            raise ValueError(f"a SUN key has {KEY_BYTES} bytes")
        if not 2 <= len(self.system) <= 16:
            raise ValueError("the system identifier of SUN keys has 2 to 16 bytes")

    def __repr__(self) -> str:
        return "SunKeys(...)"


class SunMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What a card showed: the encrypted PICC data (16 bytes) and the MAC (8 bytes)."""

    picc_data: bytes
    mac: bytes


class Sun(msgspec.Struct, frozen=True, kw_only=True):
    """A card that proved itself: its UID, and how often it has been read."""

    uid: bytes
    read_counter: int


class Refused(msgspec.Struct, frozen=True):
    """Why a message proves nothing: it is none, its data is not of our key, or its MAC is wrong."""

    reason: Literal["format", "data", "mac"]


def message_in(url: str, *, data: str = "e", mac: str = "c") -> SunMessage | Refused:
    """The message in an address, from the query's parameters with these names."""
    if len(url) > _URL_MAX:
        return Refused("format")
    try:
        query = parse_qs(urlsplit(url).query, max_num_fields=16)
        message = SunMessage(
            picc_data=bytes.fromhex(query[data][0]),
            mac=bytes.fromhex(query[mac][0]),
        )
    except (KeyError, ValueError):
        return Refused("format")
    whole = len(message.picc_data) == KEY_BYTES and len(message.mac) == MAC_BYTES
    return message if whole else Refused("format")


def verify(message: SunMessage, keys: SunKeys, *, mac_input: bytes = b"") -> Sun | Refused:
    """Who tapped. `mac_input` is the part of the address that the card is configured to sign besides."""
    if len(message.picc_data) != KEY_BYTES or len(message.mac) != MAC_BYTES:
        return Refused("format")
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    decryptor = Cipher(algorithms.AES(keys.meta_read), modes.CBC(bytes(KEY_BYTES))).decryptor()
    plain = decryptor.update(message.picc_data) + decryptor.finalize()
    if plain[0] != _PICC_DATA_TAG:
        return Refused("data")
    uid, counter = plain[1 : 1 + UID_BYTES], plain[1 + UID_BYTES : 4 + UID_BYTES]
    key = card_key(keys.file_read, uid, keys.system)
    if not hmac.compare_digest(mac_of(key, uid, counter, mac_input), message.mac):
        return Refused("mac")
    return Sun(uid=uid, read_counter=int.from_bytes(counter, "little"))


def is_fresh(sun: Sun, highest: int | None) -> bool:
    """False for a replay: the counter must exceed the highest one that was seen of this UID (None: none yet)."""
    return highest is None or sun.read_counter > highest


def card_key(master: bytes, uid: bytes, system: bytes) -> bytes:
    """A card's own key: NXP AN10922, 2.2.1, AES-128 over UID, application and system identifier."""
    return _cmac(master, b"\x01" + uid + _APPLICATION + system)


def mac_of(key: bytes, uid: bytes, counter: bytes, mac_input: bytes = b"") -> bytes:
    """The MAC that a card with `key` shows at this counter (3 bytes, least significant first)."""
    session_key = _cmac(key, _SV2 + uid + counter)
    return _cmac(session_key, mac_input)[1::2]


def _cmac(key: bytes, data: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers import algorithms
    from cryptography.hazmat.primitives.cmac import CMAC

    cmac = CMAC(algorithms.AES(key))
    cmac.update(data)
    return cmac.finalize()
