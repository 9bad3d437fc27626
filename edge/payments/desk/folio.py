"""What the desk knows of one payment, and what the terminal's books prove of it. Pure.

A folio stands in the journal as the payment's handle. It is written before a command goes out, so that a power cut
leaves behind what was asked for and what the terminal's last step was before that. Receipt numbers and amounts in
minor units only: nothing here identifies a card.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, assert_never

import msgspec

from edge.domain.payment import OpenPayment
from edge.domain.terminal import Done, OpenReceipts
from edge.errors import TillError


class FolioUnreadable(TillError):
    """A payment's handle in the journal was not written by this desk."""

    code = "payment.handle_unreadable"
    hint = "the payment belongs to another version of the till, or to another way to pay"


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """The terminal's last step, by the numbers that it counts steps with."""

    receipt_no: int | None = None
    trace_no: int | None = None


class Unsent(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The reservation has not gone out: nothing is held."""


class Reserving(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """A reservation went out. `after`: the terminal's last step before it; None where that proves nothing (any
    more). `beside`: receipts that were open then and belong to nobody. `receipt_no`, `said_minor`: what was heard.
    """

    requested_minor: int
    after: Mark | None = None
    beside: tuple[int, ...] = ()
    receipt_no: int | None = None
    said_minor: int | None = None


class Held(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Money is held. `hold_minor` is None where the terminal named two amounts: such a hold is given back."""

    receipt_no: int
    hold_minor: int | None


class Ending(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """A capture of `amount_minor`, or a reversal (0), went out. `doubted`: an earlier one did, unproven."""

    receipt_no: int
    hold_minor: int | None
    amount_minor: int
    after: Mark | None = None
    doubted: bool = False


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """The hold is gone. `assumed`: no proof of how, only that a command for it had gone out."""

    how: Literal["captured", "reversed", "expired"]
    amount_minor: int = 0
    reason: str = ""
    assumed: bool = False


class Void(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """No hold came of the reservation."""

    reason: str


Folio = Unsent | Reserving | Held | Ending | Ended | Void


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A folio as the journal keeps it, and the terminal that it was written for: receipt numbers mean something at
    one terminal only. `at` is None where nothing has been written yet.
    """

    folio: Folio
    at: str | None = None


def encode(folio: Folio, *, at: str) -> str:
    """A payment's handle."""
    return msgspec.json.encode(Entry(folio, at)).decode()


def read(payment: OpenPayment) -> Folio:
    """The folio of a payment, by what the journal says. Raises FolioUnreadable."""
    return entry(payment).folio


def entry(payment: OpenPayment) -> Entry:
    """A payment's folio, and whose it is. Raises FolioUnreadable."""
    if payment.handle is None:
        return Entry(Unsent())
    try:
        found = msgspec.json.decode(payment.handle, type=Entry)
    except msgspec.MsgspecError as e:
        raise FolioUnreadable(f"payment {payment.ref}: its handle is no folio") from e
    match found.folio:
        case Reserving(receipt_no=int() as number) if payment.hold_minor is not None:
            held = Held(receipt_no=number, hold_minor=payment.hold_minor)  # the answer has been heard
            return Entry(held, found.at)
        case _:
            return found


def receipt_no(folio: Folio) -> int | None:
    """The terminal's number for the hold, where there may be one."""
    match folio:
        case Reserving(receipt_no=number) | Held(receipt_no=number) | Ending(receipt_no=number):
            return number
        case Unsent() | Ended() | Void():
            return None
        case _:
            assert_never(folio)


def mark(done: Done) -> Mark | None:
    """The step that a result speaks of; None where it has no number."""
    if done.receipt_no is None and done.trace_no is None:
        return None
    return Mark(done.receipt_no, done.trace_no)


def spent(folio: Folio) -> Folio | None:
    """The folio once another command goes out: what the terminal did last says nothing of it any more. None where
    that changes nothing.
    """
    if isinstance(folio, Reserving | Ending) and folio.after is not None:
        return msgspec.structs.replace(folio, after=None)
    return None


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What the terminal's books prove: folios that are clear now, and receipts that belong to nobody."""

    folios: dict[str, Folio]
    orphans: frozenset[int]


def compare(
    folios: Mapping[str, Folio],
    found: OpenReceipts,
    last: Done | None,
    *,
    orphans: Iterable[int],
    assume: bool = True,
) -> Findings:
    """Every folio in doubt against the terminal's open receipts and its last step.

    `last` is None where the terminal does not tell it; with `assume` a hold that is gone was then ended by the command
    that is in doubt. A folio of which nothing is known is not among the findings. `orphans` are those known before;
    where the list is not complete they are believed to be still there.
    """
    listed = frozenset(found.numbers)
    clear: dict[str, Folio] = {}
    unmatched = listed - {receipt_no(folio) for folio in folios.values()}
    lost = [ref for ref, folio in folios.items() if isinstance(folio, Reserving) and folio.receipt_no is None]
    for ref, folio in folios.items():
        verdict: Folio | None = None
        match folio:
            case Reserving(receipt_no=None) if len(lost) == 1:
                verdict = _lost(folio, unmatched - frozenset(folio.beside), found, last)
            case Reserving(receipt_no=int()):
                verdict = _noted(folio, found, last)
            case Ending():
                verdict = _ending(folio, found, last)
                if isinstance(verdict, Ended) and verdict.assumed and not assume:
                    verdict = None
            case _:
                pass
        if verdict is not None:
            clear[ref] = verdict
            unmatched -= {receipt_no(verdict)}
    nobodys = unmatched if found.complete else unmatched | frozenset(orphans)
    for ref in lost:
        if ref not in clear:  # one of the others may be the one that is in doubt
            folio = folios[ref]
            beside = folio.beside if isinstance(folio, Reserving) else ()
            nobodys &= frozenset(orphans) | frozenset(beside)
    return Findings(folios=clear, orphans=nobodys)


def _stepped(after: Mark | None, last: Done | None) -> bool | None:
    """Whether the terminal has done anything since; None where nothing tells."""
    now = None if last is None else mark(last)
    if after is None or now is None:
        return None
    pairs = ((after.receipt_no, now.receipt_no), (after.trace_no, now.trace_no))
    common = [(a, b) for a, b in pairs if a is not None and b is not None]
    return any(a != b for a, b in common) if common else None


def _lost(
    folio: Reserving, candidates: frozenset[int], found: OpenReceipts, last: Done | None
) -> Folio | None:
    """A reservation whose number was never heard."""
    if last is not None and last.receipt_no in candidates:
        assert last.receipt_no is not None
        return _held(folio, last.receipt_no, last)
    stepped = _stepped(folio.after, last)
    if stepped is False:
        return Void(reason="cancelled")
    if len(candidates) == 1:
        return _held(folio, min(candidates), last)
    if candidates:
        return None
    if found.complete:
        return Void(reason="cancelled")
    if stepped and last is not None and last.amount_minor == folio.requested_minor and last.receipt_no:
        return _held(folio, last.receipt_no, last)
    return None


def _noted(folio: Reserving, found: OpenReceipts, last: Done | None) -> Folio | None:
    """A reservation whose number was heard, and its end was not."""
    assert folio.receipt_no is not None
    if folio.receipt_no in found.numbers:
        return _held(folio, folio.receipt_no, last)
    if found.complete or _stepped(folio.after, last) is False:
        return Void(reason="cancelled")
    return _held(folio, folio.receipt_no, last) if last and last.receipt_no == folio.receipt_no else None


def _held(folio: Reserving, number: int, last: Done | None) -> Held:
    """The hold, with the amount that two of three name: who asked, the result, and the last step. More than was asked
    for is never believed.
    """
    again = last.amount_minor if last is not None and last.receipt_no == number else None
    named = [each for each in (folio.requested_minor, folio.said_minor, again) if each is not None]
    most = max(named, key=named.count)
    sure = most <= folio.requested_minor and (len(named) == 1 or named.count(most) > 1)
    return Held(receipt_no=number, hold_minor=most if sure else None)


def _ending(folio: Ending, found: OpenReceipts, last: Done | None) -> Folio | None:
    if folio.receipt_no in found.numbers:
        return Held(receipt_no=folio.receipt_no, hold_minor=folio.hold_minor)
    match _stepped(folio.after, last):
        case True:
            return ended(folio.amount_minor)
        case False if not folio.doubted:
            if found.complete:
                return gone(folio, reason="hold_unknown")
            return Held(receipt_no=folio.receipt_no, hold_minor=folio.hold_minor)
        case _:
            return ended(folio.amount_minor, assumed=True) if found.complete else None


def ended(amount_minor: int, *, assumed: bool = False) -> Ended:
    """What a capture, or a reversal (0), leaves behind."""
    return Ended(how="captured" if amount_minor else "reversed", amount_minor=amount_minor, assumed=assumed)


def gone(folio: Ending, *, reason: str) -> Ended:
    """The terminal has no such hold. Where a capture is in doubt that is what ended it, else it ended by itself."""
    if folio.doubted or not folio.amount_minor:
        return ended(folio.amount_minor, assumed=folio.doubted)
    return Ended(how="expired", reason=reason)
