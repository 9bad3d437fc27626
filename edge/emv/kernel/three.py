"""Kernel 3 (Visa): everything is in the answer to GET PROCESSING OPTIONS; records are read for fDDA only.

EMV Contactless Book C-3, 2.4 and 5. No GENERATE AC; the card decides by the terminal transaction qualifiers.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from edge.emv import apdu, dol
from edge.emv.errors import CardDataInvalid, NotAuthentic
from edge.emv.kernel import de55
from edge.emv.kernel.answers import CryptogramType, add_options, cryptogram_type
from edge.emv.kernel.checks import is_expired
from edge.emv.kernel.outcome import (
    Approved,
    Declined,
    EndApplication,
    OnlineRequest,
    Outcome,
    SeePhone,
    SelectNext,
    TryAnotherInterface,
    Verified,
)
from edge.emv.kernel.reading import Taken, card_of, processing_options, read_records
from edge.emv.kernel.terminal import wants_cvm, wants_online
from edge.emv.oda.chain import AIP_DDA, AIP_SDA, Method, Verdict, fast_dda_data
from edge.emv.oda.signatures import check_fast, check_static

#: What every answer has to hold (Book C-3, 5.4).
_MANDATORY: Final = ("82", "9F36", "9F26", "9F10", "57")

#: Card transaction qualifiers, 9F6C (Book C-3, annex A): first byte.
_WANTS_PIN: Final = 0x80
_WANTS_SIGNATURE: Final = 0x40
_ODA_FAILED_ONLINE: Final = 0x20
_ODA_FAILED_SWITCH: Final = 0x10
_EXPIRED_ONLINE: Final = 0x08
#: Second byte.
_DEVICE_CVM_DONE: Final = 0x80

#: Where card authentication related data (9F69) repeat the qualifiers.
_QUALIFIERS_AT: Final = 5

_INFORMATION: Final[dict[CryptogramType, bytes]] = {"AAC": b"\x00", "TC": b"\x40", "ARQC": b"\x80"}


def run(taken: Taken) -> Generator[bytes, bytes, Outcome | SelectNext]:
    """From processing options to the outcome. Raises CardDataInvalid, TlvError."""
    if dol.Wanted("9F66", 4) not in taken.pdol:
        return SelectNext(why="not_accepted", detail="a card that does not ask for 9F66")
    answer = yield from processing_options(taken)
    refused = _refused(answer)
    if refused is not None:
        return refused
    objects = taken.objects
    add_options(answer.data, objects)
    for tag in _MANDATORY:
        objects.need(tag)
    decided = cryptogram_type(objects)
    if decided is None:
        raise CardDataInvalid("a cryptogram of no known kind")
    if decided == "AAC":
        return Declined(why="declined", card=card_of(taken))
    if objects.get("94"):
        yield from read_records(taken)
    return _concluded(taken, decided)


def _refused(answer: apdu.Answer) -> Outcome | SelectNext | None:
    match answer.sw:
        case apdu.OK:
            return None
        case 0x6984:
            return TryAnotherInterface(why="not_accepted", detail="the card wants its other interface")
        case 0x6985:
            return SelectNext(why="not_accepted", detail="conditions of use not satisfied")
        case 0x6986:
            return SeePhone()
        case _:
            return EndApplication(why="not_accepted", detail=f"processing options: {answer.sw:04X}")


def _concluded(taken: Taken, decided: CryptogramType) -> Outcome:
    """Dates, data authentication and holder, once the card may leave (Book C-3, 5.5 to 5.8)."""
    card = card_of(taken)
    switch = taken.terminal.other_interface
    proof = _proof(taken, decided)
    qualifiers = _qualifiers(taken)
    if proof.result == "invalid":
        if decided == "TC" and qualifiers & _ODA_FAILED_ONLINE << 8:
            decided = "ARQC"
        elif decided == "TC" and qualifiers & _ODA_FAILED_SWITCH << 8 and switch:
            return TryAnotherInterface(why="not_genuine", detail=proof.reason or "")
        else:
            return Declined(why="not_genuine", detail=proof.reason or "", card=card)
    if decided == "TC" and is_expired(taken.objects.get("5F24"), taken.purchase.day):
        if not qualifiers & _EXPIRED_ONLINE << 8:
            return Declined(why="expired", card=card)
        decided = "ARQC"
    verified = _verified(taken, decided, qualifiers)
    if verified is None:
        return TryAnotherInterface(why="verification") if switch else Declined(why="verification", card=card)
    if decided == "TC" and wants_online(taken.terminal, taken.purchase, taken.chosen.application):
        return Declined(why="not_accepted", detail="an offline approval that was not asked for", card=card)
    values = taken.shown | taken.objects.values() | taken.values
    values.setdefault("9F27", _INFORMATION[decided])
    kind = Approved if decided == "TC" else OnlineRequest
    return kind(card=card, oda=proof, verified=verified, de55=de55.build(values))


def _proof(taken: Taken, decided: CryptogramType) -> Verdict:
    """By fDDA where the card signed, or had to because it approves offline; else SDA for an offline approval."""
    objects, offers = taken.objects, taken.objects.need("82")[0]
    try:
        if "9F4B" in objects or (decided == "TC" and offers & AIP_DDA):
            check_fast(
                objects.need("9F4B"),
                taken.chain().card(),
                terminal_data=fast_dda_data(objects, dol.split(taken.pdol, taken.pdol_data)),
                counter=objects.get("9F36"),
                online=decided == "ARQC",
            )
            return Verdict(method="fDDA", result="valid")
        if decided == "TC" and offers & AIP_SDA:
            chain = taken.chain()
            check_static(objects.need("93"), chain.issuer(), static=chain.static)
            return Verdict(method="SDA", result="valid")
    except (CardDataInvalid, NotAuthentic) as e:
        method: Method = "fDDA" if "9F4B" in objects or offers & AIP_DDA else "SDA"
        return Verdict(method=method, result="invalid", reason=e.message)
    if decided == "TC":
        return Verdict(method="none", result="invalid", reason="the card approves without any proof")
    return Verdict(method="none", result="not_performed", reason="the card gave no signature (9F4B)")


def _qualifiers(taken: Taken) -> int:
    value = taken.objects.get("9F6C")
    return int.from_bytes(value, "big") if value is not None and len(value) == 2 else 0


def _verified(taken: Taken, decided: CryptogramType, qualifiers: int) -> Verified | None:
    """How the holder was verified; None where he would have to be in a way that is not possible here."""
    if qualifiers & _DEVICE_CVM_DONE and _is_vouched(taken, decided, qualifiers):
        return "device"
    if qualifiers & (_WANTS_PIN | _WANTS_SIGNATURE) << 8:
        return None
    if qualifiers & _DEVICE_CVM_DONE:
        return None
    return None if wants_cvm(taken.purchase, taken.chosen.application) else "none"


def _is_vouched(taken: Taken, decided: CryptogramType, qualifiers: int) -> bool:
    """A device CVM counts where the signed data repeat it, or where the issuer will look at it (Book C-3, 5.7)."""
    related = taken.objects.get("9F69")
    if related:
        repeated = related[_QUALIFIERS_AT : _QUALIFIERS_AT + 2]
        return int.from_bytes(repeated, "big") == qualifiers and len(repeated) == 2
    return decided == "ARQC"
