"""After a trial: what was given back against what was taken (I2, I4), and what welded contacts sold (I1, I8)."""

from __future__ import annotations

from collections import Counter, defaultdict

from parts.till_ledger import Ledger
from parts.till_site import Site

from edge.domain.ledger import facts
from edge.payments.acquirer.handle import read


def audit_events(site: Site, ledger: Ledger) -> list[str]:
    """Each refund ends once, is its credit note's money, and never more than was taken; nothing is sold that leaks."""
    return [*_credit_notes(ledger), *_refunds(ledger), *_given_back(site, ledger), *_welded(site, ledger)]


def _credit_notes(ledger: Ledger) -> list[str]:
    """I4: each corrects an invoice that there is, and all of one invoice no more than that."""
    payable = {
        f.invoice.number: f.invoice.draft.figures.payable_minor for f in ledger.of(facts.InvoiceSealed)
    }
    back: Counter[str] = Counter()
    found = []
    for fact in ledger.of(facts.CreditNoteSealed):
        corrects = fact.credit_note.corrects
        if corrects is None or corrects.number not in payable:
            found.append(f"I4: credit note {fact.credit_note.number} corrects no invoice")
            continue
        back[corrects.number] += fact.credit_note.draft.figures.payable_minor
    found += [
        f"I4: of invoice {number} over {payable[number]} were {minor} taken back"
        for number, minor in back.items()
        if minor > payable[number]
    ]
    return found


def _refunds(ledger: Ledger) -> list[str]:
    """I2: a credit note of money that was taken has one refund, of its amount, which ends once."""
    captured = {f.session_id: f for f in ledger.of(facts.PaymentCaptured)}
    asked = {f.refund_ref: f for f in ledger.of(facts.RefundRequested)}
    ends: Counter[str] = Counter()
    for kind in (facts.PaymentRefunded, facts.RefundDeclined, facts.RefundDue):
        ends.update(f.refund_ref for f in ledger.of(kind))
    found = [f"I2: refund {ref} ended {n} times" for ref, n in ends.items() if n > 1]
    found += [f"I2: refund {ref} was asked for and never ended" for ref in asked if not ends[ref]]
    found += [f"I2: refund {ref} ended, and nobody asked for it" for ref in ends if ref not in asked]
    for fact in ledger.of(facts.CreditNoteSealed):
        note, refund = fact.credit_note, asked.get(fact.credit_note.number)
        taken = captured.get(fact.session_id)
        wanted = None if taken is None else (taken.payment_ref, note.draft.figures.payable_minor)
        if wanted != (None if refund is None else (refund.payment_ref, refund.amount_minor)):
            found.append(f"I2: credit note {note.number} gives back {wanted}, its refund is {refund}")
    done: Counter[str] = Counter()
    for back in ledger.of(facts.PaymentRefunded):
        done[back.payment_ref] += back.amount_minor
    amounts = {f.payment_ref: f.amount_minor for f in captured.values()}
    found += [
        f"I2: payment {ref}: {minor} of {amounts.get(ref, 0)} were given back"
        for ref, minor in done.items()
        if minor > amounts.get(ref, 0)
    ]
    return found


def _given_back(site: Site, ledger: Ledger) -> list[str]:
    """I2 on both sides: a terminal gives nothing back without its driver; a host what the journal says, to the cent."""
    if site.acquirer is None:
        gone = [entry.amount_minor for entry in site.terminal.books.entries if entry.what == "refund"]
        return [f"I2: the terminal gave back {gone}, and nobody stood before it"] if gone else []
    done: Counter[str] = Counter()
    for fact in ledger.of(facts.PaymentRefunded):
        done[fact.payment_ref] += fact.amount_minor
    cards = {f.session_id for f in ledger.of(facts.SessionOpened) if f.method == "card"}
    numbers: dict[str, set[str]] = defaultdict(set)
    for fact in ledger.of(facts.PaymentNoted):
        if fact.session_id in cards:
            numbers[fact.payment_ref].add(read(fact.handle).rrn)
    found = []
    for ref, mine in numbers.items():
        really = sum(hold.refunded_minor for hold in site.acquirer.host.books.holds() if hold.rrn in mine)
        if really != done[ref]:
            found.append(f"I2: payment {ref}: the acquirer gave back {really}, the journal says {done[ref]}")
    return found


def _welded(site: Site, ledger: Ledger) -> list[str]:
    """I1, I8: behind a contactor that is known to be welded nothing begins; it is known of where it is, and in the end
    an operator has said that it opens again.
    """
    found = []
    known: set[str] = set()
    at: dict[str, str] = {}
    for fact in ledger.facts:
        match fact:
            case facts.ContactorWelded(evse_id=evse_id):
                known.add(evse_id)
            case facts.ContactorReleased(evse_id=evse_id):
                known.discard(evse_id)
            case facts.SessionOpened(session_id=session_id, evse_id=evse_id):
                at[session_id] = evse_id
                if evse_id in known:
                    found.append(f"I1: session {session_id} begins behind a welded contactor")
            case facts.EnergyBegan(session_id=session_id) if at[session_id] in known:
                found.append(f"I1: session {session_id} is energized behind a welded contactor")
            case _:
                pass
    found += [f"I8: {evse_id} stays out of order, and its contactor opens" for evse_id in sorted(known)]
    for fact in ledger.of(facts.ContactorWelded):
        stand = next(s for s in site.stands if f"E{s.number + 1}" == fact.evse_id)
        if not stand.ever_welded and not stand.lied:
            found.append(f"I8: {fact.evse_id} is called welded by its {fact.evidence}, and opens")
    return found
