"""Answering devices that ask who may charge: from the members of every site, the same answer each time.

    desk = Authorizations(books.db, path, signer)
    payload = desk.answer(peer, request, now)      # signed, after its commit; publish it on `authorization`

What is granted stands in the table `authorization` until the device's journal says what became of it; the export
`settlements` joins the two.
"""

from __future__ import annotations

import secrets
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from edge.store.connection import one_commit
from edge.sync.contract.authorization import AuthorizationReply, AuthorizationRequest, Granted, Refused
from edge.sync.contract.orders import ListedMember
from edge.sync.contract.signed import Signer, sign
from edge.sync.contract.topics import Peer

#: Permissions of one account whose sessions have not ended: a card that is lost costs so many limits at most.
OPEN_MAX = 3

#: A permission that no journal mentions for so long was never used: its device had no answer in time, or is gone.
_UNUSED = timedelta(days=1)

#: What nobody settles is forgotten after this.
_REFUSED_KEPT = timedelta(days=7)

_ENDED = "('captured', 'reversed', 'declined', 'expired')"


def new_authorization_id() -> str:
    """What this back office calls one permission."""
    return f"A{secrets.token_hex(8)}"


class Authorizations:
    """On the receiver's thread and connection."""

    def __init__(self, db: sqlite3.Connection, path: Path, signer: Signer) -> None:
        self._db = db
        self._path = path
        self._signer = signer

    def answer(self, device: Peer, request: AuthorizationRequest, now: datetime) -> bytes:
        """Decide, durably, and sign. Raises StoreError; then nothing was decided."""
        with one_commit(self._db, self._path):
            decision = self._known(device, request.id)
            if decision is None:
                decision = self._decide(request, now, site=device.site)
                self._keep(device, request, decision, now)
        return self._signed(device, request.id, decision, now)

    def busy(self, device: Peer, request: AuthorizationRequest, now: datetime) -> bytes:
        """The answer to a device that asks too often; nothing is kept of it."""
        return self._signed(device, request.id, Refused(reason="busy"), now)

    def _signed(self, device: Peer, reference: str, decision: Granted | Refused, now: datetime) -> bytes:
        reply = AuthorizationReply(
            site=device.site, device=device.device, id=reference, at=now, decision=decision
        )
        return sign(msgspec.json.encode(reply), self._signer)

    def _known(self, device: Peer, reference: str) -> Granted | Refused | None:
        row = self._db.execute(
            "SELECT authorization_id, account, limit_minor, currency, refused FROM authorization "
            "WHERE site = ? AND device = ? AND reference = ?",
            (device.site, device.device, reference),
        ).fetchone()
        if row is None:
            return None
        authorization_id, account, limit_minor, currency, refused = row
        if refused is not None:
            return Refused(reason=refused)
        return Granted(
            authorization_id=authorization_id, account=account, limit_minor=limit_minor, currency=currency
        )

    def _decide(self, request: AuthorizationRequest, now: datetime, *, site: str) -> Granted | Refused:
        """A member of any site may charge at all of them; who is blocked at one is blocked everywhere."""
        rows = self._db.execute(
            "SELECT listed FROM member WHERE token = ? AND NOT removed ORDER BY site <> ?, site",
            (request.token, site),
        ).fetchall()
        listed = [msgspec.json.decode(row[0], type=ListedMember) for row in rows]
        if not listed:
            return Refused(reason="card_unknown")
        if any(member.blocked for member in listed):
            return Refused(reason="card_blocked")
        member = next((m for m in listed if m.account is not None and m.currency == request.currency), None)
        if member is None or member.account is None:
            return Refused(reason="currency")
        if member.valid_until is not None and now >= member.valid_until:
            return Refused(reason="card_expired")
        if self._open(member.account, now) >= OPEN_MAX:
            return Refused(reason="limit_reached")
        return Granted(
            authorization_id=new_authorization_id(),
            account=member.account,
            limit_minor=min(member.limit_minor, request.amount_minor),
            currency=member.currency,
        )

    def _open(self, account: str, now: datetime) -> int:
        """Permissions of an account whose end no journal has told yet."""
        (count,) = self._db.execute(
            "SELECT count(*) FROM authorization a LEFT JOIN device d USING (site, device) "  # noqa: S608  (ours)
            "LEFT JOIN session s ON s.device_id = d.device_id AND s.authorization_id = a.authorization_id "
            "LEFT JOIN payment p ON p.device_id = d.device_id "
            "AND (p.payment_ref = a.reference OR p.session_id = s.session_id) "
            f"WHERE a.account = ? AND a.refused IS NULL AND coalesce(p.status, '') NOT IN {_ENDED} "
            "AND (p.status IS NOT NULL OR a.at > ?)",
            (account, (now - _UNUSED).isoformat()),
        ).fetchone()
        return int(count)

    def _keep(
        self, device: Peer, request: AuthorizationRequest, decision: Granted | Refused, now: datetime
    ) -> None:
        granted = decision if isinstance(decision, Granted) else None
        self._db.execute(
            "DELETE FROM authorization WHERE refused IS NOT NULL AND at < ?",
            ((now - _REFUSED_KEPT).isoformat(),),
        )
        self._db.execute(
            "INSERT INTO authorization (authorization_id, site, device, reference, evse_id, account, "
            "limit_minor, currency, refused, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                granted.authorization_id if granted else new_authorization_id(),
                device.site,
                device.device,
                request.id,
                request.evse_id,
                granted and granted.account,
                granted and granted.limit_minor,
                request.currency,
                None if isinstance(decision, Granted) else decision.reason,
                now.isoformat(),
            ),
        )
