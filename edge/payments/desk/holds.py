"""The holds of one terminal: taken, ended, and brought to certainty after doubt. One command at a time.

What goes out is in the journal before it goes (edge.payments.desk.folio). After any doubt the terminal is asked for
its open receipts and its last step before it gets another money command; a reservation that stays in doubt even so
keeps new ones away, and everything else goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final, assert_never

import msgspec

from edge import log
from edge.domain.payment import Authorized, Captured, Declined, Expired, InDoubt, Reversed
from edge.domain.terminal import Answer, Done, OpenReceipts, Reason
from edge.domain.terminal import Declined as No
from edge.domain.terminal import InDoubt as Doubt
from edge.errors import HardwareError
from edge.payments.desk.folio import (
    Ended,
    Ending,
    Held,
    Reserving,
    Unsent,
    Void,
    compare,
    ended,
    gone,
)
from edge.payments.desk.folios import Folios
from edge.payments.desk.last_step import LastStep
from edge.ports import PaymentJournal, PaymentTerminal

#: How long a driver at the terminal is kept waiting for certainty: a terminal that only lost its connection is back
#: within seconds, one that restarts takes minutes.
RESOLVE_S: Final = 20.0
_RETRY_S: Final = 1.0

#: A hold whose end is proven not to have happened is ended again at once so often; then it is the caller's turn.
_TRIES: Final = 3

#: Holds that are nobody's, beside which new ones are taken: a mishap leaves a few behind. A folio names them all.
ORPHANS_MAX: Final = 100

#: What a terminal says of a hold that it does not have (any more).
_GONE: Final = frozenset(("receipt_unknown", "already_reversed"))


class Holds:
    """The money side of the desk. Its methods run one after another, never two at once.

    `name` is the terminal's: the journal holds the payments of the others as well.
    """

    def __init__(self, terminal: PaymentTerminal, journal: PaymentJournal, *, name: str) -> None:
        self._terminal = terminal
        self._folios = Folios(journal, name=name)
        self._last = LastStep(terminal)
        self.orphans: frozenset[int] = frozenset()
        self.missing: frozenset[str] = frozenset()
        self.reconciled = False

    @property
    def blocked(self) -> bool:
        """True while a reservation is in doubt."""
        return self._folios.any(Reserving)

    @property
    def unclear(self) -> bool:
        """True while the terminal would tell more of its books if it were asked."""
        return not self.reconciled or self._last.may_tell

    @property
    def overgrown(self) -> bool:
        """True while so many holds are nobody's that an operator has to look first."""
        return len(self.orphans) > ORPHANS_MAX

    @property
    def doubtful(self) -> bool:
        """True while anything is in doubt."""
        return self._folios.any(Reserving, Ending)

    def open_of(self, refs: frozenset[str]) -> frozenset[str]:
        """Those of `refs` whose hold has not ended for certain."""
        kinds = Reserving | Held | Ending
        return frozenset(ref for ref in refs if isinstance(self._folios.known(ref), kinds))

    async def load(self) -> None:
        """Take over what the journal has of an earlier run."""
        await self._folios.load()

    async def reserve(self, ref: str, amount_minor: int) -> Authorized | Declined | InDoubt:
        """A new hold, or what became of the one that was asked for. Raises HardwareError: nothing was sent."""
        folio = await self._folios.of(ref)
        if isinstance(folio, Unsent):
            if self._folios.inherited(ref):
                return Declined(ref=ref, reason="cancelled")  # whoever tapped before the restart is gone
            refusal = await self._take(ref, amount_minor)
            if refusal is not None:
                return refusal
        if isinstance(await self._folios.of(ref), Reserving | Ending):
            await self._resolve(ref)
        return await self._reserved(ref)

    def asked(self, ref: str) -> bool:
        """True when a reservation for it has gone out."""
        return not isinstance(self._folios.known(ref) or Unsent(), Unsent)

    async def finish(self, ref: str, amount_minor: int) -> Captured | Reversed | Expired | Declined | InDoubt:
        """Capture `amount_minor`, or reverse (0). Raises HardwareError: nothing was sent."""
        for _ in range(_TRIES):
            match await self._folios.of(ref):
                case Reserving() | Ending():
                    await self._resolve(ref)
                case Held() if self.unclear:
                    await self.reconcile()
                case _:
                    pass
            match await self._folios.of(ref):
                case Unsent() | Void():
                    if amount_minor:
                        return Expired(ref=ref, reason="hold_unknown")
                    return Reversed(ref=ref)
                case Reserving():
                    return InDoubt(ref=ref, why="the reservation is in doubt")
                case Ended() as end:
                    return _answer(ref, end, amount_minor)
                case Ending() if self.unclear:
                    break  # sending it again would spend the proof
                case (Held() | Ending()) as hold:
                    try:
                        refusal = await self._end(ref, hold, amount_minor)
                    except HardwareError as e:
                        if isinstance(hold, Held):
                            raise
                        return InDoubt(ref=ref, why=e.message)
                    if refusal is not None:
                        return refusal
                case folio:
                    assert_never(folio)
        after = await self._folios.of(ref)
        if isinstance(after, Ended):
            return _answer(ref, after, amount_minor)
        return InDoubt(ref=ref, why="the terminal does not say what became of the hold")

    async def reconcile(self) -> OpenReceipts:
        """Ask the terminal what it holds and did last, and settle every doubt that this settles. Raises
        HardwareError.
        """
        self.reconciled = False
        last: Done | None = None
        if self.doubtful or self._last.mark is None:
            last = await self._last.ask()
        found = await self._terminal.open_receipts()
        folios = await self._folios.open()
        findings = compare(folios, found, last, orphans=self.orphans, assume=not self._last.may_tell)
        for ref, folio in findings.folios.items():
            log.event("payment.reconciled", ref=ref, folio=folio)
            if isinstance(folio, Ended) and folio.assumed:
                log.warning("payment.assumed", ref=ref, how=folio.how)
            await self._folios.write(ref, folio)
        if found.complete:
            held = {r: f for r, f in folios.items() if isinstance(f, Held)}
            missing = frozenset(r for r, f in held.items() if f.receipt_no not in found.numbers)
            if missing - self.missing:
                log.warning("payment.hold_missing", refs=sorted(missing))
            self.missing = missing
        if findings.orphans - self.orphans:
            log.error("terminal.orphans", receipts=sorted(findings.orphans))
        self.orphans = findings.orphans
        self._folios.forget(frozenset(folios))
        self.reconciled = True
        return found

    async def settled(self) -> bool:
        """True when neither the journal nor the terminal has a hold, nor one in doubt. Raises HardwareError."""
        if any(isinstance(each, Reserving | Held | Ending) for each in (await self._folios.open()).values()):
            return False
        found = await self.reconcile()
        return found.complete and not found.numbers

    async def end_of_day(self) -> Answer:
        """Hand the day in. The caller has seen that everything is settled. Raises HardwareError."""
        await self._folios.outdate("")
        self._uncertain()
        return await self._terminal.end_of_day()

    async def end_orphan(self, receipt: int, amount_minor: int) -> Answer:
        """An operator's decision on a hold that belongs to nobody: take `amount_minor`, or release it (0)."""
        await self._certain()
        if receipt not in self.orphans:
            return No(reason="receipt_unknown", text="the terminal holds no such receipt that is nobody's")
        await self._folios.outdate("")
        log.warning("terminal.orphan_ended", receipt=receipt, amount_minor=amount_minor)
        if amount_minor:
            answer = await self._terminal.capture(receipt, hold_minor=amount_minor, amount_minor=amount_minor)
        else:
            answer = await self._terminal.reverse(receipt)
        match answer:
            case Done():
                self._last.done(answer)
                self.orphans -= {receipt}
            case Doubt():
                self._uncertain()
            case _:
                pass
        return answer

    async def _take(self, ref: str, amount_minor: int) -> Declined | None:
        """Send a new reservation. None where there is a folio now that says more."""
        answer: Answer | None = None
        for fresh in (False, True):
            await self._certain()
            if self.blocked:
                return Declined(ref=ref, reason="terminal_busy")
            if self.overgrown:
                return Declined(ref=ref, reason="terminal_fault")
            try:
                answer = await self._ask(ref, amount_minor)
                break
            except HardwareError:
                await self._folios.write(ref, Unsent())
                self.reconciled = False  # a connection that is new wants to be reconciled first
                if fresh:
                    raise
        match answer:
            case Done(receipt_no=int() as number):
                self._last.done(answer)
                held_minor = amount_minor if answer.amount_minor is None else answer.amount_minor
                sure = held_minor <= amount_minor
                hold = Held(receipt_no=number, hold_minor=held_minor if sure else None)
                self._folios.keep(ref, hold)  # the journal has the number
            case Done() | Doubt():
                self._uncertain()
            case No(reason=reason):
                await self._folios.write(ref, Void(reason=reason))
            case _:
                pass
        return None

    async def _ask(self, ref: str, amount_minor: int) -> Answer:
        await self._folios.outdate(ref)
        sent = Reserving(
            requested_minor=amount_minor, after=self._last.mark, beside=tuple(sorted(self.orphans))
        )
        await self._folios.write(ref, sent)

        async def noted(done: Done) -> None:
            changes = {"receipt_no": done.receipt_no, "said_minor": done.amount_minor}
            await self._folios.write(ref, msgspec.structs.replace(sent, **changes))

        return await self._terminal.reserve(amount_minor=amount_minor, reference=ref, noted=noted)

    async def _reserved(self, ref: str) -> Authorized | Declined | InDoubt:
        """The answer to a reservation, by its folio."""
        match await self._folios.of(ref):
            case Held(hold_minor=int() as hold_minor):
                return Authorized(ref=ref, hold_minor=hold_minor)
            case Held():
                with contextlib.suppress(HardwareError):
                    if isinstance(await self.finish(ref, 0), Reversed):
                        return Declined(ref=ref, reason="terminal_fault")
                return InDoubt(ref=ref, why="the terminal names two amounts, and the hold is still there")
            case Void(reason=reason):
                return Declined(ref=ref, reason=reason)
            case Ended():
                return Declined(ref=ref, reason="cancelled")
            case Unsent():
                return Declined(ref=ref, reason="cancelled")
            case Reserving() | Ending():
                return InDoubt(ref=ref, why="the terminal does not say what became of the hold")
            case folio:
                assert_never(folio)

    async def _end(self, ref: str, hold: Held | Ending, amount_minor: int) -> Declined | None:
        """Send a capture or a reversal. None where the folio says more now. The books are known."""
        hold_minor = hold.hold_minor
        if amount_minor and (hold_minor is None or amount_minor > hold_minor):
            raise ValueError(f"payment {ref}: {amount_minor} of a hold of {hold_minor} cannot be captured")
        await self._folios.outdate(ref)
        sent = Ending(
            receipt_no=hold.receipt_no,
            hold_minor=hold_minor,
            amount_minor=amount_minor,
            after=self._last.mark,
            doubted=isinstance(hold, Ending),
        )
        await self._folios.write(ref, sent)
        try:
            if hold_minor is not None and amount_minor:
                answer = await self._terminal.capture(
                    hold.receipt_no, hold_minor=hold_minor, amount_minor=amount_minor
                )
            else:
                answer = await self._terminal.reverse(hold.receipt_no)
        except HardwareError:
            self.reconciled = False
            await self._folios.write(ref, hold)
            raise
        match answer:
            case Done():
                self._last.done(answer)
                self._folios.keep(
                    ref, ended(amount_minor)
                )  # the terminal's last step proves it to a next run
                return None
            case Doubt():
                self._uncertain()
                return None
            case No(reason=reason):
                return await self._refused(ref, sent, reason)
            case _:
                assert_never(answer)

    async def _refused(self, ref: str, sent: Ending, reason: Reason) -> Declined | None:
        """A no to a capture or reversal. It ends the hold only where the terminal does not list it either."""
        still = sent if sent.doubted else Held(receipt_no=sent.receipt_no, hold_minor=sent.hold_minor)
        await self._folios.write(ref, still)
        if reason not in _GONE:
            return Declined(ref=ref, reason=reason)
        try:
            found = await self._terminal.open_receipts()
        except HardwareError:
            self.reconciled = False
            return Declined(ref=ref, reason=reason)
        if sent.receipt_no in found.numbers:
            return Declined(ref=ref, reason=reason)
        why = "hold_unknown" if reason == "receipt_unknown" else reason
        end = gone(sent, reason=why)
        log.warning("payment.hold_gone", ref=ref, reason=why, how=end.how, assumed=end.assumed)
        await self._folios.write(ref, end)
        return None

    async def _resolve(self, ref: str) -> None:
        """Reconcile until the folio is clear, or the time for it is over."""
        loop = asyncio.get_running_loop()
        until = loop.time() + RESOLVE_S
        while True:
            try:
                await self.reconcile()
            except HardwareError as e:
                log.debug("terminal.unreconciled", error=e)
            else:
                if not isinstance(self._folios.known(ref), Reserving | Ending) or not self._last.may_tell:
                    return  # clear, or there is nothing more to learn
            if loop.time() >= until:
                return
            await asyncio.sleep(_RETRY_S)

    async def _certain(self) -> None:
        """The terminal's books are known before it gets a money command. Raises HardwareError."""
        if not self.reconciled:
            await self.reconcile()

    def _uncertain(self) -> None:
        self._last.lost()
        self.reconciled = False


def _answer(ref: str, end: Ended, asked_minor: int) -> Captured | Reversed | Expired | Declined:
    match end.how:
        case "captured" if asked_minor:
            return Captured(ref=ref, amount_minor=end.amount_minor)
        case "captured":
            return Declined(ref=ref, reason="already_captured")
        case "expired" if asked_minor:
            return Expired(ref=ref, reason=end.reason)
        case "reversed" if asked_minor:
            return Expired(ref=ref, reason="already_reversed")
        case "expired" | "reversed":
            return Reversed(ref=ref)
        case _:
            assert_never(end.how)
