"""What both kernels do with a card: read its records, say who it is. Conversations yield commands, get answers."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final

import msgspec

from edge.emv import apdu, dol, tlv
from edge.emv.errors import CardDataInvalid
from edge.emv.kernel.outcome import CardNumber, CardRead
from edge.emv.kernel.selection import Candidate
from edge.emv.kernel.terminal import Purchase, Terminal, told
from edge.emv.objects import Objects
from edge.emv.oda.chain import Chain, pan_of
from edge.emv.oda.files import (
    Entry,
    entry_records,
    parse_afl,
    record_objects,
    static_data,
    without_magnetic_stripe,
)
from edge.emv.oda.keys import CaKeys

#: PAR is 29 characters (EMVCo, Payment Account Reference: BIN controller and 25 more).
_PAR_CHARACTERS: Final = 29

_LABEL_MAX: Final = 16


class Taken(msgspec.Struct, kw_only=True):
    """The application that was selected, and what is known of it.

    `values` is what it is told, by tag; `shown` what its selection showed for the acquirer.
    """

    chosen: Candidate
    terminal: Terminal
    purchase: Purchase
    keys: CaKeys
    aid: bytes
    label: str
    pdol: tuple[dol.Wanted, ...]
    values: dict[str, bytes]
    shown: dict[str, bytes]
    objects: Objects
    entries: tuple[Entry, ...] = ()
    records: dict[tuple[int, int], bytes] = {}
    pdol_data: bytes = b""

    def __repr__(self) -> str:
        return f"Taken({self.aid.hex()}, {len(self.records)} records)"

    def chain(self) -> Chain:
        """The way to the card's key. Raises NotAuthentic."""
        aip, tag_list = self.objects.need("82"), self.objects.get("9F4A")
        static = static_data(self.entries, self.records, tag_list=tag_list, aip=aip)
        return Chain(objects=self.objects, aid=self.aid, static=static, keys=self.keys, on=self.purchase.day)


def take(fci: bytes, chosen: Candidate, terminal: Terminal, purchase: Purchase, keys: CaKeys) -> Taken:
    """An application by what it answered to its selection. Raises CardDataInvalid, TlvError."""
    template = tlv.parse(fci)
    aid = tlv.find(template, "84")
    if len(template) != 1 or template[0].tag != "6F" or not aid or not aid.startswith(chosen.name):
        raise CardDataInvalid("an application that answers its selection with another name")
    objects = Objects()
    objects.add("84", aid)
    third_party = tlv.find(template, "9F6E")
    return Taken(
        chosen=chosen,
        terminal=terminal,
        purchase=purchase,
        keys=keys,
        aid=aid,
        label=_text(tlv.find(template, "50") or b"", _LABEL_MAX),
        pdol=dol.parse(tlv.find(template, "9F38") or b""),
        values=told(terminal, purchase, chosen.application),
        shown={} if third_party is None else {"9F6E": third_party},
        objects=objects,
        records={},
    )


def processing_options(taken: Taken) -> Generator[bytes, bytes, apdu.Answer]:
    """Asks for them. Raises CardDataInvalid where the card asks for too much."""
    taken.pdol_data = dol.fill(taken.pdol, taken.values)
    answer = yield apdu.get_processing_options(taken.pdol_data)
    return apdu.read_short(answer)


def read_records(
    taken: Taken, *, until: Callable[[Objects], bool] = lambda _: False
) -> Generator[bytes, bytes, None]:
    """Reads what the file locator names, in its order, up to where `until` has enough. Raises CardDataInvalid."""
    locator = taken.objects.need("94")
    if taken.chosen.application.kernel == 2:
        locator = without_magnetic_stripe(locator)
    taken.entries = parse_afl(locator)
    for sfi, number in (place for entry in taken.entries for place in entry_records(entry)):
        if until(taken.objects):
            return
        answer = apdu.read_short((yield apdu.read_record(sfi, number)))
        if answer.sw != apdu.OK:
            raise CardDataInvalid(f"record {number} of file {sfi} cannot be read ({answer.sw:04X})")
        taken.records[sfi, number] = answer.data
        taken.objects.add_all(record_objects(answer.data, sfi))


def card_of(taken: Taken) -> CardRead:
    """Who the card is. Raises CardDataInvalid."""
    objects = taken.objects
    pan, track = pan_of(objects), objects.get("57")
    track_2 = track.hex().upper().rstrip("F") if track else None
    expiry = (objects.get("5F24") or b"").hex()[:4] or (track_2 or "").partition("D")[2][:4]
    if len(expiry) != 4 or not expiry.isdecimal():
        raise CardDataInvalid("the card gave no date of expiry")
    par, sequence = objects.get("9F24"), objects.get("5F34")
    return CardRead(
        aid=taken.aid.hex().upper(),
        kernel=taken.chosen.application.kernel,
        label=taken.label,
        number=CardNumber(pan, expiry=expiry, track_2=track_2),
        par=_par(par) if par else None,
        sequence=int(sequence.hex()) if sequence and sequence.hex().isdecimal() else None,
    )


def _par(value: bytes) -> str | None:
    text = value.decode("ascii", "replace")
    return text if len(text) == _PAR_CHARACTERS and text.isascii() and text.isalnum() else None


def _text(value: bytes, longest: int) -> str:
    text = value.decode("latin-1")[:longest]
    return text if text.isprintable() else ""
