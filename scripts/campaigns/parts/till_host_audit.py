"""After a trial: the acquirer's books against the journal, to the cent; and no card number anywhere (I2, I6)."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from parts.till_ledger import Ledger
from parts.till_site import Site

from edge.domain.ledger import facts
from edge.payments.acquirer.handle import read


def audit_host(site: Site, ledger: Ledger, database: Path) -> list[str]:
    """Each hold is one payment's, and ended once, as the journal says."""
    if site.acquirer is None:
        return []
    books = site.acquirer.host.books
    cards = {f.session_id for f in ledger.of(facts.SessionOpened) if f.method == "card"}
    numbers: dict[str, set[str]] = defaultdict(set)
    for fact in ledger.of(facts.PaymentNoted):
        if fact.session_id in cards:
            numbers[fact.payment_ref].add(read(fact.handle).rrn)
    owners: dict[str, list[str]] = defaultdict(list)
    for ref, mine in numbers.items():
        for number in mine:
            owners[number].append(ref)
    found = [f"I2: the acquirer still holds {hold.rrn}" for hold in books.open]
    found += [
        f"I2: the acquirer's hold {hold.rrn} ({hold.state}) is of {owners[hold.rrn] or 'nobody'}"
        for hold in books.holds()
        if len(owners[hold.rrn]) != 1
    ]
    taken = {f.payment_ref: f.amount_minor for f in ledger.of(facts.PaymentCaptured)}
    given = {f.payment_ref for f in ledger.of(facts.PaymentReversed)}
    for ref, mine in numbers.items():
        holds = [hold for hold in books.holds() if hold.rrn in mine]
        really = sum(hold.captured_minor or 0 for hold in holds)
        if really != taken.get(ref, 0):
            found.append(
                f"I2: payment {ref}: the acquirer took {really}, the journal says {taken.get(ref, 0)}"
            )
        if ref in given and any(hold.state == "captured" for hold in holds):
            found.append(f"I2: payment {ref} was given back, says the journal, and the acquirer took it")
    ends = Counter(e.rrn for e in books.entries if e.what in ("capture", "reverse", "expire"))
    found += [f"I2: the acquirer ended hold {number} {n} times" for number, n in ends.items() if n > 1]
    return found + _card_numbers(site, ledger, database)


def _card_numbers(site: Site, ledger: Ledger, database: Path) -> list[str]:
    """Nothing that the till keeps or sends has a card's number in it, as text or packed."""
    assert site.acquirer is not None
    kept = {path.name: path.read_bytes() for path in database.parent.glob("till.db*")}
    kept["what travelled"] = bytes(ledger.raw)
    return [
        f"I6: a card number stands in {name}"
        for number in site.acquirer.numbers()
        for name, raw in kept.items()
        if number.encode() in raw or bytes.fromhex(number if len(number) % 2 == 0 else f"{number}F") in raw
    ]
