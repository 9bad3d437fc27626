"""I4 as anyone can check it: numbers without gaps, one invoice or statement a session, and credit notes that never
take back more than was asked for. Refunds follow credit notes, and end once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

import msgspec

from edge.domain.credit import credit, draft_of
from edge.domain.invoice import Invoice, InvoiceDraft
from edge.domain.ledger import facts
from edge.domain.ledger.holds import Story
from edge.errors import CallError

_REFUND_ENDS = (facts.PaymentRefunded, facts.RefundDeclined, facts.RefundDue)


class _Refund:
    def __init__(self, fact: facts.RefundRequested) -> None:
        self.requested = fact
        self.ends = 0


class Documents:
    """The invoices, credit notes and statements of one ledger. `say` takes each problem."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._series: dict[str, int] = {}
        self._anchored: dict[str, int] = {}
        self._sealed: dict[str, bytes] = {}
        self._invoices: dict[str, Invoice] = {}
        self._credits: dict[str, list[Invoice]] = {}
        self._latest: dict[str, str] = {}
        self._refunds: dict[str, _Refund] = {}

    def start(self, series: dict[str, int]) -> None:
        """Go on from an anchor: documents up to these numbers of their series are checked by their roll alone."""
        self._series, self._anchored = dict(series), series

    def outlives(self, document: Invoice) -> bool:
        """Whether it corrects or replaces a document that lies before the anchor."""
        named = document.replaces if document.corrects is None else document.corrects.number
        return named is not None and self._is_pruned(named)

    def _is_pruned(self, number: str) -> bool:
        series, _, sequence = number.rpartition("-")
        return sequence.isdigit() and int(sequence) <= self._anchored.get(series, 0)

    @property
    def invoices(self) -> int:
        """How many invoices were sealed, those that were credited later included."""
        return len(self._invoices)

    def invoice(
        self, where: str, fact: facts.InvoiceSealed, session: Story | None, *, epoch: str | None
    ) -> None:
        """One sealed invoice; its session is None where the ledger never opened it."""
        invoice = fact.invoice
        self._numbered(where, "invoice", invoice, epoch=epoch)
        self._invoices[invoice.number] = invoice
        before = self._latest.get(fact.session_id)
        self._latest[fact.session_id] = invoice.number
        if session is None:
            return
        if before is None:
            session.invoices += 1
            if invoice.replaces is not None and not self._is_pruned(invoice.replaces):
                self._say(
                    f"{where}: invoice {invoice.number} replaces {invoice.replaces}, which is none of its own"
                )
        elif invoice.replaces != before or not self._gone(before):
            session.invoices += 1
            self._say(f"{where}: session {fact.session_id} has {session.invoices} invoices")
        wrong = [*_differences(invoice.draft, session, fact.session_id)]
        wrong += ["is billed by a statement"] if invoice.draft.billing != "invoice" else []
        wrong += ["corrects something"] if invoice.corrects is not None else []
        for what in wrong:
            self._say(f"{where}: invoice {invoice.number} {what}")

    def statement(self, where: str, fact: facts.StatementSealed, session: Story) -> None:
        """What a collective invoice will bill."""
        session.statements += 1
        draft = fact.statement.draft
        wrong = [*_differences(draft, session, fact.session_id)]
        wrong += ["is no statement"] if draft.billing != "statement" else []
        wrong += ["names no account"] if draft.account is None else []
        for what in wrong:
            self._say(f"{where}: the statement of session {fact.session_id} {what}")

    def credit_note(self, where: str, fact: facts.CreditNoteSealed, *, epoch: str | None) -> None:
        """Taken back is at most what was asked for, and exactly as the rules of credit notes have it."""
        note = fact.credit_note
        self._numbered(where, "credit note", note, epoch=epoch)
        for what in self._taken_back(note, fact.session_id):
            self._say(f"{where}: credit note {note.number} {what}")

    def refund(self, where: str, fact: facts.RefundFact) -> None:
        """A refund is asked for once, by a credit note, and ends at most once."""
        ref = fact.refund_ref
        if isinstance(fact, facts.RefundRequested):
            if ref in self._refunds:
                self._say(f"{where}: refund {ref} is requested twice")
            self._refunds[ref] = _Refund(fact)
            notes = (n for given in self._credits.values() for n in given if n.number == ref)
            note = next(notes, None)
            if note is None or note.draft.figures.payable_minor != fact.amount_minor:
                self._say(f"{where}: refund {ref} of {fact.amount_minor} is not that of a credit note")
            return
        refund = self._refunds.get(ref)
        if refund is None and self._is_pruned(ref):
            return
        if refund is None:
            self._say(f"{where}: refund {ref} was never requested")
            return
        refund.ends += isinstance(fact, _REFUND_ENDS)
        if refund.ends > 1:
            self._say(f"{where}: refund {ref} ended {refund.ends} times")
        if isinstance(fact, facts.PaymentRefunded) and fact.amount_minor != refund.requested.amount_minor:
            self._say(
                f"{where}: {fact.amount_minor} went back of a refund of {refund.requested.amount_minor}"
            )

    def copies(self, documents: Iterable[tuple[str, bytes]]) -> None:
        """Check what is kept beside the journal (number and JSON) against what was sealed. After all entries."""
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

    def _numbered(self, where: str, kind: str, document: Invoice, *, epoch: str | None) -> None:
        """The next of its series, which is this epoch's and of one year."""
        number, series = document.number, document.series
        expected = self._series.get(series, 0) + 1
        if document.sequence > self._anchored.get(series, 0):
            if document.sequence != expected:
                self._say(f"{where}: {kind} {number} should be number {expected} of its series")
            self._series[series] = document.sequence
            self._sealed[number] = _fingerprint(document)
        if number != f"{series}-{document.sequence:06d}":
            self._say(f"{where}: {kind} {number} is not numbered by its series")
        if not series.endswith(f"-{epoch}"):
            self._say(f"{where}: {kind} {number} is of another epoch's series")

    def _gone(self, number: str) -> bool:
        """Whether nothing is left of an invoice."""
        given = self._credits.get(number, [])
        return bool(given) and given[-1].corrects is not None and given[-1].corrects.full

    def _taken_back(self, note: Invoice, session_id: str) -> Iterator[str]:
        corrects = note.corrects
        invoice = self._invoices.get(corrects.number) if corrects is not None else None
        if corrects is not None and invoice is None and self._is_pruned(corrects.number):
            return
        if corrects is None or invoice is None:
            yield f"corrects {corrects.number if corrects else 'nothing'}, which this ledger did not issue"
            return
        before = self._credits.setdefault(corrects.number, [])
        earlier = [n.draft.figures for n in before]
        before.append(note)
        said = (session_id, corrects.issued_at, corrects.replaces)
        if said != (invoice.draft.session_id, invoice.issued_at, invoice.replaces):
            yield "names another session or day than the invoice that it corrects"
        amount_minor = note.draft.figures.payable_minor
        try:
            again = credit(
                invoice.draft.figures, earlier, amount_minor=amount_minor, currency=invoice.draft.currency
            )
        except CallError as e:
            yield f"takes back too much: {e.message}"
            return
        if (again.full, again.whole) != (corrects.full, corrects.whole) or draft_of(
            invoice, again
        ) != note.draft:
            yield "does not take back what the invoice says"


def _differences(draft: InvoiceDraft, session: Story, session_id: str) -> Iterator[str]:
    """What an invoice or a statement says that the session's other facts do not."""
    for wrong, what in _compared(draft, session, session_id):
        if wrong:
            yield what


def _compared(draft: InvoiceDraft, session: Story, session_id: str) -> Iterator[tuple[bool, str]]:
    began, ended, settled = session.began, session.energy, session.settled
    yield settled is None or draft.figures != settled.bill.invoice, "is not the session's price"
    yield draft.session_id != session_id, "names another session"
    yield draft.tariff.hash != session.opened.tariff_hash, "names another tariff"
    yield draft.account != session.opened.account, "names another account"
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
