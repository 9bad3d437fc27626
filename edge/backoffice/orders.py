"""What this back office orders: numbered, signed, kept until each device has answered.

    orders = Orders(database, signer)
    orders.command(peer("site", "device"), RemoteStop(session_id="..."), good_for_s=300)
    orders.publish("site", PublishTariff(document=...))
    orders.put_members("site", [...]); orders.publish_members("site")

The receiver sends what stands here (`outgoing.Outgoing`). A member list goes out whole once, and then as changes to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec

from edge.backoffice.authorizations import new_authorization_id
from edge.backoffice.schema import open_books
from edge.errors import CallError
from edge.store.connection import one_commit
from edge.store.keys import LedgerKey, load_or_make
from edge.sync.contract.orders import (
    PART_MEMBERS_MAX,
    PARTS_MAX,
    Body,
    Command,
    ListedMember,
    MemberChanges,
    MemberList,
    MemberPart,
    Order,
    PublishPlans,
    PublishTariff,
    RemoteStart,
    Reply,
    Stream,
    topic_of,
)
from edge.sync.contract.signed import Signer, sign
from edge.sync.contract.topics import Peer, peer

#: Of a part's members; signed it grows by a third, and has to fit into one message (ORDER_BYTES_MAX).
_PART_BYTES_MAX = 700_000


#: Topics of lists that were replaced: each new connection to a broker empties them again, in a second or two.
_EMPTIED_KEPT = 2000


class MembersTooMany(CallError):
    code = "backoffice.members"
    hint = "split the site, or use groups"


class OrderStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A command and what became of it. `reply` is None while nobody answered."""

    site: str
    device: str
    version: int
    issued_at: str
    expires_at: str | None
    order: msgspec.Raw
    reply: Reply | None


def orders_key(database: Path) -> LedgerKey:
    """The key that signs what goes down, beside the database; made at the first call. Raises KeyUnusable."""
    return load_or_make(database.with_name(database.name + ".orders.key"))


class Orders:
    """The orders of one database. One thread."""

    def __init__(self, path: Path, signer: Signer) -> None:
        self._path = path
        self._signer = signer
        self._db = open_books(path)
        # a list that gives way to another one leaves nobody in the pages that it gives free
        self._db.execute("PRAGMA secure_delete = ON").fetchone()

    def close(self) -> None:
        self._db.close()

    def command(self, device: Peer, body: Command, *, good_for_s: int | None = None) -> int:
        """Order something of one device; the number of the order. It is sent until answered or expired."""
        with one_commit(self._db, self._path):
            return self._command(device, body, datetime.now(UTC), good_for_s)

    def _command(self, device: Peer, body: Command, now: datetime, good_for_s: int | None) -> int:
        version = self._next("cmd", device.site, device.device)
        order = Order(
            stream="cmd",
            site=device.site,
            device=device.device,
            version=version,
            issued_at=now,
            expires_at=None if good_for_s is None else now + timedelta(seconds=good_for_s),
            order=body,
        )
        self._keep(order)
        return version

    def start(
        self,
        device: Peer,
        *,
        evse_id: str,
        account: str,
        limit_minor: int,
        currency: str,
        good_for_s: int,
    ) -> tuple[int, str]:
        """Let an account charge; the number of the order and the permission that its settlement will name."""
        authorization_id = new_authorization_id()
        body = RemoteStart(
            evse_id=evse_id,
            account=account,
            limit_minor=limit_minor,
            currency=currency,
            authorization_id=authorization_id,
            invoice=self._billed(device.site, account),
        )
        now = datetime.now(UTC)
        with one_commit(self._db, self._path):
            version = self._command(device, body, now, good_for_s)
            self._db.execute(
                "INSERT INTO authorization (authorization_id, site, device, evse_id, account, limit_minor, "
                "currency, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    authorization_id,
                    device.site,
                    device.device,
                    evse_id,
                    account,
                    limit_minor,
                    currency,
                    now.isoformat(),
                ),
            )
        return version, authorization_id

    def _billed(self, site: str, account: str) -> Literal["session", "collective"]:
        """How the site's list bills an account."""
        listed = (m.invoice for m in self.members(site) if m.account == account)
        return next(listed, "session")

    def publish(self, site: str, body: PublishTariff | PublishPlans) -> int:
        """A document for every device of a site, in place of the one before; its version."""
        stream: Stream = "tariff" if isinstance(body, PublishTariff) else "plans"
        with one_commit(self._db, self._path):
            version = self._next(stream, site, None)
            self._keep(self._for_all(stream, site, version, body))
        return version

    def put_members(self, site: str, members: Iterable[ListedMember]) -> None:
        """Members to add or to change, by token; `publish_members` sends them."""
        with one_commit(self._db, self._path):
            self._db.executemany(
                "INSERT INTO member (site, token, listed, removed, changed) VALUES (?, ?, ?, 0, 1) "
                "ON CONFLICT (site, token) DO UPDATE SET listed = excluded.listed, removed = 0, changed = 1",
                ((site, member.token, msgspec.json.encode(member).decode()) for member in members),
            )

    def remove_members(self, site: str, tokens: Iterable[str]) -> int:
        """Members to forget, here at once and at the devices with the next `publish_members`; how many were there."""
        with one_commit(self._db, self._path):
            return sum(
                self._db.execute(
                    "UPDATE member SET removed = 1, changed = 1, listed = '' WHERE site = ? AND token = ? "
                    "AND NOT removed",
                    (site, token),
                ).rowcount
                for token in tokens
            )

    def members(self, site: str) -> list[ListedMember]:
        """Who may charge at a site, and who is blocked."""
        rows = self._db.execute(
            "SELECT listed FROM member WHERE site = ? AND NOT removed ORDER BY token", (site,)
        )
        return [msgspec.json.decode(row[0], type=ListedMember) for row in rows]

    def publish_members(self, site: str, *, whole: bool = False) -> int:
        """Send what changed since the full list, or a new full list when that is shorter; its version.

        `whole`: a new full list in any case, so that nothing keeps what stood in the last one.

        Raises MembersTooMany, NameInvalid.
        """
        with one_commit(self._db, self._path):
            base = self._base(site)
            (changed,) = self._db.execute(
                "SELECT count(*) FROM member WHERE site = ? AND changed", (site,)
            ).fetchone()
            version = self._next("members", site, None)
            short = base is not None and changed <= PART_MEMBERS_MAX and not whole
            changes = self._changes(site, base) if short and base is not None else None
            if changes is None or len(msgspec.json.encode(changes)) > _PART_BYTES_MAX:
                self._full(site, version)
            else:
                self._keep(self._for_all("members", site, version, changes))
        return version

    def _full(self, site: str, version: int) -> None:
        self._db.execute("DELETE FROM member WHERE site = ? AND removed", (site,))
        self._db.execute("UPDATE member SET changed = 0 WHERE site = ?", (site,))
        members = self.members(site)
        parts = list(_parts(members)) or [[]]
        if len(parts) > PARTS_MAX:
            raise MembersTooMany(f"{len(members)} members, {PART_MEMBERS_MAX * PARTS_MAX} fit into a list")
        self._clear(site)
        for number, part in enumerate(parts, start=1):
            body = MemberPart(part=number, parts=len(parts), members=tuple(part))
            self._keep(self._for_all("members", site, version, body))
        self._keep(self._for_all("members", site, version, MemberList(parts=len(parts))))

    def _clear(self, site: str) -> None:
        """Empty messages in place of the lists before, or a broker would keep them for ever: also one that is away."""
        self._db.execute(
            "DELETE FROM orders WHERE site = :site AND stream = 'members' AND payload = x'' AND order_id NOT IN "
            "(SELECT order_id FROM orders WHERE site = :site AND stream = 'members' AND payload = x'' "
            "ORDER BY order_id DESC LIMIT :kept)",
            {"site": site, "kept": _EMPTIED_KEPT},
        )
        rows = self._db.execute(
            "DELETE FROM orders WHERE site = ? AND stream = 'members' AND payload <> x'' "
            "RETURNING version, topic, issued_at",
            (site,),
        ).fetchall()
        self._db.executemany(
            "INSERT INTO orders (stream, site, version, topic, issued_at, body, payload) "
            "VALUES ('members', ?, ?, ?, ?, '', x'')",
            ((site, *row) for row in rows),
        )

    def _changes(self, site: str, base: int) -> MemberChanges:
        rows = self._db.execute(
            "SELECT token, listed, removed FROM member WHERE site = ? AND changed", (site,)
        ).fetchall()
        return MemberChanges(
            base=base,
            put=tuple(msgspec.json.decode(listed, type=ListedMember) for _, listed, gone in rows if not gone),
            remove=tuple(token for token, _, gone in rows if gone),
        )

    def _base(self, site: str) -> int | None:
        row = self._db.execute(
            "SELECT max(version) FROM orders WHERE site = ? AND topic LIKE '%/members/list' AND payload <> x''",
            (site,),
        ).fetchone()
        return None if row is None else row[0]

    def status(self, device: Peer) -> list[OrderStatus]:
        """The commands for a device, newest first."""
        rows = self._db.execute(
            "SELECT version, issued_at, expires_at, body, reply FROM orders "
            "WHERE stream = 'cmd' AND site = ? AND device = ? ORDER BY version DESC LIMIT 1000",
            (device.site, device.device),
        )
        return [
            OrderStatus(
                site=device.site,
                device=device.device,
                version=version,
                issued_at=issued_at,
                expires_at=expires_at,
                order=msgspec.Raw(body.encode()),
                reply=None if reply is None else msgspec.json.decode(reply, type=Reply),
            )
            for version, issued_at, expires_at, body, reply in rows
        ]

    def reply(self, device: Peer, version: int) -> Reply | None:
        """What a device answered to one command; None while it has not."""
        row = self._db.execute(
            "SELECT reply FROM orders WHERE stream = 'cmd' AND site = ? AND device = ? AND version = ?",
            (device.site, device.device, version),
        ).fetchone()
        return None if row is None or row[0] is None else msgspec.json.decode(row[0], type=Reply)

    def _for_all(self, stream: Stream, site: str, version: int, body: Body) -> Order:
        now = datetime.now(UTC)
        return Order(stream=stream, site=site, device=None, version=version, issued_at=now, order=body)

    def _next(self, stream: Stream, site: str, device: str | None) -> int:
        peer(site, device or "all")  # names that cannot stand in a topic are refused before anything is kept
        (version,) = self._db.execute(
            "INSERT INTO stream (stream, site, device, version) VALUES (?, ?, ?, 1) "
            "ON CONFLICT (stream, site, device) DO UPDATE SET version = version + 1 RETURNING version",
            (stream, site, device or ""),
        ).fetchone()
        return int(version)

    def _keep(self, order: Order) -> None:
        topic = topic_of(order)
        if order.device is None:
            self._db.execute("DELETE FROM orders WHERE topic = ?", (topic,))
        body = b"" if isinstance(order.order, MemberPart) else msgspec.json.encode(order.order)
        self._db.execute(
            "INSERT INTO orders (stream, site, device, version, topic, issued_at, expires_at, body, payload) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                order.stream,
                order.site,
                order.device,
                order.version,
                topic,
                order.issued_at.isoformat(),
                None if order.expires_at is None else order.expires_at.isoformat(),
                body.decode(),
                sign(msgspec.json.encode(order), self._signer),
            ),
        )


def _parts(members: Iterable[ListedMember]) -> Iterator[list[ListedMember]]:
    """So many members each, and so many bytes: those that are named on invoices are larger."""
    part: list[ListedMember] = []
    size = 0
    for member in members:
        length = len(msgspec.json.encode(member)) + 1
        if part and (len(part) >= PART_MEMBERS_MAX or size + length > _PART_BYTES_MAX):
            yield part
            part, size = [], 0
        part.append(member)
        size += length
    if part:
        yield part
