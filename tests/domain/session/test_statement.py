"""Accounts that are billed once a month: a session ends on a statement, and nobody's name is in the chain."""

from __future__ import annotations

import pytest

from edge.domain.buyer import Buyer, BuyerRecord, Invoicing, ZeroTax
from edge.domain.identity import receipt_token_hash
from edge.domain.ledger import facts
from edge.domain.ledger.checks import Checker
from edge.domain.session.screen import view

ACME = BuyerRecord(
    buyer=Buyer(name="Acme GmbH", address="Hof 2, 20095 Hamburg", country="DE", vat_id="DE222222222"),
    salt="ab" * 16,
)


def session(till, invoicing, *, crash=False):
    till.wait(600)
    till.devices_answer()
    till.tap("A", invoicing=invoicing)
    till.deliver()
    till.plug()
    till.deliver()
    till.wait(400)
    if crash:
        till.crash(off_s=60, new_boot=True)
        till.devices_answer()
        till.wait(100)
    till.pilot_to("A")
    till.deliver()
    till.deliver()


def problems(till):
    checker = Checker()
    for entry in till.journal.entries():
        checker.add(entry)
    return checker.report().problems


@pytest.mark.parametrize("crash", [False, True])
def test_a_collective_account_gets_a_statement_without_a_number(charger, crash):
    till = charger("flat and energy")
    session(till, Invoicing(collective=True), crash=crash)
    [sealed] = till.journal.facts(facts.StatementSealed)
    [ended] = till.journal.facts(facts.SessionEnded)
    assert ended.outcome == "stated"
    assert till.journal.facts(facts.InvoiceSealed) == []
    assert sealed.statement.draft.billing == "statement"
    assert sealed.statement.draft.account == "acc-A"
    assert problems(till) == ()
    session(till, Invoicing())
    [invoice] = till.journal.invoices()
    assert invoice.sequence == 1, "a statement takes no number"
    assert problems(till) == ()


def test_a_buyer_is_a_commitment_in_the_chain_and_a_record_beside_it(charger):
    till = charger("flat and energy")
    zero = ZeroTax(category="E", reason="Small business")
    session(till, Invoicing(buyer=ACME, zero_tax=zero), crash=True)
    [invoice] = till.journal.invoices()
    assert (invoice.draft.buyer, invoice.draft.zero_tax) == (ACME.commitment, zero)
    kept = till.journal.db.execute("SELECT commitment FROM buyer").fetchall()
    assert kept == [(ACME.commitment,)]
    assert b"Acme" not in b"".join(e.raw for e in till.journal.entries())
    assert problems(till) == ()


def test_the_screen_shows_the_address_of_the_receipt_and_the_chain_its_hash(charger):
    till = charger("flat and energy")
    session(till, Invoicing())
    token = till.state.finished.receipt_token
    [opened] = till.journal.facts(facts.SessionOpened)
    assert opened.receipt_token_hash == receipt_token_hash(token)
    assert token.encode() not in b"".join(e.raw for e in till.journal.entries())
    terms = till.terms()
    shown = view(till.state, terms, till.now(), online=True, notice=None, choosing=False)
    assert shown.receipt_url is None, "without an address there is none to show"
    object.__setattr__(terms, "receipt_url", "https://receipts.example/r/")
    shown = view(till.state, terms, till.now(), online=True, notice=None, choosing=False)
    assert shown.receipt_url == f"https://receipts.example/r/{token}"


def test_the_receipt_of_an_undated_session_has_its_address_already(charger):
    till = charger("flat and energy", trusted=False, offset_s=-86_400)
    session(till, Invoicing())
    assert till.journal.invoices() == []
    terms = till.terms()
    object.__setattr__(terms, "receipt_url", "https://receipts.example/r/")
    shown = view(till.state, terms, till.now(), online=True, notice=None, choosing=False)
    assert shown.kind == "paid"
    assert shown.pending
    assert shown.receipt_url.startswith("https://receipts.example/r/")
