"""Which records a card wants to be read, and which of them it vouches for: AFL, EMV Book 3, 10.2 and 10.3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from edge.emv import tlv
from edge.emv.errors import CardDataInvalid, NotAuthentic
from edge.emv.objects import inside
from edge.emv.tlv import TlvError

#: Cards have about ten; each costs a driver some 20 ms of holding still.
RECORDS_MAX: Final = 32

_SFI_MAX: Final = 30

_MAGNETIC_STRIPE: Final = bytes.fromhex("08010100")

#: Up to here the template's own bytes are not vouched for.
_SFI_EMV_MAX: Final = 10


class Entry(msgspec.Struct, frozen=True):
    """Records `first` to `last` of a file; the card vouches for the first `signed` of them."""

    sfi: int
    first: int
    last: int
    signed: int


def parse_afl(data: bytes) -> tuple[Entry, ...]:
    """The entries of an application file locator. Raises CardDataInvalid."""
    if not data or len(data) % 4:
        raise CardDataInvalid(f"a file locator (94) of {len(data)} bytes")
    entries = []
    for at in range(0, len(data), 4):
        sfi, first, last, signed = data[at] >> 3, *data[at + 1 : at + 4]
        if data[at] & 7 or not 1 <= sfi <= _SFI_MAX or not 1 <= first <= last or signed > last - first + 1:
            raise CardDataInvalid(f"entry {at // 4 + 1} of the file locator (94) names no records")
        entries.append(Entry(sfi, first, last, signed))
    places = [place for entry in entries for place in entry_records(entry)]
    if len(places) > RECORDS_MAX:
        raise CardDataInvalid(f"a file locator (94) of more than {RECORDS_MAX} records")
    if len(set(places)) != len(places):
        raise CardDataInvalid("a file locator (94) that names a record twice")
    return tuple(entries)


def without_magnetic_stripe(data: bytes) -> bytes:
    """The locator without the record that is for magnetic stripe mode only, which EMV mode leaves unread (Book C-2,
    3.7: a locator that begins with record 1 of file 1, unsigned).
    """
    return data.removeprefix(_MAGNETIC_STRIPE) or data


def entry_records(entry: Entry) -> Iterator[tuple[int, int]]:
    """File and number of each record, in the order in which they are read."""
    return ((entry.sfi, number) for number in range(entry.first, entry.last + 1))


def record_objects(record: bytes, sfi: int) -> tuple[tlv.Tlv, ...]:
    """What a record holds: in EMV's own files a template 70 (Book 3, 6.5.11.4). Raises CardDataInvalid, TlvError."""
    return inside(record, "70") if sfi <= _SFI_EMV_MAX else tlv.parse(record)


def static_data(
    entries: tuple[Entry, ...],
    records: Mapping[tuple[int, int], bytes],
    *,
    tag_list: bytes | None,
    aip: bytes,
) -> bytes:
    """The static data to be authenticated. `tag_list` is 9F4A, which may name the AIP only. Raises NotAuthentic."""
    parts = []
    for entry in entries:
        for sfi, number in list(entry_records(entry))[: entry.signed]:
            record = records.get((sfi, number))
            if record is None:
                raise NotAuthentic(f"record {number} of file {sfi}, which is signed, was not read")
            parts.append(_vouched(record, sfi, number))
    if tag_list:
        if tag_list != b"\x82":
            raise NotAuthentic("the list of signed objects (9F4A) names others than the AIP (82)")
        parts.append(aip)
    return b"".join(parts)


def _vouched(record: bytes, sfi: int, number: int) -> bytes:
    try:
        objects = tlv.parse(record)
    except TlvError as e:
        raise NotAuthentic(f"record {number} of file {sfi}, which is signed, is not BER-TLV") from e
    if len(objects) != 1 or objects[0].tag != "70" or record[0] != 0x70:
        raise NotAuthentic(f"record {number} of file {sfi}, which is signed, is no template 70")
    return objects[0].value if sfi <= _SFI_EMV_MAX else record
