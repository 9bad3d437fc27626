"""What drivers read: the receipt as HTML, and as PDF on A4 and on rolls of 58 and 80 mm."""

from __future__ import annotations

import io
import re
from decimal import Decimal
from html.parser import HTMLParser

import facturx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree
from msgspec.structs import replace
from pypdf import PdfReader

from edge.documents import fonts
from edge.documents.cii import cii
from edge.documents.html import html
from edge.documents.pdf_page import page
from edge.documents.pdf_roll import roll_58, roll_80
from edge.documents.sale import PartMissing, Sale
from edge.documents.sheet import sheet
from edge.domain.energy import SignedValue
from edge.domain.tariffs import TaxRate

PAPERS = pytest.mark.parametrize("paper", [html, page, roll_58, roll_80], ids=["html", "pdf", "58", "80"])


class Texts(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.links, self.inside = [], [], None

    def handle_starttag(self, tag, attributes):
        self.inside = tag
        self.links += [v for k, v in attributes if k in {"src", "href"}]

    def handle_data(self, data):
        if self.inside != "style":
            self.found.append(data)


def words_of(document):
    """All words, whatever the spaces and line ends between them."""
    if document.startswith(b"%PDF"):
        text = "".join(p.extract_text() for p in PdfReader(io.BytesIO(document)).pages)
    else:
        reader = Texts()
        reader.feed(document.decode())
        text = " ".join(reader.found)
    return re.sub(r"\s+", "", text)


@PAPERS
@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", ["Invoice", "CT-7J0Z9696-000007", "22.345kWh", "€0.49/kWh", "4,711.280\u20134,733.625kWh", "€11.93",
                "Jun1,2026,12:00:00(UTC+02:00)", "0:10:31", "VAT19%on", "Paidbycard", "€60.00",
                "notsignedbythemeter"]),
        ("de", ["Rechnung", "CT-7J0Z9696-000007", "22,345kWh", "0,49€/kWh", "4.711,280\u20134.733,625kWh", "11,93€",
                "01.06.2026,12:00:00(UTC+02:00)", "0:10:31", "USt.19%auf", "MitKartebezahlt", "60,00€",
                "nichtvomZählersigniert"]),
    ],
)  # fmt: skip
def test_every_paper_says_what_was_sold_in_its_language(ordinary, paper, language, said):
    assert ordinary.invoice.draft.figures.payable_minor == 1193
    words = words_of(paper(ordinary, language))
    for expected in (
        *said,
        "Strom&SöhneGmbH",
        "DE123456789",
        "Säule1",
        "20240001",
        "20095Hamburg",
        "3e07" * 16,
    ):
        assert expected in words


@PAPERS
def test_a_receipt_of_signed_values_shows_the_key_that_verifies_them(ordinary, paper):
    draft = ordinary.invoice.draft
    signed = replace(draft, meter=replace(draft.meter, signed=True))
    value = SignedValue(ocmf=b"OCMF|{}|{}", public_key=bytes(range(124)), verified=True)
    sale = replace(ordinary, invoice=replace(ordinary.invoice, draft=signed), signed=(value,))
    words = words_of(paper(sale, "en"))
    assert "Metervaluesaresignedbythemeter" in words
    assert bytes(range(124)).hex().upper() in words


@PAPERS
def test_allowances_rounding_estimates_and_unconfirmed_times_are_told(make, tariff, price, paper):
    sale = make(
        tariff(price("ENERGY", "0.49"), price("FLAT", "0.35", "7"), included="YES"),
        [(3000, 22_345, "Charging")],
        hold=501, estimated=True, dated=False,
    )  # fmt: skip
    figures = sale.invoice.draft.figures
    assert figures.allowances
    words = words_of(paper(sale, "en"))
    for expected in (
        "Waived:abovetheamountheld(19%)",
        "estimated",
        "notconfirmed",
        "€5.01",
        "\u2212€",
        "VAT7%",
        "VAT19%",
    ):
        assert expected in words
    assert ("Rounding" in words) == bool(figures.rounding_minor)


@pytest.mark.parametrize(
    ("currency", "language", "expected"),
    [
        ("JPY", "en", "¥1,234"),
        ("JPY", "de", "1.234 ¥"),
        ("KWD", "en", "KWD 1,234.000"),
        ("EUR", "de", "1.234,00 €"),
    ],
)
def test_money_has_the_places_of_its_currency(make, tariff, price, currency, language, expected):
    sale = make(tariff(price("FLAT", "1234", None), currency=currency), [(60, 10, "Charging")])
    assert sheet(sale, language).total.value.replace("\u00a0", " ") == expected


@PAPERS
@given(data=st.data())
@settings(deadline=None, max_examples=5, suppress_health_check=[HealthCheck.too_slow])
def test_any_session_can_be_printed(any_sale, paper, data):
    sale = data.draw(any_sale)
    assert sale.invoice.number.replace("-", "") in words_of(paper(sale, "de")).replace("-", "")


def test_the_receipt_fetches_nothing_and_texts_are_no_markup(ordinary):
    draft = ordinary.invoice.draft
    seller = replace(draft.seller, name='<script src="x">&')
    document = html(Sale(invoice=replace(ordinary.invoice, draft=replace(draft, seller=seller))))
    reader = Texts()
    reader.feed(document.decode())
    assert reader.links == []
    assert b"<script" not in document
    assert "url(" not in document.decode()
    assert b"prefers-color-scheme:dark" in document
    assert b"@media print" in document


def test_the_page_is_archival_and_carries_the_e_invoice(ordinary):
    document = page(ordinary, "de")
    name, xml = facturx.get_xml_from_pdf(document, check_xsd=True)
    assert (name, xml) == ("factur-x.xml", cii(ordinary, "de"))
    reader = PdfReader(io.BytesIO(document))
    assert reader.attachments == {"factur-x.xml": [cii(ordinary, "de")]}
    root = reader.trailer["/Root"]
    [attached] = root["/AF"]
    assert attached.get_object()["/AFRelationship"] == "/Alternative"
    assert root["/OutputIntents"][0].get_object()["/S"] == "/GTS_PDFA1"
    assert root["/Lang"] == "de"
    metadata = etree.fromstring(root["/Metadata"].get_object().get_data())
    found = {etree.QName(n).localname: n.text for n in metadata.iter() if n.text}
    assert (found["part"], found["conformance"]) == ("3", "B")
    assert (found["ConformanceLevel"], found["DocumentFileName"]) == ("EN 16931", "factur-x.xml")
    fonts_used = reader.pages[0]["/Resources"]["/Font"].values()
    for font in fonts_used:
        [inner] = font.get_object()["/DescendantFonts"]
        assert "/FontFile2" in inner.get_object()["/FontDescriptor"]
    assert not reader.pages[0].images


def test_what_the_norm_cannot_say_is_a_page_without_e_invoice(make, tariff, price):
    taxes = tuple(TaxRate(name=n, percent=Decimal(5)) for n in ("GST", "PST"))
    sale = make(tariff(replace(price("FLAT", "10"), taxes=taxes)), [(60, 10, "Charging")])
    document = page(sale)
    assert PdfReader(io.BytesIO(document)).attachments == {}
    assert "PST5%on" in words_of(document)
    assert b"urn:factur-x" not in document


@pytest.mark.parametrize("paper", [page, roll_58, roll_80])
def test_the_same_invoice_is_the_same_file(ordinary, paper):
    assert paper(ordinary, "en") == paper(ordinary, "en")


@pytest.mark.parametrize(("paper", "width_mm"), [(roll_58, 58), (roll_80, 80)])
def test_a_roll_is_one_page_as_wide_as_the_paper_and_as_long_as_the_text(
    make, tariff, price, paper, width_mm
):
    short = make(tariff(price("FLAT", "1")), [(60, 10, "Charging")])
    draft = short.invoice.draft
    text = replace(draft.tariff, text="Donaudampfschifffahrtsgesellschaft" * 9)
    long = Sale(invoice=replace(short.invoice, draft=replace(draft, tariff=text)))
    heights = []
    for sale in (short, long):
        [only] = PdfReader(io.BytesIO(paper(sale, "de"))).pages
        assert float(only.mediabox.width) == pytest.approx(width_mm / 25.4 * 72, abs=0.1)
        heights.append(float(only.mediabox.height))
        assert "SummenettoUSt." not in words_of(paper(sale, "de"))
    assert heights[1] > heights[0] + 20


def test_a_long_bill_goes_on_over_pages(make, tariff, price):
    sale = make(tariff(price("FLAT", "1")), [(60, 10, "Charging")])
    figures = sale.invoice.draft.figures
    many = replace(figures, lines=figures.lines * 90)
    sale = Sale(invoice=replace(sale.invoice, draft=replace(sale.invoice.draft, figures=many)))
    reader = PdfReader(io.BytesIO(page(sale)))
    assert len(reader.pages) == 3
    assert "Page 2 of 3" in reader.pages[1].extract_text()


def test_a_missing_font_says_how_to_get_it(ordinary, monkeypatch):
    monkeypatch.setattr(fonts, "_FOLDERS", ())
    fonts._file.cache_clear()
    with pytest.raises(PartMissing, match="fonts-dejavu-core"):
        page(ordinary)
    fonts._file.cache_clear()
