"""Everything that anyone can check in a ledger from its entries alone: the chain, the signatures, the numbers,
the holds, and every total again (I2, I3, I4, I9). Entries go in one by one; memory grows with sessions only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import timedelta

import msgspec

from edge.domain import pricing
from edge.domain.invoice import Invoice
from edge.domain.ledger import facts
from edge.domain.ledger.envelope import GENESIS, Entry, Envelope, digest, open_envelope, read_fact
from edge.domain.ledger.holds import Holds, Story
from edge.domain.ledger.prices import Prices
from edge.domain.ledger.signature import checkpoint_message, key_id_of, verifies
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
        self._given_key = public_key
        self._keys: dict[str, str] = {}
        self._problems: list[str] = []
        self._epochs: set[str] = set()
        self._unsigned: str | None = None
        self._occupied: dict[str, str] = {}
        self._sealed: dict[str, bytes] = {}
        self._entries = 0
        self._first: int | None = None
        self._epoch: str | None = None
        self._seq = 0
        self._hash = GENESIS
        self._sessions: dict[str, Story] = {}
        self._holds = Holds(self._say)
        self._prices = Prices()
        self._series: dict[str, int] = {}

    def add(self, entry: Entry) -> None:
        """Check one entry against those before it."""
        self._entries += 1
        where = f"entry {entry.epoch}/{entry.seq}"
        try:
            envelope = open_envelope(entry.raw)
        except LedgerError as e:
            self._say(f"{where}: {e.message}")
            return
        if not (envelope.seq.isascii() and envelope.seq.isdigit() and len(envelope.seq) <= _SEQ_DIGITS_MAX):
            self._say(f"{where}: its number {envelope.seq[:20]!r} is none")
            return
        if self._first is None:
            self._first = int(envelope.seq)
        self._chain(where, envelope, entry)
        try:
            fact = read_fact(envelope)
        except LedgerError as e:
            self._say(f"{where}: {e.message}")
            return
        if self._unsigned is not None and not isinstance(fact, facts.LedgerCheckpoint):
            self._say(f"{where}: invoice {self._unsigned} is not signed")
        self._unsigned = None
        if fact is not None:
            self._fact(where, envelope, fact)

    def copies(self, documents: Iterable[tuple[str, bytes]]) -> None:
        """Check the invoices that are kept beside the journal (number and JSON) against the sealed ones.

        After all entries.
        """
        kept = set()
        for number, document in documents:
            kept.add(number)
            self._copy(number, document)
        for number in self._sealed.keys() - kept:
            self._say(f"invoice {number}: is sealed in the journal, and not kept beside it")

    def _copy(self, number: str, document: bytes) -> None:
        sealed = self._sealed.get(number)
        if sealed is None:
            self._say(f"invoice {number}: the journal has none of this number")
            return
        try:
            invoice = msgspec.json.decode(document, type=Invoice)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
            self._say(f"invoice {number}: cannot be read: {e}")
            return
        if sealed != _fingerprint(invoice):
            self._say(f"invoice {number}: is not as the journal sealed it")

    def report(self) -> Report:
        """What was found; call it after the last entry."""
        if self._unsigned is not None:
            self._say(f"invoice {self._unsigned} is not signed")
        open_holds = self._holds.report(self._sessions)
        for session_id, session in self._sessions.items():
            self._ended(session_id, session)
        return Report(
            entries=self._entries,
            verified_from=self._first,
            sessions=len(self._sessions),
            invoices=sum(s.invoices for s in self._sessions.values()),
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
            self._epochs.add(envelope.epoch)
            self._epoch, self._seq, self._hash = envelope.epoch, 0, GENESIS
        seq = int(envelope.seq)
        if seq != self._seq + 1:
            self._say(f"{where}: follows entry {self._seq}")
        if envelope.prevhash != self._hash:
            self._say(f"{where}: does not continue the chain")
        self._seq, self._hash = seq, digest(entry.raw)

    def _fact(self, where: str, envelope: Envelope, fact: facts.Fact) -> None:
        match fact:
            case facts.LedgerOpened():
                self._opened(where, fact)
            case facts.LedgerCheckpoint():
                self._checkpoint(where, envelope, fact)
            case facts.TariffFrozen() | facts.PlanFrozen():
                if hashlib.sha256(fact.document.encode()).hexdigest() != fact.hash:
                    self._say(f"{where}: the tariff is not the one of its hash")
                self._prices.add(fact)
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

    def _opened(self, where: str, fact: facts.LedgerOpened) -> None:
        try:
            named = key_id_of(fact.public_key)
        except ValueError:
            named = ""
        if named != fact.key_id:
            self._say(f"{where}: the public key is not the one that its id names")
        if self._given_key is not None and fact.public_key != self._given_key:
            self._say(f"{where}: the ledger is signed by another key than the given one")
        self._keys[fact.key_id] = fact.public_key

    def _checkpoint(self, where: str, envelope: Envelope, fact: facts.LedgerCheckpoint) -> None:
        key = self._given_key or self._keys.get(envelope.keyid)
        message = checkpoint_message(epoch=envelope.epoch, upto=fact.upto, head=fact.head)
        if key is None:
            self._say(f"{where}: signed by key {envelope.keyid}, which is not known")
        elif not verifies(key, fact.signature, message):
            self._say(f"{where}: the signature is not valid")
        if fact.upto != int(envelope.seq) - 1 or fact.head != envelope.prevhash:
            self._say(f"{where}: signs another chain than the one before it")

    def _session(self, where: str, fact: facts.SessionFact) -> None:
        session = self._sessions.get(fact.session_id)
        if session is None:
            self._say(f"{where}: session {fact.session_id} was never opened")
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
                self._invoice(where, session, fact)
            case facts.SessionEnded():
                session.ended = fact
                session.released = True
            case _:
                pass

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

    def _invoice(self, where: str, session: Story, fact: facts.InvoiceSealed) -> None:
        invoice = fact.invoice
        expected = self._series.get(invoice.series, 0) + 1
        if invoice.sequence != expected:
            self._say(f"{where}: invoice {invoice.number} should be number {expected} of its series")
        self._series[invoice.series] = invoice.sequence
        self._unsigned = invoice.number
        self._sealed[invoice.number] = _fingerprint(invoice)
        session.invoices += 1
        if session.invoices > 1:
            self._say(f"{where}: session {fact.session_id} has {session.invoices} invoices")
        for wrong, what in _differences(invoice, session, fact.session_id, epoch=self._epoch):
            if wrong:
                self._say(f"{where}: invoice {invoice.number} {what}")

    def _ended(self, session_id: str, session: Story) -> None:
        if session.ended is None:
            if session.invoices:
                self._say(f"session {session_id}: is invoiced and has not ended")
            return
        wanted = 1 if session.ended.outcome == "invoiced" else 0
        if session.invoices != wanted:
            self._say(f"session {session_id}: ended {session.ended.outcome} with {session.invoices} invoices")
        if session.settled is not None and session.settled.payable_minor > 0 and wanted == 0:
            self._say(f"session {session_id}: cost {session.settled.payable_minor} and has no invoice")
        if session.began is not None and session.settled is None:
            self._say(f"session {session_id}: ended without a price")


def _differences(
    invoice: Invoice, session: Story, session_id: str, *, epoch: str | None
) -> Iterator[tuple[bool, str]]:
    """What an invoice says that the session's other facts do not."""
    draft, began, ended, settled = invoice.draft, session.began, session.energy, session.settled
    yield invoice.number != f"{invoice.series}-{invoice.sequence:06d}", "is not numbered by its series"
    yield not invoice.series.endswith(f"-{epoch}"), "is of another epoch's series"
    yield settled is None or draft.figures != settled.bill.invoice, "is not the session's price"
    yield draft.session_id != session_id, "names another session"
    yield draft.tariff.hash != session.opened.tariff_hash, "names another tariff"
    yield draft.currency != (settled.currency if settled else None), "is in another currency"
    yield ended is None or draft.energy_wh != ended.energy_wh, "has another energy than the session"
    yield ended is None or draft.estimated != ended.estimated, "does not say whether its energy is estimated"
    yield (
        (
            began is None
            or ended is None
            or (draft.meter.begin_wh, draft.meter.end_wh) != (began.register_wh, ended.register_wh)
        ),
        "has other registers than the session",
    )
    yield began is None or draft.meter.serial != began.meter.serial, "names another meter"
    yield draft.paid.status != session.paid_as, "says otherwise how the hold ended"
    taken_minor = draft.figures.payable_minor if draft.paid.status == "captured" else 0
    yield draft.paid.captured_minor != taken_minor, "and what was captured differ"
    if began is not None and ended is not None:
        # a clock that was found right later moves begin and end by the same time
        length = ended.ended_at - began.began_at
        yield (
            abs((draft.end - draft.begin) - length) > timedelta(0),
            "lasts longer or shorter than the session",
        )


def _fingerprint(invoice: Invoice) -> bytes:
    return hashlib.sha256(msgspec.json.encode(invoice)).digest()
