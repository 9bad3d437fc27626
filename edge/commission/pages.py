"""The report as files."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge.commission.facts import Report
from edge.commission.html import html
from edge.errors import TillError


class Saved(msgspec.Struct, frozen=True):
    """The files that were written, and what could not be made and why."""

    files: tuple[str, ...]
    missing: tuple[str, ...]


def save(report: Report, folder: Path) -> Saved:
    """HTML always; PDF where the extra `documents` and its font are there. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"commissioning-{report.site}.{report.device}-{report.at:%Y%m%dT%H%M%SZ}"
    page = stem.with_name(stem.name + ".html")
    page.write_text(html(report), encoding="utf-8")
    try:
        from edge.commission.pdf import pdf  # noqa: PLC0415  (an extra)

        paper = pdf(report)
    except ImportError:
        return Saved((str(page),), ("PDF: pip install 'chargetill[documents]'",))
    except TillError as e:
        return Saved((str(page),), (f"PDF: {e.message} ({e.hint})",))
    printed = stem.with_name(stem.name + ".pdf")
    printed.write_bytes(paper)
    return Saved((str(page), str(printed)), ())
