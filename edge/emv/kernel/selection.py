"""Which application of a card is taken: PPSE and the candidate list, EMV Contactless Book B, 3.3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from edge.emv import tlv
from edge.emv.errors import CardDataInvalid
from edge.emv.kernel.terminal import Application

PPSE: Final = b"2PAY.SYS.DDF01"
PSE: Final = b"1PAY.SYS.DDF01"

#: Phones carry a handful; the directory has to fit into one answer anyway.
ENTRIES_MAX: Final = 40

#: A candidate costs a driver two commands; who has more cards than this on one chip holds another one.
CANDIDATES_MAX: Final = 8

_AID_BYTES: Final = range(5, 17)
_KERNELS: Final = {bytes.fromhex("A000000003"): 3, bytes.fromhex("A000000004"): 2}

#: Kernel identifiers of two bits 00 are EMVCo's numbers (Book B, 3.3.2.5); others are a country's.
_INTERNATIONAL: Final = 0x00


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An application of the card that this terminal takes. `name` is its ADF name, `extended` what is appended."""

    name: bytes
    priority: int
    application: Application
    extended: bytes = b""


def kernel_of(aid: bytes) -> int | None:
    """The kernel that a scheme's cards are for, 2 or 3."""
    return _KERNELS.get(aid[:5])


def kernel_named(identifier: bytes | None) -> int | None:
    """The kernel that a card asks for (9F2A); None where it leaves that to the terminal."""
    if not identifier or identifier[0] >> 6 != _INTERNATIONAL:
        return None
    return identifier[0] & 0x3F or None


def candidates(directory: bytes, supported: Sequence[Application]) -> tuple[Candidate, ...]:
    """What may be tried of the card's directory, best first: by priority (87), then as the card lists them.

    An entry that is broken is skipped. Raises CardDataInvalid, TlvError where the directory is.
    """
    found: list[Candidate] = []
    for entry in _entries(directory)[:ENTRIES_MAX]:
        name = tlv.find((entry,), "4F") or b""
        if len(name) not in _AID_BYTES:
            continue
        wanted = kernel_named(tlv.find((entry,), "9F2A"))
        for application in supported:
            # a kernel that this terminal takes the scheme's cards with must be the one that the card asks for
            if name.startswith(application.aid) and wanted in (None, application.kernel):
                found.append(
                    Candidate(
                        name=name,
                        priority=_priority(tlv.find((entry,), "87")),
                        application=application,
                        extended=_extension(entry, name, application),
                    )
                )
                break
    return tuple(sorted(found, key=lambda each: each.priority)[:CANDIDATES_MAX])


def _entries(directory: bytes) -> list[tlv.Tlv]:
    template = tlv.parse(directory)
    if len(template) != 1 or template[0].tag != "6F":
        raise CardDataInvalid("a payment environment that is no template 6F")
    return [each for each in template[0].walk() if each.tag == "61"]


def _priority(indicator: bytes | None) -> int:
    """1 is the best; 0 and none at all come last."""
    return (indicator[0] & 0x0F if indicator else 0) or 16


def _extension(entry: tlv.Tlv, name: bytes, application: Application) -> bytes:
    extension = tlv.find((entry,), "9F29") or b""
    if not application.extended_selection or len(name) + len(extension) > _AID_BYTES[-1]:
        return b""
    return extension
