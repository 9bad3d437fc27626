"""After a trial: the books of till, terminal, meter and back office against each other, promise by promise."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Final

from parts.till_event_audit import audit_events
from parts.till_host_audit import audit_host
from parts.till_ledger import Ledger
from parts.till_site import UIDS, Site

from edge.backoffice.verify import verify as verify_books
from edge.domain.ledger import facts
from edge.domain.payment import OpenPayment
from edge.payments.desk.folio import read as read_folio
from edge.payments.desk.folio import receipt_no
from edge.store.reading import Reading
from edge.store.verification import verify
from hw.virtual.terminal_books import Books

_LAPSED: Final = frozenset(("expired", "forgotten"))


def audit(site: Site, database: Path, heads: list[tuple[str, int, str]]) -> list[str]:
    """Everything that is wrong. The till is stopped, the back office has acknowledged everything."""
    site.books.db.execute("PRAGMA wal_checkpoint").fetchall()
    ledger = Ledger(site.folder / "books.db")
    with Reading(database) as till:
        report = verify(till)
        stats = till.stats()
        last = {e["epoch"]: e["last"] for e in stats["epochs"]}
    problems = [f"ledger: {p}" for p in report.problems]
    problems += [f"I2: hold {ref} is open" for ref in report.open_holds]
    problems += [f"books: {p}" for p in verify_books(site.folder / "books.db").problems]
    problems += _synced(ledger, last, heads)
    problems += _sessions(ledger)
    problems += _terminal(site, ledger) if site.acquirer is None else []
    problems += audit_host(site, ledger, database)
    problems += audit_events(site, ledger)
    problems += _signed(site, ledger)
    problems += _energy(site, ledger)
    problems += [f"I6: UID {u.hex()} travelled" for u in UIDS if u.hex().encode() in ledger.raw.lower()]
    return problems


def _synced(ledger: Ledger, last: dict[str, int], heads: list[tuple[str, int, str]]) -> list[str]:
    """I5, I8: what the journal holds is booked, and no commit that returned was ever lost."""
    found = []
    booked: dict[str, int] = defaultdict(int)
    for epoch, seq in ledger.hashes:
        booked[epoch] = max(booked[epoch], seq)
    for epoch, seq in last.items():
        if booked[epoch] != seq:
            found.append(f"I5: epoch {epoch}: the till has {seq} entries, the back office {booked[epoch]}")
    wrong = [(seq, sha) for epoch, seq, sha in heads if seq and ledger.hashes.get((epoch, seq)) != sha]
    if wrong:
        found.append(
            f"I8: {len(wrong)} commits that had returned were lost, the first with entry {wrong[0][0]}"
        )
    return found


def _sessions(ledger: Ledger) -> list[str]:
    """I4: every session ends, and one that costs money on exactly one invoice, to the cent (I3)."""
    found = []
    ends = Counter(f.session_id for f in ledger.of(facts.SessionEnded))
    opened = Counter(f.session_id for f in ledger.of(facts.SessionOpened))
    sealed = Counter(f.session_id for f in ledger.of(facts.InvoiceSealed))
    sealed.update(f.session_id for f in ledger.of(facts.StatementSealed))
    payable = {f.session_id: f.payable_minor for f in ledger.of(facts.SessionSettled)}
    captured = {f.session_id: f.amount_minor for f in ledger.of(facts.PaymentCaptured)}
    for session_id, count in opened.items():
        if count != 1 or ends[session_id] != 1:
            found.append(f"I4: session {session_id} opened {count} times, ended {ends[session_id]} times")
    for session_id, minor in captured.items():
        if sealed[session_id] != 1 or payable.get(session_id) != minor:
            found.append(
                f"I4: session {session_id} has {sealed[session_id]} invoices, "
                f"{payable.get(session_id)} to pay, {minor} taken"
            )
    found += [f"I4: session {s} has {n} invoices" for s, n in sealed.items() if n > 1]
    refs = Counter(
        f.payment_ref
        for kind in (
            facts.PaymentCaptured,
            facts.PaymentReversed,
            facts.PaymentExpired,
            facts.PaymentDeclined,
        )
        for f in ledger.of(kind)
    )
    found += [f"I2: hold {ref} ended {n} times" for ref, n in refs.items() if n > 1]
    found += [
        f"I2: hold {f.payment_ref} was asked for and never ended"
        for f in ledger.of(facts.PaymentRequested)
        if not refs[f.payment_ref]
    ]
    return found


def _terminal(site: Site, ledger: Ledger) -> list[str]:
    """I2: each hold on the terminal's books is one payment's, and ended as the journal says, to the cent."""
    books = site.terminal.books
    receipts: dict[str, set[int]] = defaultdict(set)
    for fact in ledger.of(facts.PaymentNoted):
        noted = OpenPayment(
            ref=fact.payment_ref, session_id=fact.session_id, status="authorized", requested_minor=1,
            hold_minor=None, handle=fact.handle,
        )  # fmt: skip
        number = receipt_no(read_folio(noted))
        if number is not None:
            receipts[fact.payment_ref].add(number)
    owners: dict[int, list[str]] = defaultdict(list)
    for ref, numbers in receipts.items():
        for number in numbers:
            owners[number].append(ref)
    found = [f"I2: the terminal still holds {number}" for number in books.open]
    again = {
        n
        for n, times in Counter(e.hold_no for e in books.entries if e.what == "reserve").items()
        if times > 1
    }
    for number, hold in books.holds.items():
        mine = owners.get(number, [])
        if number in again:
            continue
        if number in site.foreign:
            found += [f"I2: {ref} took hold {number}, which is nobody's" for ref in mine]
        elif len(mine) > 1 or (not mine and hold.state not in _LAPSED):
            found.append(f"I2: hold {number} ({hold.state}) is of {mine or 'nobody'}")
    taken = {
        f.payment_ref: f.amount_minor for f in ledger.of(facts.PaymentCaptured) if f.payment_ref in receipts
    }
    for number in sorted(n for n in again if n is not None):
        found += _came_round(books, number, [taken.get(ref, 0) for ref in owners[number]])
    for ref, numbers in receipts.items():
        if numbers & again:
            continue
        holds = [books.holds[n] for n in numbers if n in books.holds and n not in site.foreign]
        really = sum(hold.captured_minor or 0 for hold in holds)
        if really != taken.get(ref, 0):
            found.append(
                f"I2: payment {ref}: the terminal took {really}, the journal says {taken.get(ref, 0)}"
            )
    ends = Counter(e.hold_no for e in books.entries if e.what in ("capture", "reverse"))
    found += [
        f"I2: the terminal ended hold {number} {n} times"
        for number, n in ends.items()
        if n > 1 and number not in again
    ]
    return found


def _came_round(books: Books, number: int, taken: list[int]) -> list[str]:
    """After 9999 receipts a terminal uses a number again: its holds one after the other, as the journal has them."""
    really: list[int] = []
    for entry in books.entries:
        if entry.hold_no == number:
            match entry.what:
                case "reserve":
                    really.append(0)
                case "capture":
                    really[-1] += entry.amount_minor
                case _:
                    pass
    if really == taken:
        return []
    return [f"I2: holds {number}: the terminal took {really}, the journal says {taken}"]


def _energy(site: Site, ledger: Ledger) -> list[str]:
    """I1, I7: nothing is billed that did not flow; where every register was read, all that flowed is billed."""
    found = []
    ended = {f.session_id: f for f in ledger.of(facts.EnergyEnded)}
    opened = {f.session_id: f.evse_id for f in ledger.of(facts.SessionOpened)}
    began = Counter(opened[f.session_id] for f in ledger.of(facts.EnergyBegan))
    for stand in site.stands:
        evse_id = f"E{stand.number + 1}"
        mine = [f for s, f in ended.items() if opened[s] == evse_id]
        billed_wh = sum(f.energy_wh for f in mine)
        drawn_wh = stand.outlet.energy_wh()
        slack_wh = (1 + stand.meter.resolution_wh) * began[evse_id]
        if any(f.energy_wh < 0 for f in mine):
            found.append(f"I7: {evse_id} billed less than nothing")
        if billed_wh > drawn_wh + slack_wh:
            found.append(f"I7: {evse_id} billed {billed_wh} Wh, {drawn_wh} Wh flowed")
        sure = not stand.lied and not stand.ever_welded and not any(f.estimated for f in mine)
        if sure and billed_wh < drawn_wh - slack_wh:
            found.append(f"I1: {evse_id} gave {drawn_wh} Wh, {billed_wh} Wh were billed")
    return found


def _signed(site: Site, ledger: Ledger) -> list[str]:
    """What is billed as signed is proven. What a meter signed of a session with energy is kept, or known to be lost.

    Where nothing was drawn the meter's session ends with the next one; where the till died, or a line or meter was not
    well, the invoice may say that nothing is signed.
    """
    found = []
    ended = {f.session_id for f in ledger.of(facts.EnergyEnded) if f.energy_wh and not f.estimated}
    kept = Counter(f.session_id for f in ledger.of(facts.SignedRecordKept) if f.session_id is not None)
    lost = Counter(f.session_id for f in ledger.of(facts.SignedRecordLost))
    for fact in ledger.of(facts.SignedBegun):
        there = kept[fact.session_id] + lost[fact.session_id]
        if fact.session_id in ended and not site.disturbed and not there:
            found.append(
                f"I7: session {fact.session_id} was signed by its meter, and no record of it is kept"
            )
    proven = {f.session_id for f in ledger.of(facts.SignedRecordKept) if f.value.verified}
    proven |= {f.session_id for f in ledger.of(facts.SignedBegun) if f.value is not None and f.value.verified}
    for sealed in ledger.of(facts.InvoiceSealed):
        meter = sealed.invoice.draft.meter
        if meter.signed and (sealed.session_id not in proven or sealed.session_id not in kept):
            found.append(f"I7: session {sealed.session_id} is billed as signed, and nothing proves it")
    return found
