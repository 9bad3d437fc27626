"""NTAG 424 DNA made of software: at each reading its NDEF address says anew who it is and proves it."""

from __future__ import annotations

import random
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from edge.emv.sun import KEY_BYTES, SunKeys, card_key, mac_of
from hw.virtual.cards import IsoCard

_APPLICATION: Final = bytes.fromhex("D2760000850101")
_NDEF_FILE: Final = 0xE104
_SELECT: Final = 0xA4

#: The counter has three bytes; then the card shows nothing any more (SDMReadCtr limit).
COUNTER_MAX: Final = 0xFFFFFF


class Ntag424(IsoCard):
    """A membership card with SUN. `address` is where its query is appended, without `https://`.

    `random_id` makes it show a random UID in the field, as privacy wants it. `counter` counts readings.
    """

    def __init__(
        self,
        uid: bytes,
        keys: SunKeys,
        *,
        draw: random.Random,
        address: str = "example.org/m",
        random_id: bool = False,
    ) -> None:
        super().__init__(uid, {_APPLICATION: {}})
        self._keys = keys
        self._key = card_key(keys.file_read, uid, keys.system)
        self._draw = draw
        self._address = address
        self._random_id = random_id
        self._own_uid = uid
        self.counter = 0

    def enter(self) -> bytes:
        super().enter()
        return b"\x08" + self._draw.randbytes(3) if self._random_id else self._own_uid

    def apdu(self, command: bytes) -> bytes | None:
        if command[1:4] == bytes((_SELECT, 0x00, 0x0C)) and command[5:7] == _NDEF_FILE.to_bytes(2, "big"):
            self.counter += 1
            self._files = {_NDEF_FILE: self._ndef()}
        return super().apdu(command)

    def url(self) -> str:
        """The address that the next reading shows; that reading is then spent."""
        self.counter += 1
        return "https://" + self._shown()

    def _shown(self) -> str:
        counter = min(self.counter, COUNTER_MAX).to_bytes(3, "little")
        plain = b"\xc7" + self._own_uid + counter + self._draw.randbytes(5)
        encryptor = Cipher(algorithms.AES(self._keys.meta_read), modes.CBC(bytes(KEY_BYTES))).encryptor()
        data = (encryptor.update(plain) + encryptor.finalize()).hex().upper()
        return f"{self._address}?e={data}&c={mac_of(self._key, self._own_uid, counter).hex().upper()}"

    def _ndef(self) -> bytes:
        payload = b"\x04" + self._shown().encode()
        record = bytes((0xD1, 1, len(payload), 0x55)) + payload
        return len(record).to_bytes(2, "big") + record
