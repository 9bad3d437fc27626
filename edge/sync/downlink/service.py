"""The downlink: takes signed orders, carries each out at most once, and answers with success or a coded error.

    downlink = Downlink(lists, peer=me, keys=options.orders_keys, now=..., execute=..., post=uplink.post,
                        connected=..., on_crash=...)
    downlink.start(); downlink.offer(topic, payload)       # from the uplink's thread; never blocks

Its own thread does the work, so that a list of 100,000 members holds up nobody. An order is remembered as seen before
it is carried out: a crash in between leaves it unanswered, and it is then answered as interrupted, not done again.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from edge import log
from edge.domain.ledger.envelope import digest
from edge.domain.ledger.signature import key_id_of
from edge.errors import StoreError, TillError
from edge.store.connection import StoreCorrupt
from edge.sync.contract.foreign import UNREADABLE
from edge.sync.contract.orders import (
    ORDER_BYTES_MAX,
    Body,
    Configure,
    Fault,
    MemberChanges,
    MemberList,
    MemberPart,
    Order,
    OrderMalformed,
    PublishPlans,
    PublishTariff,
    Reply,
    Stream,
    members_topic,
    read_order,
    topics_for,
)
from edge.sync.contract.signed import open_signed
from edge.sync.contract.topics import Peer
from edge.sync.downlink.authorizations import Authorizations, Post
from edge.sync.downlink.gate import OrderElsewhere, OrderRefused, Seen, admit, stream_of
from edge.sync.downlink.lists import Lists
from edge.sync.rate import Bucket

#: Orders that may wait; the broker keeps the rest, because they are not PUBACKed.
_QUEUE_MAX = 16

#: A full disk: an order that cannot be remembered is not carried out, and is tried again after this.
_STORE_RETRY_S = 1.0

#: Lines in the log about what nobody signed, and about signed orders that are refused, which anybody may send again:
#: whoever may publish must not wear out the disk with them.
_TOLD_PER_S = 1 / 60
_TOLD_BURST = 5.0
_REFUSED_BURST = 20.0

#: Where the settings that were ordered are kept, as one JSON object.
SETTINGS = "settings"


class OrderInterrupted(OrderRefused):
    code = "order.interrupted"
    hint = "the device stopped while it carried this out; look at its journal before ordering it again"


#: Carries out a command or puts a document in force; its result stands in the reply. Raises TillError.
Execute = Callable[[Body], Any]


class Downlink:
    """See the module. `execute` is called on the downlink's thread, and so is `on_crash`.

    `keys` are public keys in hex (Ed25519); `now` gives None while the time is not trusted.
    """

    def __init__(
        self,
        lists: Lists,
        *,
        peer: Peer,
        keys: Iterable[str],
        now: Callable[[], datetime | None],
        execute: Execute,
        post: Post,
        connected: Callable[[], bool],
        on_crash: Callable[[Exception], None],
    ) -> None:
        self.lists = lists
        self._peer = peer
        self._keys = {key_id_of(key): key for key in keys}
        lists.obey(self._keys)
        self._now = now
        self._execute = execute
        self._post = post
        self._on_crash = on_crash
        self.authorizations = Authorizations(peer, self._keys, post=post, connected=connected)
        self._wanted: str | None = None
        self._telling = Bucket(_TOLD_PER_S, _TOLD_BURST)
        self._refusing = Bucket(_TOLD_PER_S, _REFUSED_BURST)
        self._orders: queue.Queue[tuple[str, bytes] | None] = queue.Queue(_QUEUE_MAX)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="downlink", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Finish what was begun, and end. What waits comes again after the next start."""
        self._stopping.set()
        with contextlib.suppress(queue.Full):  # then there is enough to wake up for
            self._orders.put_nowait(None)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.warning("order.stop_abandoned", after_s=timeout_s)
        else:
            self.lists.close()

    def offer(self, topic: str, payload: bytes) -> bool:
        """Hand an order over; False when there is no room now: offer it again, and PUBACK it only then."""
        try:
            self._orders.put_nowait((topic, payload))
        except queue.Full:
            return False
        return True

    def answered(self, payload: bytes) -> None:
        """An answer to `authorizations`."""
        self.authorizations.answered(payload)

    def _work(self) -> None:
        try:
            while (item := self._orders.get()) is not None and not self._stopping.is_set():
                self._handled(*item)
        except Exception as e:  # noqa: BLE001  (it ends the process, as everywhere else)
            self._on_crash(e)

    def _handled(self, topic: str, payload: bytes) -> None:
        """One order to its answer; again and again while the disk does not take it."""
        told = False
        while not self._stopping.is_set():
            try:
                reply = self.handle(topic, payload)
            except StoreCorrupt:
                raise  # the lists are laid aside: the till starts anew, and they are sent again
            except StoreError as e:
                if not told:
                    log.error("order.not_kept", error=e)
                told = True
                self._stopping.wait(_STORE_RETRY_S)
                continue
            if reply is not None:
                self._post("reply", msgspec.json.encode(reply))
            return

    def topics(self) -> list[str]:
        """What to be subscribed to now; any thread."""
        wanted = self._wanted
        return topics_for(self._peer) + ([] if wanted is None else [wanted])

    def handle(self, topic: str, payload: bytes) -> Reply | None:
        """One order, whole. None for what nobody who may order signed, or meant for us: it gets no answer.

        Raises StoreError when it cannot be remembered; then nothing was done.
        """
        if not payload:  # a document that the back office has taken back from its broker
            return None
        sha256 = digest(payload)
        if (again := self._answered_before(sha256)) is not None:
            return again
        try:
            if len(payload) > ORDER_BYTES_MAX:
                raise OrderMalformed(f"{len(payload)} bytes, at most {ORDER_BYTES_MAX} are read")
            signed = open_signed(payload, self._keys)
        except TillError as e:
            if self._telling.take(time.monotonic()):
                log.warning("order.unreadable", topic=topic, error=e)
            return None
        try:
            order = read_order(signed)
        except OrderMalformed as e:
            if self._refusing.take(time.monotonic()):
                log.warning("order.unreadable", topic=topic, error=e)
            return _not_understood(signed, e, self._peer)
        try:
            reply = self._obey(topic, order, sha256)
        except OrderElsewhere as e:
            if self._telling.take(time.monotonic()):
                log.warning("order.foreign", topic=topic, error=e)
            return None
        except OrderRefused as e:
            if self._refusing.take(time.monotonic()):
                log.warning("order.refused", stream=order.stream, version=order.version, error=e)
            return _refusal(order, e)
        log.event("order.done", stream=order.stream, version=order.version, ok=reply.ok)
        return reply

    def _answered_before(self, sha256: str) -> Reply | None:
        """The answer to what came before as this very message; None for what has to be looked at."""
        command = self.lists.command(sha256)
        if command is not None:
            version, reply = command
            return reply or _refused("cmd", version, OrderInterrupted(f"cmd {version}"))
        reply = self.lists.known(sha256)
        # a list that was missing may be there by now, and the other way round
        return None if reply is not None and reply.stream == "members" else reply

    def _obey(self, topic: str, order: Order, sha256: str) -> Reply:
        slot = _slot(order)
        seen = self.lists.seen(slot)
        new = admit(order, topic=topic, me=self._peer, seen=seen, sha256=sha256, now=self._now())
        if stream_of(order) == "cmd":
            if not new:  # its answer was lost, with the file that held it
                raise OrderInterrupted(f"cmd {order.version} was seen")
            self.lists.begin(slot, Seen(order.version, sha256))
            reply = self._carry_out(order)
            try:
                self.lists.finish(reply)
            except (
                StoreError
            ) as e:  # it is done: the answer goes out now, and as interrupted if it comes again
                log.error("order.answer_not_kept", error=e)
            return reply
        if not new and not isinstance(order.order, MemberList):
            known = self.lists.known(sha256)
            if known is not None:
                return known
        # a document may be taken again after a crash: it is remembered once it is in force
        reply = self._carry_out(order)
        self.lists.accept(slot, Seen(order.version, sha256), reply)
        return reply

    def _carry_out(self, order: Order) -> Reply:
        try:
            result = self._do(order)
        except StoreError:
            if stream_of(order) != "cmd":
                raise
            return _refusal(
                order, OrderInterrupted(f"{order.stream} {order.version}: the disk is in trouble")
            )
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
            case Configure(values=values):
                kept = self.lists.document(SETTINGS)
                merged = {**({} if kept is None else msgspec.json.decode(kept)), **values}
                result = self._execute(Configure(values=merged))
                self.lists.keep(SETTINGS, msgspec.json.encode(merged).decode())
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


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """What every order begins with, also one of a newer back office."""

    stream: Stream
    site: str
    device: str | None = None
    version: Annotated[int, Meta(ge=0)]


def _not_understood(signed: bytes, error: TillError, me: Peer) -> Reply | None:
    """The answer to an order that was signed and cannot be read: who sent it would send it for ever. None where not
    even its number can be told, or it was meant for somebody else.
    """
    try:
        head = msgspec.json.decode(signed, type=_Head)
    except UNREADABLE:
        return None
    if head.site != me.site or head.device not in {None, me.device}:
        return None
    return _refused(head.stream, head.version, error)


def _refusal(order: Order, error: TillError) -> Reply:
    return _refused(order.stream, order.version, error, part=_part(order))


def _refused(stream: Stream, version: int, error: TillError, *, part: int | None = None) -> Reply:
    fault = Fault(code=error.code, message=error.message, hint=error.hint)
    return Reply(stream=stream, version=version, part=part, ok=False, error=fault)
