"""The tables of the back office say what the devices' facts say."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta

import jsonschema
import pytest

from edge.backoffice.arrival import Message
from edge.backoffice.export import export
from edge.backoffice.stats import Total, collect
from edge.backoffice.verify import verify
from edge.domain.energy import MeterIdentity
from edge.domain.invoice import InvoiceDraft, Paid, Place, seal
from edge.domain.ledger.facts import (
    EnergyBegan,
    EnergyEnded,
    InvoiceSealed,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentRequested,
    SessionEnded,
    SessionOpened,
    TariffFrozen,
    VehicleConnected,
)
from edge.domain.pricing import Invoice as Figures
from edge.sync.contract import document
from edge.sync.contract.topics import Peer

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def sold(filled):
    """The facts of one session, from tap to invoice."""

    def sold(session_id: str, sequence: int, payable_minor: int, currency: str = "EUR") -> tuple:
        draft = filled(
            InvoiceDraft,
            session_id=session_id,
            place=Place(evse_id="DE*CTL*E1", label="1", address="A", time_zone="Europe/Berlin"),
            begin=NOON,
            end=NOON + timedelta(hours=1),
            energy_wh=10_000,
            currency=currency,
            figures=Figures(payable_minor=payable_minor),
            paid=filled(Paid, method="account", captured_minor=payable_minor),
        )
        invoice = seal(draft, series="CT-E1", sequence=sequence, now=NOON)
        return (
            filled(
                SessionOpened, session_id=session_id, evse_id="DE*CTL*E1", method="account", account="A-1"
            ),
            VehicleConnected(session_id=session_id),
            EnergyBegan(
                session_id=session_id,
                register_wh=1_000_000,
                meter=MeterIdentity(model="SDM630", serial="M1"),
                began_at=NOON,
            ),
            filled(
                EnergyEnded,
                session_id=session_id,
                register_wh=1_010_000,
                energy_wh=10_000,
                ended_at=NOON + timedelta(hours=1),
            ),
            InvoiceSealed(session_id=session_id, invoice=invoice),
            filled(SessionEnded, session_id=session_id, outcome="invoiced"),
        )

    return sold


@pytest.fixture
def receive(books, journal):
    def receive() -> None:
        books.book([Message(peer=Peer("s1", "d1"), payload=b"\n".join(journal.raws))], NOON)

    return receive


def test_a_session_is_in_the_tables_with_its_readings_and_its_invoice(
    sold, journal, receive, database
) -> None:
    journal.add(TariffFrozen(hash="0" * 64, document="{}"), *sold("S1", 1, 490))
    receive()
    db = sqlite3.connect(database)
    db.row_factory = sqlite3.Row
    (session,) = map(dict, db.execute("SELECT * FROM sessions"))
    assert (session["site"], session["device"], session["status"]) == ("s1", "d1", "ended")
    assert (session["begin_wh"], session["end_wh"], session["energy_wh"]) == (1_000_000, 1_010_000, 10_000)
    assert (session["meter_serial"], session["invoice_number"]) == ("M1", "CT-E1-000001")
    values = [tuple(row) for row in db.execute("SELECT context, register_wh FROM meter_values ORDER BY at")]
    assert values == [("Transaction.Begin", 1_000_000), ("Transaction.End", 1_010_000)]
    (invoice,) = db.execute("SELECT * FROM invoices")
    assert (invoice["payable_minor"], invoice["currency"]) == (490, "EUR")
    assert json.loads(invoice["document"])["draft"]["paid"]["captured_minor"] == 490
    assert invoice["issued_at"] == "2026-06-01T14:00:00+02:00"


def test_totals_are_sums_per_currency(sold, journal, receive, database) -> None:
    journal.add(*sold("S1", 1, 490), *sold("S2", 2, 510), *sold("S3", 3, 700, "SEK"))
    receive()
    assert collect(database).totals == (
        Total(currency="EUR", invoices=2, payable_minor=1000),
        Total(currency="SEK", invoices=1, payable_minor=700),
    )
    assert verify(database).problems == ()


def test_what_upstream_authorized_is_listed_for_settlement(sold, journal, receive, database) -> None:
    journal.add(*sold("S1", 1, 490))
    journal.add(
        PaymentRequested(
            session_id="S1", payment_ref="P1", method="upstream", amount_minor=5000, currency="EUR"
        ),
        PaymentAuthorized(session_id="S1", payment_ref="P1", hold_minor=5000),
        PaymentCaptured(session_id="S1", payment_ref="P1", amount_minor=490),
    )
    journal.pay("S1", "P2", 700)
    receive()
    (line,) = export(database, "settlements", "ndjson")
    settled = json.loads(line)
    assert (settled["payment_ref"], settled["captured_minor"], settled["account"]) == ("P1", 490, "A-1")


def test_a_number_that_is_missing_or_used_twice_shows(sold, journal, receive, database) -> None:
    journal.add(*sold("S1", 1, 490), *sold("S2", 3, 510), *sold("S3", 3, 999))
    receive()
    problems = verify(database).problems
    assert any("2 invoices for the numbers 1 to 3" in problem for problem in problems)
    assert any("contradicts the books" in problem for problem in problems)
    assert collect(database).totals[0].payable_minor == 1000, "the second invoice of a number counts nowhere"


def test_tables_made_anew_from_the_entries_are_the_same(sold, journal, receive, books, database) -> None:
    journal.add(TariffFrozen(hash="0" * 64, document="{}"), *sold("S1", 1, 490), *sold("S2", 1, 999))
    journal.pay("S1", "P1", 490)
    receive()
    tables = ("session", "payment", "invoice", "meter_value", "tariff", "entry", "line")
    before = {t: books.db.execute(f"SELECT * FROM {t} ORDER BY 1, 2").fetchall() for t in tables}
    quarantined = collect(database).quarantined
    for table in ("session", "invoice"):
        books.db.execute(f"DELETE FROM {table}")
    found = books.rebuild(NOON)
    assert (found.entries, found.problems) == (18, 1)
    assert before == {t: books.db.execute(f"SELECT * FROM {t} ORDER BY 1, 2").fetchall() for t in tables}
    assert collect(database).quarantined == quarantined == 1


def test_every_entry_of_a_session_fits_the_published_schema(sold, journal) -> None:
    journal.add(*sold("S1", 1, 490))
    schemas = json.loads(document.SCHEMAS.read_text())
    validator = jsonschema.Draft202012Validator({**schemas, "$ref": "#/$defs/Entry"})
    for raw in journal.raws:
        validator.validate(json.loads(raw))
