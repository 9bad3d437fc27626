"""The file for the S.A.F.E. transparency software: the records that the meter signed in a session."""

from __future__ import annotations

from edge.documents.sale import NotExpressible, Sale
from edge.metering.ocmf import keys, safe_xml

_TRANSACTION = 1  # one file is one session: its values belong together


def signed_values(sale: Sale, _language: str = "en") -> bytes:
    """Every signed record of the session, byte for byte, with its key. Raises NotExpressible."""
    number = sale.invoice.number
    if not sale.signed:
        raise NotExpressible(
            f"{number} has no signed meter values", hint="only a meter that signs its values has some"
        )
    values = []
    for place, value in enumerate(sale.signed, 1):
        key = keys.from_bytes(value.public_key)
        if not isinstance(key, keys.PublicKey):
            raise NotExpressible(f"{number}: the meter's key is on a curve that has no S.A.F.E. encoding")
        last = place == len(sale.signed)
        values.append(
            safe_xml.SignedValue(
                ocmf=value.ocmf,
                public_key=key,
                transaction_id=_TRANSACTION,
                context="Transaction.End" if last else "Transaction.Begin",
            )
        )
    return safe_xml.write(values)
