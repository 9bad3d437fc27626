"""Receipts from the till's own database, for networks where a phone can reach the charger itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from edge.documents.sale import Sale, stated
from edge.receipts.receipt import NothingToPay, Provisional, Ready, Receipt, Running
from edge.receipts.site import Site, SiteOptions, serve
from edge.store.reading import Reading


class TillReceipts:
    """Implements Receipts. Each look opens the database read-only."""

    def __init__(self, database: Path, *, time_zone: str) -> None:
        self._database = database
        self._time_zone = time_zone

    def find(self, token_hash: str) -> Receipt | None:
        """Raises StoreError, LedgerError."""
        with Reading(self._database) as db:
            session_id = db.session_of_receipt(token_hash)
            return None if session_id is None else self._receipt(db, session_id)

    def _receipt(self, db: Reading, session_id: str) -> Receipt:
        sealed = list(db.documents_of(session_id))
        statement = db.statement(session_id)
        if statement is not None:
            sealed.append(stated(statement))
        if sealed:
            return Ready(documents=tuple(Sale(invoice=i, buyer=db.buyer(i.draft.buyer)) for i in sealed))
        row = db.session(session_id)
        if row["status"] == "ended":
            return NothingToPay()
        if row["payable_minor"] is None or row["currency"] is None:
            return Running()
        return Provisional(
            evse_id=row["evse_id"],
            energy_wh=row["energy_wh"],
            currency=row["currency"],
            payable_minor=row["payable_minor"],
            time_zone=self._time_zone,
            began_at=_moment(row["began_at"]),
            ended_at=_moment(row["ended_at"]),
        )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


async def serve_own(
    database: Path, *, time_zone: str, keep_days: int, listen: str, now: Callable[[], datetime]
) -> None:
    """The till's receipts at `listen` (host:port), until cancelled. Raises ReceiptsNotServed."""
    site = Site(TillReceipts(database, time_zone=time_zone), SiteOptions(keep_days=keep_days), now=now)
    host, _, port = listen.rpartition(":")
    await serve(site, host.strip("[]"), int(port))
