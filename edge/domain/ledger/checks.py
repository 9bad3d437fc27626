"""Everything that anyone can check in a ledger from its entries alone: the chain, the signatures, the numbers,
the holds, and every total again (I2, I3, I4, I9). Entries go in one by one; memory grows with sessions only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from edge.domain import pricing
from edge.domain.ledger import facts
from edge.domain.ledger.anchor import SeriesAnchor, SignedAnchor, rolled
from edge.domain.ledger.boots import Boots
from edge.domain.ledger.documents import Documents
from edge.domain.ledger.envelope import GENESIS, Entry, Envelope, digest, open_envelope, read_fact
from edge.domain.ledger.holds import Holds, Story
from edge.domain.ledger.keychain import Keychain
from edge.domain.ledger.prices import Prices
from edge.domain.ledger.rolls import Rolls
from edge.errors import LedgerError

#: Problems are listed up to here; a ledger with more is broken as a whole.
PROBLEMS_MAX = 1000

#: A 64-bit number has at most this many.
_SEQ_DIGITS_MAX = 19


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`verified_from`: the first entry that was checked. `open_holds`: references of holds that have not ended."""

    entries: int
    verified_from: int | None
    sessions: int
    invoices: int
    open_holds: tuple[str, ...]
    problems: tuple[str, ...]


class Checker:
    """Feed it the entries of one ledger in order, then ask for the `report`."""

    def __init__(self, *, public_key: str | None = None) -> None:
        self._problems: list[str] = []
        self._keys = Keychain(self._say, given=public_key)
        self._rolls = Rolls(self._say)
        self._boots = Boots()
        self._anchor: SignedAnchor | None = None
        self._kept_left = 0
        self._kept_hash = GENESIS
        self._epochs: set[str] = set()
        self._unsigned: str | None = None
        self._occupied: dict[str, str] = {}
        self._entries = 0
        self._first: int | None = None
        self._epoch: str | None = None
        self._seq = 0
        self._hash = GENESIS
        self._sessions: dict[str, Story] = {}
        self._holds = Holds(self._say)
        self._documents = Documents(self._say)
        self._prices = Prices()

    def start(self, signed: SignedAnchor) -> None:
        """Begin where a pruned ledger does: the entries that it kept come first, then those after the anchor."""
        anchor = signed.anchor
        self._anchor, self._kept_left = signed, anchor.kept
        self._rolls.start(anchor.series)
        self._documents.start({name: at.last for name, at in anchor.series.items()})
        if anchor.kept == 0:
            self._go_on()

    @property
    def problems(self) -> tuple[str, ...]:
        """What was found so far."""
        return tuple(self._problems)

    @property
    def open_holds(self) -> tuple[str, ...]:
        """References of holds that have not ended, as of the last entry."""
        return self._holds.open

    @property
    def series(self) -> dict[str, SeriesAnchor]:
        """Every series of numbers as of the last entry."""
        return self._rolls.series

    def _kept(self, where: str, envelope: Envelope, entry: Entry) -> None:
        """An entry from before the anchor: it says what it said, and the anchor signs that it is the one."""
        self._kept_left -= 1
        self._kept_hash = rolled(self._kept_hash, digest(entry.raw))
        try:
            fact = read_fact(envelope)
        except LedgerError as e:
            self._say(f"{where}: {e.message}")
            fact = None
        self._time(where, envelope, fact)
        self._epoch = envelope.epoch
        self._epochs.add(envelope.epoch)
        if fact is not None and not isinstance(fact, facts.LedgerCheckpoint):
            self._fact(where, envelope, fact)
        self._unsigned = None
        if self._kept_left == 0:
            self._go_on()

    def _go_on(self) -> None:
        assert self._anchor is not None
        anchor = self._anchor.anchor
        if self._kept_hash != anchor.kept_hash:
            self._say("anchor: the entries that were kept are not those that it names")
        self._epochs.add(anchor.epoch)
        self._epoch, self._seq, self._hash = anchor.epoch, anchor.upto, anchor.head

    def add(self, entry: Entry) -> None:
        """Check one entry against those before it."""
        where = f"entry {entry.epoch}/{entry.seq}"
        try:
            envelope = open_envelope(entry.raw)
        except LedgerError as e:
            self._entries += 1
            self._say(f"{where}: {e.message}")
            return
        if not (envelope.seq.isascii() and envelope.seq.isdigit() and len(envelope.seq) <= _SEQ_DIGITS_MAX):
            self._entries += 1
            self._say(f"{where}: its number {envelope.seq[:20]!r} is none")
            return
        if self._kept_left:
            self._kept(where, envelope, entry)
            return
        self._entries += 1
        if self._first is None:
            self._first = int(envelope.seq)
        self._chain(where, envelope, entry)
        try:
            fact = read_fact(envelope)
        except LedgerError as e:
            self._say(f"{where}: {e.message}")
            return
        self._time(where, envelope, fact)
        if self._unsigned is not None and not isinstance(fact, facts.LedgerCheckpoint):
            self._say(f"{where}: invoice {self._unsigned} is not signed")
        self._unsigned = None
        if not isinstance(fact, facts.LedgerOpened):
            self._keys.names(where, envelope)
        if fact is not None:
            self._rolls.add(envelope, fact)
            self._fact(where, envelope, fact)

    def _time(self, where: str, envelope: Envelope, fact: facts.Fact | None) -> None:
        """What it says of the time of its boot, or of another one, agrees with the entries before it."""
        try:
            wrong = self._boots.contradiction(envelope, fact)
            self._boots.add(envelope, fact)
        except OverflowError:
            wrong = "is of a time that no calendar has"
        if wrong is not None:
            self._say(f"{where}: {wrong}")

    def copies(self, documents: Iterable[tuple[str, bytes]]) -> None:
        """Check the documents that are kept beside the journal (number and JSON) against the sealed ones.

        After all entries.
        """
        self._documents.copies(self._rolls.copies(documents))

    def report(self) -> Report:
        """What was found; call it after the last entry."""
        if self._unsigned is not None:
            self._say(f"invoice {self._unsigned} is not signed")
        if self._kept_left:
            self._say(f"anchor: {self._kept_left} of the entries that were kept are missing")
        if self._anchor is not None:
            self._keys.anchor(self._anchor)
        self._keys.report()
        open_holds = self._holds.report(self._sessions)
        for session_id, session in self._sessions.items():
            self._ended(session_id, session)
        return Report(
            entries=self._entries,
            verified_from=self._first,
            sessions=len(self._sessions),
            invoices=self._documents.invoices,
            open_holds=open_holds,
            problems=tuple(self._problems),
        )

    def _say(self, problem: str) -> None:
        if len(self._problems) < PROBLEMS_MAX:
            self._problems.append(problem)

    def _chain(self, where: str, envelope: Envelope, entry: Entry) -> None:
        if digest(entry.raw) != entry.hash:
            self._say(f"{where}: its bytes do not match its hash")
        if (envelope.epoch, int(envelope.seq)) != (entry.epoch, entry.seq):
            self._say(f"{where}: says that it is {envelope.epoch}/{envelope.seq}")
        if (envelope.id, envelope.specversion) != (f"{entry.epoch}-{entry.seq}", "1.0"):
            self._say(f"{where}: calls itself {envelope.id} of CloudEvents {envelope.specversion}")
        if (entry.type, entry.subject) != (envelope.type, envelope.subject):
            self._say(f"{where}: is kept as {entry.type} of {entry.subject}")
        if envelope.epoch != self._epoch:
            if envelope.epoch in self._epochs:
                self._say(f"{where}: epoch {envelope.epoch} comes back")
            if envelope.type != facts.LedgerOpened.TYPE:
                self._say(f"{where}: epoch {envelope.epoch} does not begin with its opening")
            self._follows(where, envelope)
            self._epochs.add(envelope.epoch)
            self._epoch, self._seq, self._hash = envelope.epoch, 0, GENESIS
        seq = int(envelope.seq)
        if seq != self._seq + 1:
            self._say(f"{where}: follows entry {self._seq}")
        if envelope.prevhash != self._hash:
            self._say(f"{where}: does not continue the chain")
        self._seq, self._hash = seq, digest(entry.raw)

    def _follows(self, where: str, envelope: Envelope) -> None:
        """A later epoch says where the one before it ended."""
        try:
            fact = read_fact(envelope)
        except LedgerError:
            return
        if not isinstance(fact, facts.LedgerOpened) or self._epoch is None:
            return
        said = (fact.previous_epoch, fact.previous_upto, fact.previous_head)
        if (fact.reason != "provisioned" or any(said)) and said != (self._epoch, self._seq, self._hash):
            self._say(f"{where}: epoch {envelope.epoch} does not follow the end of epoch {self._epoch}")

    def _fact(self, where: str, envelope: Envelope, fact: facts.Fact) -> None:
        match fact:
            case facts.LedgerOpened():
                if int(envelope.seq) != 1:
                    self._say(f"{where}: opens epoch {envelope.epoch}, which is open")
                self._keys.opened(where, fact)
            case facts.LedgerKeySucceeded():
                self._keys.succeeded(where, envelope, fact)
            case facts.LedgerCheckpoint():
                self._keys.checkpoint(where, envelope, fact)
            case facts.TariffFrozen() | facts.PlanFrozen():
                if hashlib.sha256(fact.document.encode()).hexdigest() != fact.hash:
                    self._say(f"{where}: the tariff is not the one of its hash")
                self._prices.add(fact)
            case facts.RefundFact():
                self._documents.refund(where, fact)
            case facts.PaymentFact():
                self._holds.add(where, fact, self._sessions.get(fact.session_id))
            case facts.SessionOpened():
                if fact.session_id in self._sessions:
                    self._say(f"{where}: session {fact.session_id} opens twice")
                before = self._occupied.get(fact.evse_id)
                if before is not None and not self._sessions[before].released:
                    self._say(f"{where}: {fact.evse_id} is in use by session {before}")
                self._occupied[fact.evse_id] = fact.session_id
                self._sessions[fact.session_id] = Story(fact)
            case facts.SessionFact():
                self._session(where, fact)
            case _:
                pass

    def _session(self, where: str, fact: facts.SessionFact) -> None:
        session = self._sessions.get(fact.session_id)
        if session is None:
            self._without_session(where, fact)
            return
        match fact:
            case facts.EnergyBegan():
                if not session.authorized:
                    self._say(f"{where}: energy without an authorized payment")
                if session.began is not None:
                    self._say(f"{where}: the energy of session {fact.session_id} begins twice")
                session.began = fact
                self._reached(where, session, fact.register_wh)
            case facts.SessionCheckpoint() | facts.SessionResumed():
                self._reached(where, session, fact.register_wh)
            case facts.EnergyEnded():
                self._reached(where, session, fact.register_wh)
                if session.began is None or fact.energy_wh != fact.register_wh - session.began.register_wh:
                    self._say(f"{where}: {fact.energy_wh} Wh is not end minus begin of the register")
                if session.energy is not None:
                    self._say(f"{where}: the energy of session {fact.session_id} ends twice")
                session.energy = fact
            case facts.SessionSettled():
                if session.settled is not None:
                    self._say(f"{where}: session {fact.session_id} is settled twice")
                self._settled(where, session, fact)
                session.settled = fact
            case facts.InvoiceSealed():
                self._unsigned = fact.invoice.number
                self._documents.invoice(where, fact, session, epoch=self._epoch)
            case facts.CreditNoteSealed():
                self._documents.credit_note(where, fact, epoch=self._epoch)
            case facts.StatementSealed():
                self._documents.statement(where, fact, session)
            case facts.SessionEnded():
                session.ended = fact
                session.released = True
            case _:
                pass

    def _without_session(self, where: str, fact: facts.SessionFact) -> None:
        """Only the correction of an invoice may outlive the entries of its session."""
        match fact:
            case facts.CreditNoteSealed(credit_note=note) if self._documents.outlives(note):
                self._documents.credit_note(where, fact, epoch=self._epoch)
            case facts.InvoiceSealed(invoice=invoice) if self._documents.outlives(invoice):
                self._unsigned = invoice.number
                self._documents.invoice(where, fact, None, epoch=self._epoch)
            case _:
                self._say(f"{where}: session {fact.session_id} was never opened")

    def _reached(self, where: str, session: Story, register_wh: int) -> None:
        if session.reached_wh is not None and register_wh < session.reached_wh:
            self._say(f"{where}: the register goes back from {session.reached_wh} to {register_wh} Wh")
        session.reached_wh = register_wh

    def _settled(self, where: str, session: Story, fact: facts.SessionSettled) -> None:
        """Price it again from what was measured, with the tariff that was frozen at the tap."""
        opened = session.opened
        try:
            bill = self._prices.again(opened, fact.accrual, hold_minor=session.hold_minor)
        except Exception as e:  # noqa: BLE001  (a forged accrual can fail anywhere in the engine)
            self._say(f"{where}: cannot be priced again: {type(e).__name__}: {e}")
            return
        if session.energy is None or pricing.rational(fact.accrual.energy) != session.energy.energy_wh:
            self._say(f"{where}: is priced for another energy than the register's")
        if session.began is not None and fact.accrual.begun_at != session.began.began_at:
            self._say(f"{where}: is priced from another time than the session's begin")
        if fact.currency != bill.currency:
            self._say(f"{where}: is priced in {fact.currency}, the tariff is in {bill.currency}")
        if bill != fact.bill:
            self._say(
                f"{where}: priced again it comes to {bill.invoice.payable_minor}, not {fact.payable_minor}"
            )
        elif bill.invoice.payable_minor != fact.payable_minor:
            self._say(f"{where}: says {fact.payable_minor}, its bill says {bill.invoice.payable_minor}")

    def _ended(self, session_id: str, session: Story) -> None:
        if session.ended is None:
            if session.invoices or session.statements:
                self._say(f"session {session_id}: is invoiced and has not ended")
            return
        outcome = session.ended.outcome
        wanted = {"invoiced": (1, 0), "stated": (0, 1)}.get(outcome, (0, 0))
        if session.invoices != wanted[0]:
            self._say(f"session {session_id}: ended {outcome} with {session.invoices} invoices")
        if session.statements != wanted[1]:
            self._say(f"session {session_id}: ended {outcome} with {session.statements} statements")
        if session.settled is not None and session.settled.payable_minor > 0 and not any(wanted):
            self._say(f"session {session_id}: cost {session.settled.payable_minor} and has no invoice")
        if session.began is not None and session.settled is None:
            self._say(f"session {session_id}: ended without a price")
