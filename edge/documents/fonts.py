"""The typeface of printed documents: DejaVu Sans, which has the euro sign and may be embedded."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from edge.documents.sale import PartMissing

if TYPE_CHECKING:
    from datetime import datetime

    from fpdf import FPDF

FAMILY = "DejaVu"
_FILES = {"": "DejaVuSans.ttf", "B": "DejaVuSans-Bold.ttf"}
#: Debian's place, Fedora's, and macOS's.
_FOLDERS = (
    "/usr/share/fonts/truetype/dejavu",
    "/usr/share/fonts/dejavu-sans-fonts",
    "/Library/Fonts",
)


@cache
def _file(name: str) -> Path:
    for folder in _FOLDERS:
        path = Path(folder) / name
        if path.is_file():
            return path
    raise PartMissing(f"the font {name} is not installed", hint="apt-get install fonts-dejavu-core")


def embed(pdf: FPDF) -> None:
    """Make the family known to a document; only the glyphs that it uses end up in it. Raises PartMissing."""
    for style, name in _FILES.items():
        pdf.add_font(FAMILY, style, _file(name))


def dated(pdf: FPDF, *, title: str, author: str, subject: str, language: str, at: datetime) -> None:
    """What a document says of itself: the same invoice is the same file, whenever it is made."""
    pdf.set_title(title)
    pdf.set_author(author)
    pdf.set_subject(subject)
    pdf.set_lang(language)
    pdf.set_producer("Chargetill")
    pdf.set_creation_date(at.replace(microsecond=0))
