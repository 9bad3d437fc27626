"""Every format by its name; its renderer is loaded when it is asked for: the daemon never carries a PDF writer.

A new format is one renderer `(sale, language) -> bytes` and one entry here.
"""

from __future__ import annotations

import importlib
from typing import Any

import msgspec

from edge.documents.sale import Sale, require
from edge.errors import CallError


class FormatUnknown(CallError):
    code = "call.format"


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """`suffix` ends the file's name, `renderer` is `module:function`, `needs` are packages of extra `documents`.

    `stream`: several documents may follow each other on standard output, after the `heading` if there is one.
    `session`: the renderer wants what the journal holds beside the invoice. `binary`: not for a terminal.
    """

    name: str
    suffix: str
    media_type: str
    renderer: str
    needs: tuple[str, ...] = ()
    heading: str = ""
    stream: bool = False
    session: bool = False
    binary: bool = False


def _pdf(name: str, renderer: str) -> Format:
    return Format(
        name=name,
        suffix="pdf",
        media_type="application/pdf",
        renderer=renderer,
        needs=("babel", "fpdf"),
        binary=True,
    )


def _json(name: str, renderer: str, *, session: bool) -> Format:
    return Format(
        name=name,
        suffix="json",
        media_type="application/json",
        renderer=renderer,
        stream=True,
        session=session,
    )


def _xml(name: str, renderer: str, *, session: bool = False) -> Format:
    return Format(name=name, suffix="xml", media_type="application/xml", renderer=renderer, session=session)


FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        _json("json", "json_text:invoice", session=False),
        Format(name="html", suffix="html", media_type="text/html", renderer="html:html", needs=("babel",)),
        _pdf("pdf", "pdf_page:page"),
        _pdf("receipt-58", "pdf_roll:roll_58"),
        _pdf("receipt-80", "pdf_roll:roll_80"),
        _xml("ubl", "ubl:ubl"),
        _xml("cii", "cii:cii"),
        _json("cdr-2.2.1", "json_text:cdr_2_2_1", session=True),
        _json("cdr-2.3.0", "json_text:cdr_2_3_0", session=True),
        _xml("safe-xml", "safe_xml:signed_values", session=True),
        Format(
            name="csv",
            suffix="csv",
            media_type="text/csv",
            renderer="accounting:accounting_rows",
            heading="accounting:heading",
            stream=True,
        ),
    )
}

#: Those that fit the collective invoice of an account (`edge/documents/collective.py`).
COLLECTIVE_NAMES = ("json", "html", "pdf", "ubl", "cii", "csv")


def format_named(name: str) -> Format:
    """Raises FormatUnknown, which lists the known ones."""
    if name not in FORMATS:
        raise FormatUnknown(f"no format {name[:40]}", hint=f"one of {', '.join(FORMATS)}")
    return FORMATS[name]


def render(form: Format, sale: Sale, *, language: str = "en", heading: bool = True) -> bytes:
    """The document: `render(format_named("ubl"), sale, language="de")`. Raises NotExpressible, PartMissing.

    `heading` False leaves out what stands once before many.
    """
    require(*form.needs)
    body = _function(form.renderer)(sale, language)
    assert isinstance(body, bytes)
    return (above(form) if heading else b"") + body


def above(form: Format) -> bytes:
    """What stands once before many documents, and also before none."""
    found = _function(form.heading)() if form.heading else b""
    assert isinstance(found, bytes)
    return found


def file_name(form: Format, sale: Sale) -> str:
    """`<number>.<format>.<suffix>`; a number with a slash in it makes no folder."""
    number = sale.invoice.number.replace("/", "-").lstrip(".")
    return f"{number}.{form.name}.{form.suffix}"


def _function(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"edge.documents.{module}"), name)
