"""The receipt behind the QR code: before it is there, while it is there, and after."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from microdot.test_client import TestClient

from edge.documents.sale import Sale
from edge.domain.identity import receipt_token_hash
from edge.errors import StoreError
from edge.receipts.limit import Limits, Misses
from edge.receipts.receipt import NothingToPay, Provisional, Ready, Running, token_hash
from edge.receipts.site import Site, SiteOptions

TOKEN = "AbCdEfGhIjKlMnOpQrSt_-"


def documents_of_tests():
    path = Path(__file__).parent.parent / "documents" / "conftest.py"
    name = "tests_documents"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="module")
def sale():
    made = documents_of_tests()
    prices = made.tariff_of(made.component("ENERGY", "0.49"), included="YES")
    return made.sold(prices, [(3000, 22_345, "Charging")], hold=6000)


class Shelf:
    """Receipts by token."""

    def __init__(self):
        self.by_hash = {}

    def put(self, token, receipt):
        self.by_hash[receipt_token_hash(token)] = receipt

    def find(self, hashed):
        found = self.by_hash.get(hashed)
        if isinstance(found, Exception):
            raise found
        return found


class Web:
    def __init__(self, **options):
        self.shelf = Shelf()
        self.time = 0.0
        self.now = datetime(2026, 6, 2, tzinfo=UTC)
        site = Site(
            self.shelf,
            SiteOptions(**options),
            now=lambda: self.now,
            clock=lambda: self.time,
        )
        self._client = TestClient(site.application())

    def get(self, path, **headers):
        return asyncio.run(self._client.get(path, headers=headers))


@pytest.fixture
def visitor():
    return Web()


def test_before_the_session_has_synced_the_page_asks_to_try_again(visitor):
    page = visitor.get(f"/r/{TOKEN}")
    assert page.status_code == 404
    assert int(page.headers["Retry-After"]) > 0
    assert "not here yet" in page.text
    assert 'http-equiv="refresh"' in page.text


def test_a_receipt_is_read_on_the_phone_and_kept_as_pdf_and_xml(visitor, sale):
    visitor.shelf.put(TOKEN, Ready(documents=(sale,)))
    page = visitor.get(f"/r/{TOKEN}")
    assert page.status_code == 200
    assert sale.invoice.number in page.text
    assert f'href="/r/{TOKEN}/0.pdf?lang=en"' in page.text
    pdf = visitor.get(f"/r/{TOKEN}/0.pdf?lang=en")
    assert pdf.headers["Content-Type"] == "application/pdf"
    assert pdf.body.startswith(b"%PDF")
    xml = visitor.get(f"/r/{TOKEN}/0.xml")
    assert b"<cbc:InvoiceTypeCode>380<" in xml.body
    for answer in (page, pdf, xml):
        assert "noindex" in answer.headers["X-Robots-Tag"]
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "no-store" in answer.headers["Cache-Control"]


def test_a_credit_note_is_found_under_the_same_address(visitor, sale):
    note = documents_of_tests().credited(sale, 100)
    visitor.shelf.put(TOKEN, Ready(documents=(sale, note)))
    newest = visitor.get(f"/r/{TOKEN}").text
    assert "Credit note" in newest
    assert f"Also here: Invoice {sale.invoice.number}" in newest
    assert f"Invoice {sale.invoice.number}" in visitor.get(f"/r/{TOKEN}/0").text


@pytest.mark.parametrize(("accepts", "words"), [("de-DE,de;q=0.9,en", "Rechnung"), ("fr,en;q=0.5", "Invoice"), ("", "Invoice")])  # fmt: skip
def test_the_language_is_the_browsers(visitor, sale, accepts, words):
    visitor.shelf.put(TOKEN, Ready(documents=(sale,)))
    assert f"{words} CT-" in visitor.get(f"/r/{TOKEN}", **{"Accept-Language": accepts}).text
    assert "Rechnung CT-" in visitor.get(f"/r/{TOKEN}?lang=de", **{"Accept-Language": accepts}).text


def test_after_its_days_a_receipt_is_gone(visitor, sale):
    visitor.shelf.put(TOKEN, Ready(documents=(sale,)))
    visitor.now = sale.invoice.issued_at + timedelta(days=90, seconds=-1)
    assert visitor.get(f"/r/{TOKEN}").status_code == 200
    visitor.now += timedelta(seconds=2)
    page = visitor.get(f"/r/{TOKEN}/0.pdf")
    assert page.status_code == 410
    assert "90 days" in page.text


def test_a_session_that_runs_or_cost_nothing_or_waits_for_its_invoice_says_so(visitor):
    visitor.shelf.put(TOKEN, Running())
    assert "Still charging" in visitor.get(f"/r/{TOKEN}").text
    visitor.shelf.put(TOKEN, NothingToPay())
    assert "no invoice" in visitor.get(f"/r/{TOKEN}").text
    visitor.shelf.put(
        TOKEN, Provisional(evse_id="DE*CHT*E1", energy_wh=12_345, currency="EUR", payable_minor=605)
    )
    page = visitor.get(f"/r/{TOKEN}")
    assert (page.status_code, "Provisional receipt" in page.text) == (200, True)
    assert "€6.05" in page.text
    assert "12.345 kWh" in page.text


def test_who_asks_too_often_for_nothing_waits_and_others_do_not(visitor):
    for _ in range(30):
        assert visitor.get(f"/r/{TOKEN}").status_code == 404
    page = visitor.get(f"/r/{TOKEN}")
    assert page.status_code == 429
    assert 0 < int(page.headers["Retry-After"]) <= 601
    visitor.time += 601
    assert visitor.get(f"/r/{TOKEN}").status_code == 404


def test_behind_a_proxy_its_word_says_who_asks(sale):
    visitor = Web(proxied=True, limits=Limits(tries=2))
    for n in range(4):
        forged = f"10.0.0.{n}, 192.0.2.1"  # what the client says of itself stands to the left
        expected = 404 if n < 2 else 429
        assert visitor.get(f"/r/{TOKEN}", **{"X-Forwarded-For": forged}).status_code == expected
    assert visitor.get(f"/r/{TOKEN}", **{"X-Forwarded-For": "192.0.2.2"}).status_code == 404


@pytest.mark.parametrize("path", ["short", TOKEN + "x", TOKEN[:-1] + ".", "%2e%2e", TOKEN + "/1", TOKEN + "/0.exe", TOKEN + "/-1", TOKEN + "/x.pdf"])  # fmt: skip
def test_anything_else_is_not_there(visitor, sale, path):
    visitor.shelf.put(TOKEN, Ready(documents=(sale,)))
    assert visitor.get(f"/r/{path}").status_code == 404


def test_books_that_cannot_be_read_are_an_answer(visitor):
    visitor.shelf.put(TOKEN, StoreError("disk I/O error /var/lib/books.db"))
    page = visitor.get(f"/r/{TOKEN}")
    assert page.status_code == 503
    assert "books.db" not in page.text


def test_what_is_not_expressible_as_xml_is_not_there(visitor, sale):
    from msgspec.structs import replace

    statement = replace(sale.invoice, draft=replace(sale.invoice.draft, billing="statement", account="A-1"))
    visitor.shelf.put(TOKEN, Ready(documents=(Sale(invoice=statement),)))
    page = visitor.get(f"/r/{TOKEN}")
    assert "Charging statement" in page.text
    assert "not an invoice" in page.text
    assert ".xml" not in page.text
    assert visitor.get(f"/r/{TOKEN}/0.xml").status_code == 404


def test_robots_are_told_to_stay_away(visitor):
    assert visitor.get("/robots.txt").text == "User-agent: *\nDisallow: /\n"


def test_only_what_looks_like_a_token_is_hashed():
    assert token_hash(TOKEN) == receipt_token_hash(TOKEN)
    assert token_hash(TOKEN + "A") is None
    assert token_hash("Ä" * 22) is None


def test_misses_are_counted_per_address_and_forgotten_in_order():
    misses = Misses(Limits(tries=1, window_s=10))
    misses.missed("a", 0)
    assert misses.wait_s("a", 4) == 6
    assert misses.wait_s("b", 4) == 0
    assert misses.wait_s("a", 10) == 0
    misses.missed("a", 11)
    assert misses.wait_s("a", 12) == 9
    for n in range(10_000):
        misses.missed(f"n{n}", 12)
    assert misses.wait_s("a", 12) == 0  # bounded: the oldest is forgotten
