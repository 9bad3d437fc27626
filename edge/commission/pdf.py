"""The report on A4. Needs the extra `documents` and the font DejaVu."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fpdf import FPDF
from fpdf.enums import XPos, YPos

from edge.commission import sheet
from edge.commission.facts import Charged, Report
from edge.doctor.finding import Finding
from edge.documents import fonts

_MARGIN_MM: Final = 20
_WIDTH_MM: Final = 210 - 2 * _MARGIN_MM
_LINE_MM: Final = 5.0
_INK, _SOFT, _RULE = (20, 33, 61), (91, 101, 119), (221, 226, 234)
_ACCENT, _PANEL = (11, 92, 173), (245, 247, 250)
_COLORS: Final = {"ok": (11, 122, 75), "warn": (154, 98, 0), "fail": (179, 38, 30)}
_CURVE_MM: Final = 34


def pdf(report: Report) -> bytes:
    """The whole document. Raises PartMissing without the font."""
    page = _Page()
    fonts.dated(
        page,
        title=f"Commissioning report {report.site}/{report.device}",
        author=report.seller,
        subject=report.address,
        language="en",
        at=report.at,
    )
    page.write_out(report)
    return bytes(page.output())


class _Page(FPDF):
    def __init__(self) -> None:
        super().__init__(format="A4")
        fonts.embed(self)
        self.c_margin = 0
        self.set_margins(_MARGIN_MM, 18, _MARGIN_MM)
        self.set_auto_page_break(auto=True, margin=20)

    def footer(self) -> None:
        self.set_y(-14)
        self._font(7, _SOFT)
        self.cell(_WIDTH_MM, 4, f"page {self.page_no()} of {{nb}}", align="R")

    def write_out(self, report: Report) -> None:
        self.add_page()
        self._verdict(passed=report.passed)
        self._line("Commissioning report", 20, bold=True, height=9)
        self._line(f"{report.seller} · {report.address}", 9, _SOFT)
        self.ln(5)
        self._facts(sheet.facts(report))
        for charged in report.evses:
            self._evse(charged)
        self._heading("Computer, keys, back office")
        self._findings(report.doctor)
        self._signatures()

    def _font(self, size: float, color: tuple[int, int, int] = _INK, *, bold: bool = False) -> None:
        self.set_font(fonts.FAMILY, "B" if bold else "", size)
        self.set_text_color(*color)

    def _line(
        self,
        text: str,
        size: float,
        color: tuple[int, int, int] = _INK,
        *,
        bold: bool = False,
        height: float = 5,
    ) -> None:
        self._font(size, color, bold=bold)
        self.cell(_WIDTH_MM, height, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _verdict(self, *, passed: bool) -> None:
        self.set_fill_color(*_ACCENT)
        self.rect(0, 0, 210, 3, style="F")
        self.set_fill_color(*_COLORS["ok" if passed else "fail"])
        self.rect(210 - _MARGIN_MM - 30, 19, 30, 9, style="F", round_corners=True, corner_radius=4.5)
        self.set_xy(210 - _MARGIN_MM - 30, 19)
        self._font(10, (255, 255, 255), bold=True)
        self.cell(30, 9, "passed" if passed else "FAILED", align="C")
        self.set_xy(_MARGIN_MM, 18)

    def _heading(self, text: str) -> None:
        self.ln(6)
        if self.will_page_break(30):
            self.add_page()
        self.set_draw_color(*_RULE)
        self.line(_MARGIN_MM, self.get_y(), 210 - _MARGIN_MM, self.get_y())
        self.ln(4)
        self._line(text, 12, bold=True, height=7)
        self.ln(1)

    def _facts(self, rows: Iterable[tuple[str, str]]) -> None:
        for key, value in rows:
            self._font(8.5, _SOFT)
            self.cell(38, _LINE_MM, key)
            self._font(8.5 if len(value) < 60 else 7.2)
            self.multi_cell(_WIDTH_MM - 38, _LINE_MM, value, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _evse(self, charged: Charged) -> None:
        self._heading(f"Charging point {charged.label} · {charged.evse_id}")
        self._facts(sheet.evse_facts(charged))
        self.ln(3)
        self._figures(sheet.figures(charged))
        self._curve(charged)
        self._phases(sheet.phases(charged))
        self._findings(charged.findings)

    def _figures(self, rows: list[tuple[str, str]]) -> None:
        if self.will_page_break(17):
            self.add_page()
        top, wide = self.get_y(), (_WIDTH_MM - 8) / 3
        self.set_fill_color(*_PANEL)
        for number, (name, value) in enumerate(rows):
            left = _MARGIN_MM + number * (wide + 4)
            self.rect(left, top, wide, 15, style="F", round_corners=True, corner_radius=2)
            self.set_xy(left + 4, top + 2)
            self._font(14, bold=True)
            self.cell(wide - 8, 7, value)
            self.set_xy(left + 4, top + 9)
            self._font(7.5, _SOFT)
            self.cell(wide - 8, 4, name)
        self.set_xy(_MARGIN_MM, top + 18)

    def _curve(self, charged: Charged) -> None:
        drawn = sheet.curve(charged)
        if drawn is None:
            return
        if self.will_page_break(_CURVE_MM + 8):
            self.add_page()
        left, top, wide = _MARGIN_MM + 14, self.get_y() + 1, _WIDTH_MM - 14
        self.set_draw_color(*_RULE)
        for part in (0.0, 0.5, 1.0):
            self.line(left, top + part * _CURVE_MM, left + wide, top + part * _CURVE_MM)
        points = [(left + wide * x, top + _CURVE_MM * (1 - y)) for x, y in drawn.points]
        self.set_fill_color(225, 235, 246)
        ends = [(points[-1][0], top + _CURVE_MM), (left, top + _CURVE_MM)]
        self.polygon([*points, *ends], style="F")
        self.set_draw_color(*_ACCENT)
        self.set_line_width(0.5)
        self.polyline(points)
        self.set_line_width(0.2)
        self._font(7, _SOFT)
        for text, at in ((f"{drawn.top_w / 1000:g} kW", top), ("0", top + _CURVE_MM)):
            self.set_xy(_MARGIN_MM, at - 2)
            self.cell(12, 4, text, align="R")
        self.set_xy(left, top + _CURVE_MM + 1)
        self.cell(wide, 4, f"{drawn.seconds} s", align="R")
        self.set_xy(_MARGIN_MM, top + _CURVE_MM + 6)

    def _phases(self, rows: list[tuple[str, str, str]]) -> None:
        for row in rows:
            self._font(8.5)
            for text, wide in zip(row, (16, 30, 30), strict=True):
                self.cell(wide, _LINE_MM, text)
            self.ln(_LINE_MM)
        self.ln(2)

    def _findings(self, findings: Iterable[Finding]) -> None:
        self.set_draw_color(*_RULE)
        for f in findings:
            if self.will_page_break(12):
                self.add_page()
            top = self.get_y()
            self.line(_MARGIN_MM, top, 210 - _MARGIN_MM, top)
            self.set_xy(_MARGIN_MM, top + 1)
            self._font(8, _COLORS[f.result], bold=True)
            self.cell(18, _LINE_MM, sheet.RESULTS[f.result])
            self._font(8)
            self.multi_cell(56, 4.2, f.what, align="L", new_x=XPos.RIGHT, new_y=YPos.TOP, max_line_height=4.2)
            below = [self.get_y() + 4.2 * self._lines(f.what, 56)]
            self.set_xy(_MARGIN_MM + 78, top + 1)
            self.multi_cell(_WIDTH_MM - 78, 4.2, f.found, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
            if f.todo:
                self.set_x(_MARGIN_MM + 78)
                self._font(7, _SOFT)
                self.multi_cell(_WIDTH_MM - 78, 3.8, f.todo, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
            below.append(self.get_y())
            self.set_xy(_MARGIN_MM, max(below) + 1)

    def _lines(self, text: str, wide: float) -> int:
        found = self.multi_cell(wide, 4.2, text, dry_run=True, output="LINES")
        assert isinstance(found, list)
        return len(found)

    def _signatures(self) -> None:
        if self.will_page_break(34):
            self.add_page()
        self.ln(26)
        top, wide = self.get_y(), (_WIDTH_MM - 20) / 3
        self.set_draw_color(*_INK)
        for number, name in enumerate(("Place, date", "Installer", "Operator")):
            left = _MARGIN_MM + number * (wide + 10)
            self.line(left, top, left + wide, top)
            self.set_xy(left, top + 1)
            self._font(7.5, _SOFT)
            self.cell(wide, 4, name)
