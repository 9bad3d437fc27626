"""The file for the S.A.F.E. transparency software: the records that the meter signed in a session."""

from __future__ import annotations

from edge.documents.sale import NotExpressible, Sale
from edge.domain.energy import SignedValue
from edge.metering.ocmf import keys, safe_xml
from edge.metering.ocmf.errors import KeyUnreadable

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
        key = _key(value, number)
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


def _key(value: SignedValue, number: str) -> keys.PublicKey:
    try:
        key = keys.from_bytes(value.public_key)
    except KeyUnreadable as e:
        raise NotExpressible(f"{number}: the meter's key cannot be read: {e.message}") from e
    if not isinstance(key, keys.PublicKey) or key.curve is None:
        raise NotExpressible(
            f"{number}: the meter's key is of a kind that the transparency software does not know"
        )
    return key
