"""The receipt for a printer with a paper roll, 58 or 80 mm wide: one page, as long as it needs to be."""

from __future__ import annotations

from typing import Literal

import msgspec
from fpdf import FPDF

from edge.documents import fonts
from edge.documents.sale import Sale
from edge.documents.sheet import Row, Sheet, sheet

_GAP_MM = 2.0  # between a label and its value, at least
_FEED_MM = 8.0  # white paper below the text, so that nothing is torn off


class _Roll(msgspec.Struct, frozen=True):
    """`margin_mm`: a print head is narrower than its paper, 48 of 58 mm and 72 of 80 mm."""

    width_mm: float
    margin_mm: float
    size: float


_ROLLS = {58: _Roll(58, 5, 7.2), 80: _Roll(80, 4, 8.8)}


class _Run(msgspec.Struct, frozen=True):
    """One line of type, or a rule where there is no text."""

    text: str
    align: Literal["L", "R", "C"] = "L"
    bold: bool = False
    scale: float = 1.0
    beside: bool = False


def roll_58(sale: Sale, language: str = "en") -> bytes:
    return _receipt(sale, language, _ROLLS[58])


def roll_80(sale: Sale, language: str = "en") -> bytes:
    return _receipt(sale, language, _ROLLS[80])


def _receipt(sale: Sale, language: str, roll: _Roll) -> bytes:
    told = sheet(sale, language)
    pdf = FPDF(unit="mm", format=(roll.width_mm, roll.width_mm))
    pdf.c_margin = 0
    fonts.embed(pdf)
    fonts.dated(
        pdf,
        title=told.title,
        author=told.seller[0],
        subject=told.subject,
        language=told.words.language,
        at=sale.invoice.issued_at,
    )
    setting = _Setting(pdf, roll)
    setting.compose(told)
    setting.print()
    return bytes(pdf.output())


class _Setting:
    """Sets a sheet in one column: first the lines, so that the length is known, then the page."""

    def __init__(self, pdf: FPDF, roll: _Roll) -> None:
        self._pdf = pdf
        self._roll = roll
        self._width = roll.width_mm - 2 * roll.margin_mm
        self._runs: list[_Run] = []

    def compose(self, told: Sheet) -> None:
        self._text(told.seller[0], align="C", bold=True, scale=1.25)
        for line in told.seller[1:]:
            self._text(line, align="C")
        self._rule()
        self._text(told.title, bold=True)
        self._text(told.issued)
        self._rule()
        for line in told.buyer:
            self._text(line)
        if told.buyer:
            self._rule()
        for line in told.place:
            self._text(line)
        for row in told.facts:
            self._pair(row)
        self._rule()
        for item in told.items:
            self._pair(Row(item.name, item.amount), bold=True)
            self._text(f"{item.quantity} \u00d7 {item.price}{item.terms}", scale=0.88)
            if item.note:
                self._text(item.note, scale=0.88)
        self._rule()
        rounding = (told.rounding,) if told.rounding else ()
        for row in (*told.adjustments, told.net, *told.taxes, *rounding):
            self._pair(row)
        self._pair(told.total, bold=True, scale=1.3)
        for row in told.payment:
            self._pair(row)
        self._rule()
        for remark in (*told.remarks, told.footer):
            self._text(remark, scale=0.85)

    def print(self) -> None:
        """The page with all lines on it."""
        pdf, roll = self._pdf, self._roll
        height = sum(0 if run.beside else self._height(run) for run in self._runs)
        pdf.set_auto_page_break(auto=False)
        pdf.set_margins(roll.margin_mm, roll.margin_mm, roll.margin_mm)
        pdf.add_page(format=(roll.width_mm, max(height + roll.margin_mm + _FEED_MM, roll.width_mm)))
        for run in self._runs:
            if run.beside:
                pdf.set_y(pdf.get_y() - self._height(run))
            pdf.set_x(roll.margin_mm)
            if not run.text:
                middle = pdf.get_y() + self._height(run) / 2
                pdf.set_line_width(0.15)
                pdf.line(roll.margin_mm, middle, roll.margin_mm + self._width, middle)
            else:
                self._font(run.bold, run.scale)
                pdf.cell(w=self._width, h=self._height(run), text=run.text, align=run.align)
            pdf.ln(self._height(run))

    def _rule(self) -> None:
        self._runs.append(_Run(""))

    def _text(
        self, text: str, *, align: Literal["L", "R", "C"] = "L", bold: bool = False, scale: float = 1.0
    ) -> None:
        self._runs += [
            _Run(line, align, bold, scale) for line in self._wrapped(text, bold, scale, self._width)
        ]

    def _pair(self, row: Row, *, bold: bool = False, scale: float = 1.0) -> None:
        """Label to the left, value to the right of its last line, or below where it leaves no room for the label."""
        self._font(bold, scale)
        taken = self._pdf.get_string_width(row.value) + _GAP_MM
        room = self._width - taken
        if room < min(self._pdf.get_string_width(row.label), self._width / 3):
            self._text(row.label, bold=bold, scale=scale)
            self._text(row.value, align="R", bold=bold, scale=scale)
            return
        labels = self._wrapped(row.label, bold, scale, room)
        self._runs += [_Run(line, "L", bold, scale) for line in labels]
        self._runs.append(_Run(row.value, "R", bold, scale, beside=True))

    def _wrapped(self, text: str, bold: bool, scale: float, width: float) -> list[str]:  # noqa: FBT001  (private)
        """The text in lines of this width; a word that is longer than a line is cut."""
        self._font(bold, scale)
        lines, line = [], ""
        for given in text.split(" "):
            word = given
            tried = f"{line} {word}" if line else word
            if self._pdf.get_string_width(tried) <= width:
                line = tried
                continue
            if line:
                lines.append(line)
            while self._pdf.get_string_width(word) > width and len(word) > 1:
                cut = next(
                    n
                    for n in range(len(word) - 1, 0, -1)
                    if n == 1 or self._pdf.get_string_width(word[:n]) <= width
                )
                lines.append(word[:cut])
                word = word[cut:]
            line = word
        return [*lines, line]

    def _font(self, bold: bool, scale: float) -> None:  # noqa: FBT001  (private)
        self._pdf.set_font(fonts.FAMILY, "B" if bold else "", self._roll.size * scale)

    def _height(self, run: _Run) -> float:
        return self._roll.size * run.scale * 0.48 if run.text else self._roll.size * 0.4
