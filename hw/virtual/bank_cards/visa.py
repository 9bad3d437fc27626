"""An application as kernel 3 meets it (Book C-3): everything in the answer to GPO, fDDA, cryptogram version 18."""

from __future__ import annotations

from typing import Final

from edge.emv.tlv import encode
from hw.virtual.bank_cards import cryptogram
from hw.virtual.bank_cards.application import AAC, ARQC, NOT_ALLOWED, TC, PaymentApplication, Personal
from hw.virtual.bank_cards.authority import DYNAMIC, FAST_ONLINE
from hw.virtual.cards import OK

#: 9F66 04, 9F02 06, 9F03 06, 9F1A 02, 95 05, 5F2A 02, 9A 03, 9C 01, 9F37 04.
_PDOL: Final = bytes.fromhex("9F66049F02069F03069F1A0295055F2A029A039C019F3704")

#: DDA supported.
_AIP: Final = bytes.fromhex("2000")

#: SFI 1, records 1 to 3, the first of which the certificate vouches for.
_AFL: Final = bytes.fromhex("08010301")

#: Terminal transaction qualifiers: first, second and third byte (Book C-3, annex A).
_QVSDC: Final = 0x20
_ODA_FOR_ONLINE: Final = 0x01
_ONLINE_REQUIRED: Final = 0x80
_CVM_REQUIRED: Final = 0x40

#: Card transaction qualifiers: online PIN required; the device has checked its owner.
_CTQ_PIN: Final = bytes.fromhex("8000")
_CTQ_DEVICE: Final = bytes.fromhex("0080")

#: Third byte of the card verification results in the issuer application data, by cryptogram type.
_CVR: Final = {ARQC: 0xA0, TC: 0x90, AAC: 0x80}

_SIGNED_TERMINAL_DATA: Final = ("9F37", "9F02", "5F2A")
_MACED: Final = ("9F02", "9F03", "9F1A", "95", "5F2A", "9A", "9C", "9F37")


class VisaLike(PaymentApplication):
    """qVSDC. One GPO, three records, no GENERATE AC."""

    aid = bytes.fromhex("A0000000031010")
    kernel = 3
    pdol = _PDOL

    def __init__(self, personal: Personal) -> None:
        super().__init__(personal)
        holder = personal.holder
        static = (
            encode("5A", bytes.fromhex(holder.pan + "F" * (len(holder.pan) % 2)))
            + encode("5F24", holder.expiry_date)
            + encode("5F28", bytes.fromhex("0276"))
            + encode("9F07", bytes.fromhex("C080"))
            + encode("9F4A", b"\x82")
        )
        self._key = personal.authority.certify_card(personal.issuer, holder.pan, static=static + _AIP)
        self._records[1, 1] = static
        self._records[1, 2] = personal.issuer.objects()

    def _discretionary(self) -> bytes:
        return encode("5F55", b"DE")

    def _options(self) -> bytes:
        qualifiers = self._told["9F66"]
        if not qualifiers[0] & _QVSDC:
            self._begun = False
            return NOT_ALLOWED
        kind = self._decision(qualifiers)
        ctq = self._ctq(qualifiers)
        shown = encode("82", _AIP)
        signed = kind == TC or (kind == ARQC and bool(qualifiers[0] & _ODA_FOR_ONLINE))
        if signed:
            shown += encode("94", _AFL)
        shown += self._cryptogram(kind)
        if signed:
            shown += encode("9F4B", self._signature(kind, ctq))
        shown += encode("9F6C", ctq) + encode("9F6E", self._form_factor())
        return encode("77", shown) + OK

    def _decision(self, qualifiers: bytes) -> int:
        if self._behavior.declines:
            return AAC
        return TC if self._behavior.offline and not qualifiers[1] & _ONLINE_REQUIRED else ARQC

    def _ctq(self, qualifiers: bytes) -> bytes:
        if self._behavior.phone:
            return _CTQ_DEVICE
        return _CTQ_PIN if qualifiers[1] & _CVM_REQUIRED else bytes(2)

    def _cryptogram(self, kind: int) -> bytes:
        """57, 5F34, 9F10, 9F26, 9F27, 9F36: cryptogram version 18 covers what the PDOL brought, AIP, ATC, and 9F10."""
        holder = self._personal.holder
        issuer_data = bytes((6, 0x01, 18, 3, _CVR[kind], 0, 0))
        session = cryptogram.session_key(self._personal.master, self._counter() + bytes(6))
        told = b"".join(self._told[tag] for tag in _MACED)
        mac = cryptogram.cryptogram(session, told + _AIP + self._counter() + issuer_data)
        return (
            encode("57", holder.track_2)
            + encode("5F34", bytes((holder.sequence_no,)))
            + encode("9F10", issuer_data)
            + encode("9F26", self._shown(mac))
            + encode("9F27", bytes((kind,)))
            + encode("9F36", self._counter())
        )

    def _signature(self, kind: int, ctq: bytes) -> bytes:
        """fDDA, version 01; the card's own random number and its CTQ stand in 9F69 and are signed as well.

        The dynamic number is the counter; a request that goes online is signed in a format of its own.
        """
        related = b"\x01" + self._personal.draw.randbytes(4) + ctq
        record = self._key.objects() + encode("9F69", related)
        if self._personal.holder.par is not None:
            record += encode("9F24", self._personal.holder.par.encode())
        self._records[1, 3] = record
        dynamic = b"\x02" + self._counter()
        terminal = b"".join(self._told[tag] for tag in _SIGNED_TERMINAL_DATA)
        form = FAST_ONLINE if kind == ARQC else DYNAMIC
        return self._sign(self._key.sign_dynamic(dynamic, terminal + related, form=form))

    def _form_factor(self) -> bytes:
        """9F6E: a card, or a phone."""
        return bytes.fromhex("23000000" if self._behavior.phone else "20000000")
