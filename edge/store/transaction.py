"""What one commit can do: append facts, keep state, draw a number. All of it becomes durable together."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import msgspec

from edge.domain import invoice as invoices
from edge.domain.energy import SignedValue
from edge.domain.ledger.envelope import Entry, Head, wrap
from edge.domain.ledger.facts import (
    CreditNoteSealed,
    Fact,
    InvoiceSealed,
    LedgerCheckpoint,
    PlanFrozen,
    StatementSealed,
    TariffFrozen,
)
from edge.domain.ledger.signature import checkpoint_message
from edge.store.payments import OF_LAST_DAY
from edge.store.projections import project

if TYPE_CHECKING:
    from edge.domain.buyer import BuyerRecord
    from edge.domain.identity import IdToken
    from edge.domain.instant import Instant
    from edge.domain.invoice import Correction, Invoice, InvoiceDraft
    from edge.store.keys import LedgerKey


class Tx:
    """A running commit. It lives on the store's thread and ends with the function that got it."""

    def __init__(
        self, connection: sqlite3.Connection, *, head: Head, source: str, key: LedgerKey, prefix: str
    ) -> None:
        self.connection = connection
        self.head = head
        self._source = source
        self.key = key
        self._prefix = prefix
        #: up to where the epoch is signed, as far as this commit knows
        self.signed_upto = 0
        #: why nothing is sold in this epoch any more; None while it may be
        self.closed: str | None = None
        #: when the last entry of this commit was written
        self.at: Instant | None = None

    def append(self, fact: Fact, at: Instant) -> Entry:
        """The fact as the journal's next entry, and what follows from it in the tables."""
        entry = wrap(fact, head=self.head, at=at, source=self._source, key_id=self.key.key_id)
        self.connection.execute(
            "INSERT INTO entry (epoch, seq, type, subject, raw, hash) VALUES (?, ?, ?, ?, ?, ?)",
            (entry.epoch, entry.seq, entry.type, entry.subject, entry.raw, entry.hash),
        )
        project(self.connection, fact, at)
        self.head = Head(epoch=entry.epoch, seq=entry.seq, hash=entry.hash)
        self.at = at
        return entry

    def sign(self, at: Instant) -> None:
        """A signed checkpoint over everything before it."""
        head = self.head
        message = checkpoint_message(epoch=head.epoch, upto=head.seq, head=head.hash)
        self.append(LedgerCheckpoint(upto=head.seq, head=head.hash, signature=self.key.sign(message)), at)
        self.signed_upto = self.head.seq

    def seal(self, draft: InvoiceDraft, at: Instant, *, replaces: str | None = None) -> Invoice | None:
        """Draw the next number of the series and seal the invoice, signed (I4).

        A draft that a collective invoice will bill becomes a statement, which has no number: None.
        """
        if draft.billing == "statement":
            issued_at = invoices.local_second(at.utc, draft.place)
            statement = invoices.Statement(issued_at=issued_at, draft=draft)
            self.append(StatementSealed(session_id=draft.session_id, statement=statement), at)
            self.sign(at)
            return None
        series, sequence = self._draw(draft, at, credit=False)
        invoice = invoices.seal(draft, series=series, sequence=sequence, now=at.utc, replaces=replaces)
        self.append(InvoiceSealed(session_id=draft.session_id, invoice=invoice), at)
        self.sign(at)
        return invoice

    def seal_credit(self, draft: InvoiceDraft, corrects: Correction, at: Instant) -> Invoice:
        """Draw the next number of the series of credit notes and seal one. Whoever calls signs."""
        series, sequence = self._draw(draft, at, credit=True)
        note = invoices.seal(draft, series=series, sequence=sequence, now=at.utc, corrects=corrects)
        self.append(CreditNoteSealed(session_id=draft.session_id, credit_note=note), at)
        return note

    def _draw(self, draft: InvoiceDraft, at: Instant, *, credit: bool) -> tuple[str, int]:
        """The next number of the series of this epoch and, where the prefix has one, of the year of issue."""
        issued_at = invoices.local_second(at.utc, draft.place)
        series = invoices.series_of(self._prefix, epoch=self.head.epoch, issued_at=issued_at, credit=credit)
        (sequence,) = self.connection.execute(
            "INSERT INTO series (series, last) VALUES (?, 1) "
            "ON CONFLICT (series) DO UPDATE SET last = last + 1 RETURNING last",
            (series,),
        ).fetchone()
        return series, int(sequence)

    def freeze_tariff(self, tariff_hash: str, document: str, at: Instant) -> None:
        """Keep the document behind a hash; the journal gets it once."""
        known = self.connection.execute("SELECT 1 FROM tariff WHERE hash = ?", (tariff_hash,)).fetchone()
        if known is None:
            self.append(TariffFrozen(hash=tariff_hash, document=document), at)

    def freeze_plan(self, plan_hash: str, document: str, at: Instant) -> None:
        """Keep the plan behind a hash; the journal gets it once."""
        known = self.connection.execute("SELECT 1 FROM plan WHERE hash = ?", (plan_hash,)).fetchone()
        if known is None:
            self.append(PlanFrozen(hash=plan_hash, document=document), at)

    def save_evse(self, evse_id: str, state: bytes) -> None:
        """The state that the next boot starts from."""
        self.connection.execute(
            "INSERT INTO evse (evse_id, state) VALUES (?, ?) "
            "ON CONFLICT (evse_id) DO UPDATE SET state = excluded.state",
            (evse_id, state),
        )

    def keep_personal(self, session_id: str, token: IdToken, salt: bytes) -> None:
        """Who it was, beside the chain and erasable without it (I6)."""
        self.connection.execute(
            "INSERT INTO personal (session_id, salt, token, key_id) VALUES (?, ?, ?, ?)",
            (session_id, salt, token.value, token.key_id),
        )

    def keep_account(self, payment_ref: str, account: str) -> None:
        """Whose session a payment's is, as the back office said when it granted it; with whoever was erased it goes."""
        self.connection.execute(
            "UPDATE personal SET account = ? WHERE session_id = "
            "(SELECT session_id FROM payment WHERE payment_ref = ?)",
            (account, payment_ref),
        )

    def keep_buyer(self, record: BuyerRecord) -> None:
        """Who is named on an invoice, under the commitment that the chain has of it (I6)."""
        self.connection.execute(
            "INSERT INTO buyer (commitment, record) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (record.commitment, msgspec.json.encode(record)),
        )

    def signed(self, session_id: str) -> dict[str, SignedValue | None]:
        """What is kept of a session's signing: `begin`, `record` or `lost`, each with its value if it has one."""
        rows = self.connection.execute(
            "SELECT kind, ocmf, public_key, verified FROM signed WHERE session_id = ? ORDER BY id",
            (session_id,),
        )
        return {
            kind: None
            if ocmf is None
            else SignedValue(ocmf=bytes(ocmf), public_key=bytes(key), verified=bool(verified))
            for kind, ocmf, key, verified in rows
        }

    def raise_sun_counter(self, token: IdToken, counter: int, at: Instant) -> bool:
        """Keep a card's read counter if it is above every one before; False for a replay."""
        raised = self.connection.execute(
            "INSERT INTO sun_counter (token, highest, at) VALUES (?, ?, ?) "
            "ON CONFLICT (token) DO UPDATE SET highest = excluded.highest, at = excluded.at "
            "WHERE excluded.highest > highest RETURNING 1",
            (token.value, counter, at.utc.isoformat()),
        ).fetchone()
        return raised is not None

    def sessions_of(self, token: IdToken, day: tuple[str, str, str]) -> int:
        """How many sessions a token has opened in the last day (edge/store/payments.py)."""
        (count,) = self.connection.execute(
            f"SELECT COUNT(*) FROM personal JOIN session USING (session_id) WHERE token = ? AND {OF_LAST_DAY}",  # noqa: S608  (ours)
            (token.value, *day),
        ).fetchone()
        return int(count)

    def session_of(self, token: IdToken) -> str | None:
        """The last session that a token opened, as long as anybody knows which token that was."""
        row = self.connection.execute(
            "SELECT session_id FROM personal WHERE token = ? AND key_id = ? ORDER BY rowid DESC LIMIT 1",
            (token.value, token.key_id),
        ).fetchone()
        return None if row is None else str(row[0])

    def set_watermark(self, epoch: str, upto: int, head: str, at: Instant) -> None:
        """What the back office has acknowledged of an epoch; it only rises."""
        self.connection.execute(
            "INSERT INTO watermark (epoch, upto, head, at) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (epoch) DO UPDATE SET upto = excluded.upto, head = excluded.head, at = excluded.at "
            "WHERE excluded.upto > watermark.upto",
            (epoch, upto, head, at.utc.isoformat()),
        )
