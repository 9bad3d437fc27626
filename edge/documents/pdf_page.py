"""The invoice as PDF: A4, text that can be copied, archival (PDF/A-3b) with the e-invoice inside (Factur-X /
ZUGFeRD).

An invoice that EN 16931 cannot express (several taxes on one price, three decimals) is the same page without it.
"""

from __future__ import annotations

from datetime import datetime
from xml.sax.saxutils import escape

from fpdf import FPDF
from fpdf.enums import XPos, YPos

from edge.documents import fonts
from edge.documents.cii import cii
from edge.documents.sale import NotExpressible, Sale
from edge.documents.sheet import Row, Sheet, sheet

_MARGIN_MM = 20
_WIDTH_MM = 210 - 2 * _MARGIN_MM
_LINE_MM = 5.2
_SOFT, _INK, _RULE = 105, 20, 200  # gray, 0 is black
_COLUMNS_MM = (58, 30, 37, 17, 28)
_SUMS_FROM_MM = 96  # where the block of sums begins, from the left edge
_XML = "factur-x.xml"
_XMP_FACTURX = "urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#"


def page(sale: Sale, language: str = "en") -> bytes:
    """The A4 invoice. Raises PartMissing."""
    try:
        xml: bytes | None = cii(sale, language)
    except NotExpressible:
        xml = None
    return written(sheet(sale, language), xml, at=sale.invoice.issued_at)


def written(told: Sheet, xml: bytes | None, *, at: datetime) -> bytes:
    """A sheet on A4, with the e-invoice inside where there is one. Raises PartMissing."""
    pdf = _Page(told)
    fonts.dated(
        pdf,
        title=told.title,
        author=told.seller[0],
        subject=told.subject,
        language=told.words.language,
        at=at,
    )
    pdf.write_out()
    if xml is not None:
        pdf.embed_file(
            bytes=xml,
            basename=_XML,
            mime_type="text/xml",
            desc="Factur-X/ZUGFeRD",
            modification_date=at,
            associated_file_relationship="Alternative",
        )
    pdf.set_xmp_metadata(_xmp(told.title, told.seller[0], at.isoformat(), facturx=xml is not None))
    return bytes(pdf.output())


class _Page(FPDF):
    """One sheet on A4, on as many pages as it takes."""

    def __init__(self, told: Sheet) -> None:
        super().__init__(format="A4", enforce_compliance="PDF/A-3B")
        self.told = told
        fonts.embed(self)
        self.c_margin = 0
        self.set_margins(_MARGIN_MM, 18, _MARGIN_MM)
        self.set_auto_page_break(auto=True, margin=24)

    def write_out(self) -> None:
        told, words = self.told, self.told.words
        self.add_page()
        self._text(told.seller[0], 13, bold=True)
        self._text(" · ".join(told.seller[1:]), 8, gray=_SOFT)
        self.ln(7 if told.buyer else 13)
        for line in told.buyer:
            self._text(line, 10)
        self.ln(7 if told.buyer else 0)
        self._text(told.title, 19, bold=True, height=9)
        self._text(f"{words.issued}: {told.issued}", 10, gray=_SOFT)
        self.ln(6)
        self._heading(told.subject)
        place = (Row(words.place, ", ".join(told.place)),) if told.place else ()
        for row in (*told.facts, *place):
            self._pair(row, left=_MARGIN_MM, label=52, align="L")
        self.ln(7)
        self._items()
        self._sums()
        self.ln(9)
        for remark in told.remarks:
            self._text(remark, 8.5, gray=_SOFT, height=4.4)
            self.ln(1)

    def footer(self) -> None:
        self.set_y(-16)
        words = self.told.words
        self.set_text_color(_SOFT)
        self.set_font(fonts.FAMILY, "", 8)
        self.cell(w=40, h=4, text=words.page.format(page=self.page_no(), pages="{nb}"))
        self.set_font(fonts.FAMILY, "", 6.5)
        self.cell(w=_WIDTH_MM - 40, h=4, text=self.told.footer, align="R")

    def _text(
        self, text: str, size: float, *, bold: bool = False, gray: int = _INK, height: float = _LINE_MM
    ) -> None:
        self.set_font(fonts.FAMILY, "B" if bold else "", size)
        self.set_text_color(gray)
        self.multi_cell(w=_WIDTH_MM, h=height, text=text, new_x=XPos.LMARGIN, new_y=YPos.NEXT, align="L")

    def _heading(self, text: str) -> None:
        self._text(text, 10, bold=True)
        self._rule()

    def _rule(self, left: float = _MARGIN_MM) -> None:
        self.set_draw_color(_RULE)
        self.set_line_width(0.2)
        self.line(left, self.get_y() + 0.8, _MARGIN_MM + _WIDTH_MM, self.get_y() + 0.8)
        self.ln(2)

    def _pair(self, row: Row, *, left: float, label: float, align: str, bold: bool = False) -> None:
        """A label and its value; both may run over several lines, on one page."""
        width = _MARGIN_MM + _WIDTH_MM - left - label
        style = "B" if bold else ""
        size = 11.5 if bold else 9.5
        self.set_font(fonts.FAMILY, style, size)
        height = max(self._needs(label, row.label), self._needs(width, row.value))
        if self.will_page_break(height):
            self.add_page()
        top = self.get_y()
        self.set_font(fonts.FAMILY, style, size)
        self.set_text_color(_INK if bold else _SOFT)
        self.set_x(left)
        self.multi_cell(w=label, h=_LINE_MM, text=row.label, align="L")
        self.set_text_color(_INK)
        self.set_xy(left + label, top)
        self.multi_cell(w=width, h=_LINE_MM, text=row.value, align=align)
        self.set_xy(_MARGIN_MM, top + height + 0.6)

    def _needs(self, width: float, text: str) -> float:
        """The height of a text in a column, in mm."""
        lines = self.multi_cell(w=width, h=_LINE_MM, text=text, dry_run=True, output="LINES")
        assert isinstance(lines, list)
        return len(lines) * _LINE_MM

    def _items(self) -> None:
        words = self.told.words
        titles = (
            words.description,
            words.quantity,
            f"{words.unit_price} {self.told.basis}",
            words.vat,
            words.amount,
        )
        self._cells(titles, 8, bold=True)
        self._rule()
        for item in self.told.items:
            name = f"{item.name}\n{item.note}" if item.note else item.name
            self._cells((name, item.quantity, item.price, item.tax, item.amount), 9.5)
        self._rule()

    def _cells(self, texts: tuple[str, ...], size: float, *, bold: bool = False) -> None:
        self.set_font(fonts.FAMILY, "B" if bold else "", size)
        self.set_text_color(_SOFT if bold else _INK)
        height = max(self._needs(width, text) for width, text in zip(_COLUMNS_MM, texts, strict=True))
        if self.will_page_break(height):
            self.add_page()
        top, left = self.get_y(), float(_MARGIN_MM)
        self.set_font(fonts.FAMILY, "B" if bold else "", size)
        self.set_text_color(_SOFT if bold else _INK)
        for width, text in zip(_COLUMNS_MM, texts, strict=True):
            self.set_xy(left, top)
            self.multi_cell(w=width, h=_LINE_MM, text=text, align="L" if left == _MARGIN_MM else "R")
            left += width
        self.set_xy(_MARGIN_MM, top + height + 0.6)

    def _sums(self) -> None:
        told = self.told
        rounding = (told.rounding,) if told.rounding else ()
        for row in (*told.adjustments, told.net, *told.taxes, *rounding):
            self._pair(row, left=_SUMS_FROM_MM, label=64, align="R")
        self._rule(_SUMS_FROM_MM)
        self._pair(told.total, left=_SUMS_FROM_MM, label=54, align="R", bold=True)
        for row in told.payment:
            self._pair(row, left=_SUMS_FROM_MM, label=64, align="R")


def _xmp(title: str, author: str, at: str, *, facturx: bool) -> str:
    """The metadata that PDF/A-3 asks for, and Factur-X's own with the schema that declares it."""
    parts = [
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">',
        '<rdf:Description rdf:about="" xmlns:pdfaid="http://www.aiim.org/pdfa/ns/id/">',
        "<pdfaid:part>3</pdfaid:part><pdfaid:conformance>B</pdfaid:conformance></rdf:Description>",
        '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/">',
        f'<dc:title><rdf:Alt><rdf:li xml:lang="x-default">{escape(title)}</rdf:li></rdf:Alt></dc:title>',
        f"<dc:creator><rdf:Seq><rdf:li>{escape(author)}</rdf:li></rdf:Seq></dc:creator></rdf:Description>",
        '<rdf:Description rdf:about="" xmlns:pdf="http://ns.adobe.com/pdf/1.3/">',
        "<pdf:Producer>Chargetill</pdf:Producer></rdf:Description>",
        '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/">',
        f"<xmp:CreateDate>{at}</xmp:CreateDate></rdf:Description>",
        _facturx() if facturx else "",
        "</rdf:RDF></x:xmpmeta>",
    ]
    return "".join(parts)


def _facturx() -> str:
    """Factur-X 1.0, section 6.2.2: four properties, and the PDF/A extension schema that makes them known."""
    properties = {
        "DocumentFileName": (_XML, "name of the embedded XML invoice file"),
        "DocumentType": ("INVOICE", "INVOICE"),
        "Version": ("1.0", "The actual version of the Factur-X XML schema"),
        "ConformanceLevel": ("EN 16931", "The conformance level of the embedded Factur-X data"),
    }
    values = "".join(f"<fx:{name}>{value}</fx:{name}>" for name, (value, _) in properties.items())
    declared = "".join(
        f'<rdf:li rdf:parseType="Resource"><pdfaProperty:name>{name}</pdfaProperty:name>'
        "<pdfaProperty:valueType>Text</pdfaProperty:valueType><pdfaProperty:category>external"
        f"</pdfaProperty:category><pdfaProperty:description>{said}</pdfaProperty:description></rdf:li>"
        for name, (_, said) in properties.items()
    )
    return (
        f'<rdf:Description rdf:about="" xmlns:fx="{_XMP_FACTURX}">{values}</rdf:Description>'
        '<rdf:Description rdf:about="" xmlns:pdfaExtension="http://www.aiim.org/pdfa/ns/extension/"'
        ' xmlns:pdfaSchema="http://www.aiim.org/pdfa/ns/schema#"'
        ' xmlns:pdfaProperty="http://www.aiim.org/pdfa/ns/property#"><pdfaExtension:schemas><rdf:Bag>'
        '<rdf:li rdf:parseType="Resource"><pdfaSchema:schema>Factur-X PDFA Extension Schema</pdfaSchema:schema>'
        f"<pdfaSchema:namespaceURI>{_XMP_FACTURX}</pdfaSchema:namespaceURI>"
        "<pdfaSchema:prefix>fx</pdfaSchema:prefix><pdfaSchema:property><rdf:Seq>"
        f"{declared}</rdf:Seq></pdfaSchema:property></rdf:li></rdf:Bag></pdfaExtension:schemas></rdf:Description>"
    )
