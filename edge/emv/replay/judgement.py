"""What a transcript proves: the application, how the card authenticated itself, and what it decided.

Which method was used is told by what the card gave, not by what it says that it offers: a transcript in which that
was changed is still checked against what was signed. Book 2, 6.6: a signature that was asked for and is not there
has failed; one that could not be asked for yet, because the transcript ends, was not performed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Final

import msgspec

from edge.emv import apdu, dol, tlv
from edge.emv.errors import CardDataInvalid, NotAuthentic
from edge.emv.kernel.answers import (
    CryptogramType,
    add_options,
    cryptogram,
    cryptogram_type,
    dynamic_signature,
    without_signature,
)
from edge.emv.kernel.selection import kernel_of
from edge.emv.objects import Objects
from edge.emv.oda.certificates import two_digit_year
from edge.emv.oda.chain import (
    AIP_CDA,
    AIP_DDA,
    AIP_SDA,
    Chain,
    Method,
    Verdict,
    fast_dda_data,
    pan_of,
)
from edge.emv.oda.files import (
    Entry,
    entry_records,
    parse_afl,
    record_objects,
    static_data,
    without_magnetic_stripe,
)
from edge.emv.oda.keys import CaKeys, PublicKey
from edge.emv.oda.signatures import check_combined, check_dynamic, check_fast, check_static
from edge.emv.pan import PAN_MIN, truncate
from edge.emv.replay.transcript import Exchange, Spoken, Transcript, applications
from edge.errors import InputError

#: GENERATE AC, P1: a combined signature is asked for.
_CDA_ASKED: Final = 0x10

#: Book C-2, 5.3: what is signed besides where the relay resistance protocol was used.
_RELAY_BYTES: Final = 14


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `emv replay`. `pan` is truncated; what the transcript does not tell is None."""

    aid: str | None
    kernel: int | None
    oda: Verdict
    cryptogram_type: CryptogramType | None
    pan: str | None


class _Open(Exception):
    """The transcript does not go far enough to tell."""


class _Case:
    """One application's part of the transcript, taken apart."""

    def __init__(self, spoken: Spoken, keys: CaKeys) -> None:
        self.spoken = spoken
        self.keys = keys
        self.kernel = spoken.kernel or kernel_of(spoken.aid)
        self.objects = Objects(strict=False)
        self.entries: tuple[Entry, ...] = ()
        self.missing: tuple[int, int] | None = None

    def gather(self) -> None:
        """Take in what the card said up to its records. Raises _Open, CardDataInvalid, TlvError."""
        options = self.spoken.options
        if options is None:
            raise _Open("the transcript ends before GET PROCESSING OPTIONS")
        if not options.ok:
            raise _Open(f"the card refused GET PROCESSING OPTIONS ({options.answer.sw:04X})")
        add_options(options.answer.data, self.objects)
        locator = self.objects.get("94")
        if not locator:
            return
        self.entries = parse_afl(locator)
        emv_mode = without_magnetic_stripe(locator) if self.kernel == 2 else locator
        needed = {place for entry in parse_afl(emv_mode) for place in entry_records(entry)}
        for place in (place for entry in self.entries for place in entry_records(entry)):
            answer = self.spoken.records.get(place)
            if answer is None or answer.sw != apdu.OK:
                if place in needed and self.missing is None:
                    self.missing = place
                continue
            sfi, number = place
            try:
                self.objects.add_all(record_objects(answer.data, sfi))
            except tlv.TlvError as e:
                raise CardDataInvalid(f"record {number} of file {sfi} is not BER-TLV: {e.what}") from e

    @property
    def aip(self) -> int:
        return self.objects.need("82")[0]

    def options_data(self) -> bytes:
        """The data of GET PROCESSING OPTIONS without their template."""
        assert self.spoken.options is not None
        sent = tlv.parse(self.spoken.options.command.data)
        if len(sent) != 1 or sent[0].tag != "83":
            raise CardDataInvalid("GET PROCESSING OPTIONS was sent without a template 83")
        return sent[0].value

    def options_values(self) -> dict[str, bytes]:
        wanted = tlv.find(tlv.parse(self.spoken.fci), "9F38") or b""
        return dol.split(dol.parse(wanted), self.options_data())

    def told(self, which: int) -> dict[str, bytes]:
        """What the card was told for GENERATE AC number `which`, and before."""
        values: dict[str, bytes] = {}
        for number, each in enumerate(self.spoken.cryptograms[: which + 1]):
            entries = dol.parse(self.objects.need("8D" if number else "8C"))
            values |= dol.split(entries, each.command.data)
        try:
            return self.options_values() | values
        except InputError:
            if "9F37" in values:  # then the options may have been asked for in any way that the card took
                return values
            raise

    def chain(self, on: date) -> Chain:
        records = {
            place: answer.data for place, answer in self.spoken.records.items() if answer.sw == apdu.OK
        }
        tag_list = self.objects.get("9F4A")
        static = static_data(self.entries, records, tag_list=tag_list, aip=self.objects.need("82"))
        return Chain(objects=self.objects, aid=self.spoken.aid, static=static, keys=self.keys, on=on)


def judge(transcript: Transcript, keys: CaKeys, *, at: date | None, today: date) -> Judgement:
    """The judgement on the last application that gave its processing options, one with a cryptogram before others.

    `at`: the day on which certificates have to be in force; else the day that the card was told, else `today`.
    """
    spoken = _chosen(applications(transcript))
    if spoken is None:
        ends = Verdict(method="none", result="not_performed", reason="no application was selected")
        return Judgement(aid=None, kernel=None, oda=ends, cryptogram_type=None, pan=None)
    case = _Case(spoken, keys)
    verdict = _verdict(case, lambda: at or _day_told(case) or today)
    if transcript.torn is not None and verdict.result == "valid":
        reason = f"the transcript is cut off in line {transcript.torn}"
        verdict = Verdict(method=verdict.method, result="not_performed", reason=reason)
    return Judgement(
        aid=spoken.aid.hex().upper(),
        kernel=case.kernel if case.kernel in (2, 3) else None,
        oda=verdict,
        cryptogram_type=_decision(case),
        pan=_pan(case),
    )


def _chosen(spoken: list[Spoken]) -> Spoken | None:
    def rank(each: Spoken) -> int:
        if each.options is None or not each.options.ok:
            return 0
        return 1 + bool(each.cryptograms)

    best = max(map(rank, spoken), default=0)
    return next((each for each in reversed(spoken) if rank(each) == best), None)


def _verdict(case: _Case, on: Callable[[], date]) -> Verdict:
    method: Method = "none"
    try:
        case.gather()
        method = _method(case)
        _CHECKS[method](case, on())
    except _Open as e:
        return Verdict(method=method, result="not_performed", reason=str(e))
    except InputError as e:
        return Verdict(
            method=method if method != "none" else _offered(case), result="invalid", reason=e.message
        )
    return Verdict(method=method, result="valid")


def _method(case: _Case) -> Method:
    """By what the card gave, else by what it offers."""
    objects = case.objects
    if case.spoken.cryptograms and (_signed(case) or _owed(case)):
        return "CDA"
    if case.spoken.proofs:
        return "DDA"
    if case.kernel == 3 and not case.spoken.cryptograms and ("9F4B" in objects or case.aip & AIP_DDA):
        return "fDDA"
    if "93" in objects and (case.spoken.cryptograms or case.kernel != 2):
        return "SDA"
    return _offered(case)


def _offered(case: _Case) -> Method:
    aip = (case.objects.get("82") or b"\0")[0]
    if aip & AIP_CDA and case.kernel != 3:
        return "CDA"
    if aip & AIP_DDA:
        return "fDDA" if case.kernel == 3 and not case.spoken.cryptograms else "DDA"
    return "SDA" if aip & AIP_SDA else "none"


def _signed(case: _Case) -> bool:
    return any("9F4B" in cryptogram(each.answer.data) for each in case.spoken.cryptograms)


def _owed(case: _Case) -> bool:
    """A combined signature was asked for, and the card did not decline."""
    return any(
        each.command.p1 & _CDA_ASKED and cryptogram_type(cryptogram(each.answer.data)) != "AAC"
        for each in case.spoken.cryptograms
    )


def _complete(case: _Case) -> None:
    """Records are read before anything is signed over them. Raises _Open."""
    if case.missing is not None:
        sfi, number = case.missing
        raise _Open(f"the transcript ends before record {number} of file {sfi} is read")


def _check_sda(case: _Case, on: date) -> None:
    if not case.spoken.cryptograms:
        _complete(case)
        if case.kernel == 2:
            raise _Open("the transcript ends before GENERATE AC")
    chain = case.chain(on)
    check_static(case.objects.need("93"), chain.issuer(), static=chain.static)


def _check_fdda(case: _Case, on: date) -> None:
    _complete(case)
    objects = case.objects
    if "9F4B" not in objects and "9F46" not in objects:
        raise _Open("the card gave no signature (9F4B) with its cryptogram")
    check_fast(
        objects.need("9F4B"),
        case.chain(on).card(),
        terminal_data=fast_dda_data(objects, case.options_values()),
        counter=objects.get("9F36"),
        online=cryptogram_type(objects) == "ARQC",
    )


def _check_dda(case: _Case, on: date) -> None:
    if not case.spoken.proofs:
        _complete(case)
        raise _Open("the transcript has no INTERNAL AUTHENTICATE")
    card = case.chain(on).card()
    for each in case.spoken.proofs:
        check_dynamic(dynamic_signature(each.answer.data), card, terminal_data=each.command.data)


def _check_cda(case: _Case, on: date) -> None:
    if not case.spoken.cryptograms:
        _complete(case)
        raise _Open("the transcript ends before GENERATE AC")
    if not _signed(case):
        if _owed(case):
            raise NotAuthentic("the card was asked for a combined signature (9F4B) and gave none")
        raise _Open("the card gave no combined signature (9F4B) with its cryptogram")
    card = case.chain(on).card()
    told = case.options_data()
    for number, each in enumerate(case.spoken.cryptograms):
        told += each.command.data
        _check_combined(case, number, each, told, card)
    if case.spoken.proofs:
        _check_dda(case, on)


def _check_combined(case: _Case, number: int, each: Exchange, told: bytes, card: PublicKey) -> None:
    objects = cryptogram(each.answer.data)
    if "9F4B" not in objects:
        if each.command.p1 & _CDA_ASKED and cryptogram_type(objects) != "AAC":
            raise NotAuthentic("the card was asked for a combined signature (9F4B) and gave none")
        return
    unpredictable = case.told(number).get("9F37")
    if not unpredictable:
        raise NotAuthentic("the card was told no unpredictable number (9F37)")
    found = check_combined(
        objects.need("9F4B"),
        card,
        unpredictable_number=unpredictable,
        conversation=told + without_signature(each.answer.data),
        cid=objects.need("9F27")[0],
    )
    if case.spoken.relay is not None:
        _check_relay(case.spoken.relay, found.rest)


def _check_relay(relay: Exchange, signed: bytes) -> None:
    """Entropy of both sides and the times that the card gave: Book C-2, 5.3."""
    answer = tlv.parse(relay.answer.data)
    given = relay.command.data + (answer[0].value if len(answer) == 1 else b"")
    if len(given) != _RELAY_BYTES or signed[:_RELAY_BYTES] != given:
        raise NotAuthentic("the combined signature is for another relay resistance exchange")


def _check_none(_case: _Case, _on: date) -> None:
    raise _Open("the card offers no offline data authentication")


_CHECKS: Final[dict[Method, Callable[[_Case, date], None]]] = {
    "none": _check_none,
    "SDA": _check_sda,
    "DDA": _check_dda,
    "fDDA": _check_fdda,
    "CDA": _check_cda,
}


def _decision(case: _Case) -> CryptogramType | None:
    """What the card decided last."""
    if not case.spoken.cryptograms:
        return cryptogram_type(case.objects)
    try:
        return cryptogram_type(cryptogram(case.spoken.cryptograms[-1].answer.data))
    except InputError:
        return None


def _pan(case: _Case) -> str | None:
    """The truncated number; of a Mastercard in magnetic stripe mode it stands in its track 2 data (9F6B)."""
    try:
        return truncate(pan_of(case.objects))
    except CardDataInvalid:
        stripe = (case.objects.get("9F6B") or b"").hex().upper().partition("D")[0]
        return (
            truncate(stripe) if case.kernel == 2 and len(stripe) >= PAN_MIN and stripe.isdecimal() else None
        )


def _day_told(case: _Case) -> date | None:
    """The day of the transcript, from 9A."""
    try:
        told = (
            case.told(len(case.spoken.cryptograms) - 1) if case.spoken.cryptograms else case.options_values()
        )
        text = told.get("9A", b"").hex()
        return date(two_digit_year(int(text[:2])), int(text[2:4]), int(text[4:]))
    except (InputError, ValueError):
        return None
