"""The documents that are JSON, as one line each; Decimals are numbers with all their digits."""

from __future__ import annotations

from typing import Any

import msgspec

from edge.documents.cdr import cdr
from edge.documents.invoice_json import invoice_json
from edge.documents.sale import Sale

_encoder = msgspec.json.Encoder(decimal_format="number")


def invoice(sale: Sale, _language: str = "en") -> bytes:
    return _line(invoice_json(sale.invoice, sale.buyer))


def cdr_2_2_1(sale: Sale, _language: str = "en") -> bytes:
    return _line(cdr(sale, "2.2.1"))


def cdr_2_3_0(sale: Sale, _language: str = "en") -> bytes:
    return _line(cdr(sale, "2.3.0"))


def _line(value: Any) -> bytes:
    return _encoder.encode(value) + b"\n"
