"""What a finished command means: certain yes, certain no, or doubt. Pure, and the only place that decides it."""

from __future__ import annotations

from edge.domain.identity import canonical_uid, is_random_uid
from edge.domain.terminal import (
    Answer,
    BankCard,
    Declined,
    Done,
    InDoubt,
    MemberCard,
    NoCard,
    OpenReceipts,
    Presented,
)
from hw.terminals.zvt import tlv
from hw.terminals.zvt.dialog import Heard
from hw.terminals.zvt.errors import TerminalRefused, TerminalSilent
from hw.terminals.zvt.message import ABORTED, Message
from hw.terminals.zvt.tlv import Tlv
from hw.terminals.zvt.values import NO_RECEIPT
from hw.terminals.zvt.words import CARD_UNREADABLE, OK, OPEN_RECEIPTS, meaning, reason

#: UIDs have these lengths (ISO/IEC 14443-3); terminals fill them with zeros to ten bytes.
_UID_LENGTHS = (4, 7, 10)


def declined(code: int) -> Declined:
    """A no with the terminal's result code."""
    return Declined(reason=reason(code), code=code, text=meaning(code))


def done(status: Message) -> Done:
    """What a good result says."""
    receipt_no = status.number("receipt_no")
    return Done(
        receipt_no=None if receipt_no == NO_RECEIPT else receipt_no,
        amount_minor=status.number("amount_minor"),
        trace_no=status.number("trace_no"),
        terminal_id=status.number("terminal_id"),
        card_name=status.text("card_name"),
    )


def succeeded(status: Message | None) -> bool:
    """True for a result that says yes (BMP 27 = 00)."""
    return status is not None and status.number("result_code") == OK


def money(heard: Heard, *, amount_minor: int | None = None, receipt: bool = False) -> Answer:
    """The answer to a command that moves money.

    `amount_minor`: the amount that the result must name, where it names one. `receipt`: True where a yes without
    a receipt number is none, because nothing could ever be done with it.
    """
    if heard.refused is not None:
        return declined(heard.refused)
    seen = done(heard.status) if heard.status is not None and succeeded(heard.status) else None
    if heard.torn:
        return InDoubt(why="the terminal contradicts itself", seen=seen)
    code = None if heard.status is None else heard.status.number("result_code")
    if code is not None and code != OK:
        return declined(code)
    if heard.lost is not None:
        return InDoubt(why=heard.lost, seen=seen)
    ended = _end_code(heard)
    if ended is not None and ended != OK:
        if seen is not None:
            return InDoubt(why=f"approved, then ended: {meaning(ended)}", seen=seen)
        return declined(ended)
    if seen is None:
        return InDoubt(why="the terminal ended without a result")
    if amount_minor is not None and seen.amount_minor not in (None, amount_minor):
        return InDoubt(why="the terminal names another amount", seen=seen)
    if receipt and seen.receipt_no is None:
        return InDoubt(why="the terminal names no receipt", seen=seen)
    return seen


def presented(heard: Heard, *, not_bank: tuple[str, ...]) -> Presented:
    """Who stood before the terminal. `not_bank`: prefixes of application ids that no bank issues."""
    _must_have_ended(heard)
    if heard.status is None or not succeeded(heard.status):
        code = None if heard.status is None else heard.status.number("result_code")
        code = _end_code(heard) if code is None else code
        if code is None or code == OK:
            return NoCard(reason="card_unreadable", code=CARD_UNREADABLE)
        return NoCard(reason=reason(code), code=code)
    objects = heard.status.tlv
    uid = _uid(objects)
    applications = [aid.hex().upper() for aid in tlv.every(objects, "43")]
    striped = "track_2" in heard.status.fields or "pan" in heard.status.fields
    if striped or any(not aid.startswith(not_bank) for aid in applications):
        return BankCard(
            token=_hex(objects, "1F14"),
            par=_hex(objects, "4E"),
            uid=None if uid is None or is_random_uid(uid) else canonical_uid(uid),
        )
    if uid is None:
        return NoCard(reason="card_unreadable", code=CARD_UNREADABLE)
    return MemberCard(uid=uid)


def open_receipts(heard: Heard) -> OpenReceipts:
    """The answer to 06 23 with 87 FFFF. A terminal that does not know the question tells of no hold and is not
    complete. Raises TerminalSilent; TerminalRefused where it is busy.
    """
    if heard.lost is not None:
        raise TerminalSilent(heard.lost)
    code = heard.refused if heard.refused is not None else _end_code(heard)
    if code is not None and reason(code) == "terminal_busy":
        raise TerminalRefused(meaning(code), reason_code=code)
    end = heard.end
    if end is None or end.command != ABORTED or code != OPEN_RECEIPTS:
        return OpenReceipts(numbers=(), complete=False)
    listed = end.fields.get("open_receipts")
    numbers = {n for n in listed if isinstance(n, int)} if isinstance(listed, list) else set()
    first = end.number("receipt_no")
    complete = bool(numbers) or first == NO_RECEIPT
    if first is not None and first != NO_RECEIPT:
        numbers.add(first)
    return OpenReceipts(numbers=tuple(sorted(numbers)), complete=complete)


def must_be_taken(heard: Heard, what: str) -> None:
    """For a command that moves no money. Raises TerminalSilent, TerminalRefused where it was not carried out."""
    _must_have_ended(heard)
    code = _end_code(heard)
    if code is not None and code != OK:
        raise TerminalRefused(f"{what}: {meaning(code)}", reason_code=code)


def _must_have_ended(heard: Heard) -> None:
    if heard.lost is not None:
        raise TerminalSilent(heard.lost)
    if heard.refused is not None:
        raise TerminalRefused(meaning(heard.refused), reason_code=heard.refused)


def _end_code(heard: Heard) -> int | None:
    """The code that the command ended with: of an abort, or of a completion that has one."""
    if heard.end is None:
        return None
    name = "error_code" if heard.end.command == ABORTED else "result_code"
    return heard.end.number(name)


def _uid(objects: tuple[Tlv, ...]) -> bytes | None:
    value = tlv.find(objects, "4C")
    if not value:
        return None
    plain = value.lstrip(b"\0")
    for length in _UID_LENGTHS:
        if len(plain) <= length <= len(value):
            return value[len(value) - length :]
    return value


def _hex(objects: tuple[Tlv, ...], tag: str) -> str | None:
    value = tlv.find(objects, tag)
    return value.hex().upper() if value else None
