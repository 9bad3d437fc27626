"""The downlink: takes signed orders, carries each out at most once, and answers with success or a coded error.

    downlink = Downlink(path, peer=me, keys=options.orders_keys, now=..., execute=..., reply=...)
    downlink.start(); downlink.offer(topic, payload)       # from the uplink's thread; never blocks

Its own thread does the work, so that a list of 100,000 members holds up nobody. An order is remembered as seen before
it is carried out: a crash in between leaves it unanswered, and it is then answered as interrupted, not done again.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from edge import log
from edge.domain.ledger.envelope import digest
from edge.domain.ledger.signature import key_id_of
from edge.errors import TillError
from edge.sync.contract.orders import (
    ORDER_BYTES_MAX,
    Body,
    Fault,
    MemberChanges,
    MemberList,
    MemberPart,
    Order,
    OrderMalformed,
    PublishPlans,
    PublishTariff,
    Reply,
    members_topic,
    read_order,
    topics_for,
)
from edge.sync.contract.signed import open_signed
from edge.sync.contract.topics import Peer
from edge.sync.downlink.gate import OrderRefused, Seen, admit, stream_of
from edge.sync.downlink.lists import Lists

#: Orders that may wait; the broker keeps the rest, because they are not PUBACKed.
_QUEUE_MAX = 16


class OrderInterrupted(OrderRefused):
    code = "order.interrupted"
    hint = "the device stopped while it carried this out; look at its journal before ordering it again"


#: Carries out a command or puts a document in force; its result stands in the reply. Raises TillError.
Execute = Callable[[Body], Any]


class Downlink:
    """See the module. `execute` and `reply` are called on the downlink's thread.

    `keys` are public keys in hex (Ed25519); `now` gives None while the time is not trusted.
    """

    def __init__(
        self,
        database: Path,
        *,
        peer: Peer,
        keys: Iterable[str],
        now: Callable[[], datetime | None],
        execute: Execute,
        reply: Callable[[Reply], None],
    ) -> None:
        self.lists = Lists(database)
        self._peer = peer
        self._keys = {key_id_of(key): key for key in keys}
        self._now = now
        self._execute = execute
        self._reply = reply
        self._wanted: str | None = None
        self._orders: queue.Queue[tuple[str, bytes] | None] = queue.Queue(_QUEUE_MAX)
        self._thread = threading.Thread(target=self._work, name="downlink", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish what was begun, and end."""
        self._orders.put(None)
        self._thread.join()
        self.lists.close()

    def offer(self, topic: str, payload: bytes) -> bool:
        """Hand an order over; False when there is no room now: offer it again, and PUBACK it only then."""
        try:
            self._orders.put_nowait((topic, payload))
        except queue.Full:
            return False
        return True

    def _work(self) -> None:
        while (item := self._orders.get()) is not None:
            topic, payload = item
            reply = self.handle(topic, payload)
            if reply is not None:
                self._reply(reply)

    def topics(self) -> list[str]:
        """What to be subscribed to now; any thread."""
        wanted = self._wanted
        return topics_for(self._peer) + ([] if wanted is None else [wanted])

    def handle(self, topic: str, payload: bytes) -> Reply | None:
        """One order, whole. None for what nobody who may order signed: it gets no answer."""
        sha256 = digest(payload)
        known, reply = self.lists.known(sha256)
        if known and reply is not None and reply.stream != "members":
            return reply
        try:
            if len(payload) > ORDER_BYTES_MAX:
                raise OrderMalformed(f"{len(payload)} bytes, at most {ORDER_BYTES_MAX} are read")
            order = read_order(open_signed(payload, self._keys))
        except TillError as e:
            log.warning("order.unreadable", topic=topic, error=e)
            return None
        try:
            reply = self._obey(topic, order, sha256, reply)
        except TillError as e:
            log.warning("order.refused", stream=order.stream, version=order.version, error=e)
            return _refusal(order, e)
        log.event("order.done", stream=order.stream, version=order.version, ok=reply.ok)
        return reply

    def _obey(self, topic: str, order: Order, sha256: str, known: Reply | None) -> Reply:
        slot = _slot(order)
        seen = self.lists.seen(slot)
        if not admit(order, topic=topic, me=self._peer, seen=seen, sha256=sha256, now=self._now()):
            if stream_of(order) == "cmd" and known is None:
                raise OrderInterrupted(f"{order.stream} {order.version}")
            if known is not None and not isinstance(order.order, MemberList):
                return known
        if stream_of(order) == "cmd":
            self.lists.accept(slot, Seen(order.version, sha256))
            reply = self._carry_out(order)
        else:
            # a document may be taken again after a crash: it is remembered once it is in force
            reply = self._carry_out(order)
            self.lists.accept(slot, Seen(order.version, sha256))
        self.lists.answer(slot, reply)
        return reply

    def _carry_out(self, order: Order) -> Reply:
        try:
            result = self._do(order)
        except TillError as e:
            return _refusal(order, e)
        return Reply(stream=order.stream, version=order.version, part=_part(order), ok=True, result=result)

    def _do(self, order: Order) -> Any:
        match order.order:
            case MemberList():
                missing = order.version > self.lists.in_force()
                self._wanted = f"{members_topic(order.site, order.version)}/+" if missing else None
                return {"missing": missing}
            case MemberPart() as part:
                complete = self.lists.load(order.version, part)
                if complete:
                    self._wanted = None
                return {"in_force": complete}
            case MemberChanges() as changes:
                self.lists.change(order.version, changes)
                return None
            case PublishTariff(document=document) | PublishPlans(document=document):
                result = self._execute(order.order)
                self.lists.keep(order.stream, document)
                return result
            case _:
                return self._execute(order.order)


def _slot(order: Order) -> str:
    """Where an order's version is remembered; the parts of a list come in any order."""
    match order.order:
        case MemberPart(part=part):
            return f"members/{part}"
        case MemberList():
            return "members/list"
        case MemberChanges():
            return "members/changes"
        case _:
            return order.stream


def _part(order: Order) -> int | None:
    return order.order.part if isinstance(order.order, MemberPart) else None


def _refusal(order: Order, error: TillError) -> Reply:
    return Reply(
        stream=order.stream,
        version=order.version,
        part=_part(order),
        ok=False,
        error=Fault(code=error.code, message=error.message, hint=error.hint),
    )
