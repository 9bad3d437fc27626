"""Kernel 2 (Mastercard): records, then one GENERATE AC with a combined signature. EMV Contactless Book C-2.

EMV mode only. Not used: the relay resistance protocol, data storage, balance reading, torn transaction recovery
(a card that was torn away is simply asked anew; nothing was captured yet).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from edge.emv import apdu, dol
from edge.emv.errors import CardDataInvalid, NotAuthentic
from edge.emv.kernel import de55
from edge.emv.kernel.answers import (
    CryptogramType,
    add_options,
    cryptogram,
    cryptogram_type,
    without_signature,
)
from edge.emv.kernel.checks import (
    CDA_FAILED,
    CVM_FAILED,
    ICC_DATA_MISSING,
    ODA_NOT_PERFORMED,
    Results,
    Verification,
    restrictions,
    verification,
)
from edge.emv.kernel.outcome import (
    Approved,
    Declined,
    EndApplication,
    OnlineRequest,
    Outcome,
    SeePhone,
    SelectNext,
    TryAnotherInterface,
    Why,
)
from edge.emv.kernel.reading import Taken, card_of, processing_options, read_records
from edge.emv.objects import Objects
from edge.emv.oda.chain import AIP_CDA, AIP_ON_DEVICE_CVM, Verdict
from edge.emv.oda.keys import PublicKey
from edge.emv.oda.signatures import check_combined

#: Application interchange profile, second byte: the card can do EMV mode, not only magnetic stripe (Book C-2).
_AIP_EMV_MODE: Final = 0x80

#: GENERATE AC, P1.
_ASK: Final[dict[CryptogramType, int]] = {"AAC": 0x00, "TC": 0x40, "ARQC": 0x80}
_ASK_COMBINED: Final = 0x10

#: A card may answer with what was asked for or with less, never with more (Book 3, 9.3).
_RANK: Final[dict[CryptogramType, int]] = {"AAC": 0, "ARQC": 1, "TC": 2}

#: Issuer action codes that a card leaves out: nothing is denied, everything asks online (Book 3, 10.7).
_NONE: Final = bytes(5)
_ALL: Final = b"\xff" * 5

#: POS cardholder interaction information (DF4B): the phone needs its owner first (Book C-2, annex A).
_PHONE_WAITS: Final = 0x000F01

#: What an EMV mode card has to give (Book C-2, 5.4).
_MANDATORY: Final = ("5A", "5F24", "8C")


def run(taken: Taken) -> Generator[bytes, bytes, Outcome | SelectNext]:
    """From processing options to the outcome. Raises CardDataInvalid, TlvError."""
    answer = yield from processing_options(taken)
    if answer.sw == 0x6985:
        return SelectNext(why="not_accepted", detail="conditions of use not satisfied")
    if answer.sw != apdu.OK:
        return EndApplication(why="not_accepted", detail=f"processing options: {answer.sw:04X}")
    objects = taken.objects
    add_options(answer.data, objects)
    if not objects.need("82")[1] & _AIP_EMV_MODE:
        return EndApplication(why="not_accepted", detail="a magnetic stripe card")
    if _above_limit(taken):
        return SelectNext(why="limit")
    yield from read_records(taken)
    for tag in _MANDATORY:
        objects.need(tag)
    key, proof = _card_key(taken)
    holder = verification(taken)
    results = _results(taken, proof, holder)
    asked = _decide(taken, results)
    taken.values |= {"95": results.value, "9F34": holder.results}
    p1 = _ASK[asked] | (_ASK_COMBINED if key is not None and asked != "AAC" else 0)
    cdol_data = dol.fill(dol.parse(objects.need("8C")), objects.values() | taken.values)
    answer = apdu.read_short((yield apdu.generate_ac(p1, cdol_data)))
    if answer.sw != apdu.OK:
        return EndApplication(why="not_accepted", detail=f"GENERATE AC: {answer.sw:04X}")
    said = cryptogram(answer.data)
    decided = cryptogram_type(said)
    if decided is None or _RANK[decided] > _RANK[asked]:
        raise CardDataInvalid("a cryptogram of a kind that was not asked for")
    if decided == "AAC":
        return _no(taken, said, results, proof)
    if p1 & _ASK_COMBINED:
        assert key is not None
        try:
            said = _combined(taken, answer.data, said, cdol_data, key)
        except NotAuthentic as e:
            return Declined(why="not_genuine", detail=e.message, card=card_of(taken))
        proof = Verdict(method="CDA", result="valid")
    return _yes(taken, said, proof, holder, decided)


def _above_limit(taken: Taken) -> bool:
    application, on_device = taken.chosen.application, taken.objects.need("82")[0] & AIP_ON_DEVICE_CVM
    limit = application.device_limit_minor if on_device else application.transaction_limit_minor
    return limit is not None and taken.purchase.amount_minor > limit


def _card_key(taken: Taken) -> tuple[PublicKey | None, Verdict]:
    """The key that the combined signature is checked with, recovered while nothing is decided yet."""
    if not taken.objects.need("82")[0] & AIP_CDA:
        reason = "the card offers no combined signature"
        return None, Verdict(method="none", result="not_performed", reason=reason)
    try:
        key = taken.chain().card()
    except (CardDataInvalid, NotAuthentic) as e:
        return None, Verdict(method="CDA", result="invalid", reason=e.message)
    return key, Verdict(method="CDA", result="not_performed", reason="the card gave no combined signature")


def _results(taken: Taken, proof: Verdict, holder: Verification) -> Results:
    results = Results()
    results.mark(*restrictions(taken), *holder.flags)
    if proof.method == "none":
        results.mark(ODA_NOT_PERFORMED)
    elif proof.result == "invalid":
        results.mark(CDA_FAILED)
        if any(tag not in taken.objects for tag in ("8F", "90", "9F32", "9F46", "9F47")):
            results.mark(ICC_DATA_MISSING)
    return results


def _decide(taken: Taken, results: Results) -> CryptogramType:
    """Terminal action analysis (Book 3, 10.7)."""
    application, objects = taken.chosen.application, taken.objects
    if results.meet(application.action_denial, _code(objects, "9F0E", _NONE)):
        return "AAC"
    if taken.terminal.online_only:
        return "ARQC"
    if results.meet(application.action_online, _code(objects, "9F0F", _ALL)):
        return "ARQC"
    return "TC"


def _code(objects: Objects, tag: str, default: bytes) -> bytes:
    value = objects.get(tag)
    return value if value is not None and len(value) == len(default) else default


def _combined(taken: Taken, answer: bytes, said: Objects, cdol_data: bytes, key: PublicKey) -> Objects:
    """The answer with the cryptogram out of its signature. Raises NotAuthentic."""
    try:
        signature, information = said.need("9F4B"), said.need("9F27")
        conversation = taken.pdol_data + cdol_data + without_signature(answer)
    except CardDataInvalid as e:
        raise NotAuthentic(e.message) from e
    found = check_combined(
        signature,
        key,
        unpredictable_number=taken.purchase.unpredictable_number,
        conversation=conversation,
        cid=information[0],
    )
    said.add("9F26", found.cryptogram)
    return said


def _no(taken: Taken, said: Objects, results: Results, proof: Verdict) -> Outcome:
    interaction = int.from_bytes(said.get("DF4B") or b"", "big")
    if interaction & _PHONE_WAITS:
        return SeePhone()
    why: Why = "declined"
    if proof.result == "invalid":
        why = "not_genuine"
    elif results.meet(_flag(CVM_FAILED)):
        why = "verification"
        if taken.terminal.other_interface:
            return TryAnotherInterface(why=why)
    return Declined(why=why, detail=proof.reason or "" if why == "not_genuine" else "", card=card_of(taken))


def _flag(flag: tuple[int, int]) -> bytes:
    results = Results()
    results.mark(flag)
    return results.value


def _yes(
    taken: Taken, said: Objects, proof: Verdict, holder: Verification, decided: CryptogramType
) -> Outcome:
    for tag in ("9F26", "9F27", "9F36", "9F10"):
        said.need(tag)
    field = de55.build(taken.shown | taken.objects.values() | said.values() | taken.values)
    kind = Approved if decided == "TC" else OnlineRequest
    return kind(card=card_of(taken), oda=proof, verified="device" if holder.by_device else "none", de55=field)
