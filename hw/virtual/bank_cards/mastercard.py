"""An application as kernel 2 meets it (Book C-2): records, then GENERATE AC with CDA, cryptogram version 17."""

from __future__ import annotations

import hashlib
from typing import Final

from edge.emv import dol
from edge.emv.tlv import encode
from hw.virtual.bank_cards import cryptogram
from hw.virtual.bank_cards.application import (
    AAC,
    ARQC,
    NOT_ALLOWED,
    TC,
    PaymentApplication,
    Personal,
    data_of,
    taken,
)
from hw.virtual.cards import OK, WRONG_LENGTH

#: Cardholder verification, terminal risk management, CDA; second byte: EMV mode. A phone adds on-device verification.
_AIP_CARD: Final = bytes.fromhex("1980")
_AIP_PHONE: Final = bytes.fromhex("1B80")

#: SFI 2, record 1, which the certificate vouches for; SFI 3, records 1 and 2.
_AFL: Final = bytes.fromhex("1001010118010200")

#: 9F02 06, 9F03 06, 9F1A 02, 95 05, 5F2A 02, 9A 03, 9C 01, 9F37 04, 9F35 01, 9F45 02, 9F4C 08, 9F34 03.
_CDOL1: Final = bytes.fromhex("9F02069F03069F1A0295055F2A029A039C019F37049F35019F45029F4C089F3403")

#: A phone asks for the terminal's country and type first: 9F1D 08, 9F1A 02, 9F35 01.
_PDOL_PHONE: Final = bytes.fromhex("9F1D089F1A029F3501")

#: Online PIN if the terminal can, signature, no CVM; a phone: no CVM besides its own.
_CVMS_CARD: Final = bytes.fromhex("0000000000000000420302031E031F03")
_CVMS_PHONE: Final = bytes.fromhex("00000000000000001F03")

#: P1 of GENERATE AC: the type asked for, and CDA.
_TYPES: Final = 0xC0
_CDA: Final = 0x10

_MACED: Final = ("9F02", "9F03", "9F1A", "95", "5F2A", "9A", "9C", "9F37")
_CVR: Final = {ARQC: 0xA0, TC: 0x90, AAC: 0x80}

#: Cumulative offline amount (6), consecutive offline transactions (1), FF: in the clear.
_COUNTERS: Final = bytes(7) + b"\xff"


class MastercardLike(PaymentApplication):
    """M/Chip. GPO, three records, one GENERATE AC."""

    aid = bytes.fromhex("A0000000041010")
    kernel = 2

    def __init__(self, personal: Personal) -> None:
        super().__init__(personal)
        phone = personal.behavior.phone
        self.pdol = _PDOL_PHONE if phone else b""
        self._aip = _AIP_PHONE if phone else _AIP_CARD
        static = self._static()
        self._key = personal.authority.certify_card(
            personal.issuer, personal.holder.pan, static=static + self._aip
        )
        self._records = {(2, 1): static, (3, 1): personal.issuer.objects(), (3, 2): self._key.objects()}

    def command(self, command: bytes) -> bytes:
        if command[:2] == b"\x80\xae":
            return self._generate_ac(command)
        return super().command(command)

    def _static(self) -> bytes:
        holder = self._personal.holder
        shown = (
            encode("57", holder.track_2)
            + encode("5A", bytes.fromhex(holder.pan + "F" * (len(holder.pan) % 2)))
            + encode("5F24", holder.expiry_date)
            + encode("5F25", bytes.fromhex("240101"))
            + encode("5F28", bytes.fromhex("0276"))
            + encode("5F34", bytes((holder.sequence_no,)))
            + encode("8C", _CDOL1)
            + encode("8E", _CVMS_PHONE if self._personal.behavior.phone else _CVMS_CARD)
            + encode("9F07", bytes.fromhex("FF00"))
            + encode("9F08", bytes.fromhex("0002"))
            + encode("9F0D", bytes.fromhex("B450840000"))
            + encode("9F0E", bytes(5))
            + encode("9F0F", bytes.fromhex("B470848000"))
            + encode("9F42", bytes.fromhex("0978"))
            + encode("9F4A", b"\x82")
        )
        return shown if holder.par is None else shown + encode("9F24", holder.par.encode())

    def _discretionary(self) -> bytes:
        """9F6E: country, no unique identifier, device type (card 00, phone 01)."""
        return encode(
            "9F6E", bytes.fromhex("02760000") + (b"01" if self._personal.behavior.phone else b"00") + b"\0"
        )

    def _options(self) -> bytes:
        return encode("77", encode("82", self._aip) + encode("94", _AFL)) + OK

    def _generate_ac(self, command: bytes) -> bytes:
        data = data_of(command)
        if not self._begun:
            return NOT_ALLOWED
        if len(data) != sum(w.length for w in dol.parse(_CDOL1)):
            return WRONG_LENGTH
        self._begun = False
        kind = self._decision(command[2] & _TYPES)
        told = taken(_CDOL1, data)
        number = self._personal.draw.randbytes(8)
        verification = bytes((_CVR[kind],)) + bytes(5)
        mac = self._mac(told, verification)
        issuer_data = bytes((0x01, 0x11)) + verification + number[:2] + _COUNTERS
        first = encode("9F27", bytes((kind,))) + encode("9F36", self._counter())
        last = encode("9F10", issuer_data)
        if kind == AAC or not command[2] & _CDA:
            return encode("77", first + encode("9F26", mac) + last) + OK
        digest = hashlib.sha1(self._pdol_data + data + first + last, usedforsecurity=False).digest()
        dynamic = bytes((len(number),)) + number + bytes((kind,)) + mac + digest
        signature = self._sign(self._key.sign_dynamic(dynamic, told["9F37"]))
        return encode("77", first + encode("9F4B", signature) + last) + OK

    def _decision(self, asked: int) -> int:
        if self._behavior.declines or asked == AAC:
            return AAC
        return TC if asked == TC and self._behavior.offline else ARQC

    def _mac(self, told: dict[str, bytes], verification: bytes) -> bytes:
        """Cryptogram version 17: the session key depends on ATC and UN, the counters are covered."""
        session = cryptogram.session_key(self._personal.master, self._counter() + bytes(2) + told["9F37"])
        covered = (
            b"".join(told[tag] for tag in _MACED) + self._aip + self._counter() + verification + _COUNTERS
        )
        return self._shown(cryptogram.cryptogram(session, covered))
