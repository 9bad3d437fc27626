"""The uplink: one thread that owns paho, reads the journal and is never waited for.

uplink = Uplink(options, database=path, store=store, peer=peer("site", "device"), now=clock.now,
                state=health, on_rolled_back=stop_selling)
uplink.start(); store.on_commit(uplink.wake); ...; uplink.stop(timeout_s=5)
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, assert_never

import msgspec

from edge import log
from edge.domain.instant import Instant
from edge.errors import StoreError, SyncError, TillError
from edge.sync.contract.messages import MessageInvalid, State, StateFields, read_ack
from edge.sync.contract.topics import Channel, Peer
from edge.sync.link import (
    HANDSHAKE_TIMEOUT_S,
    Arrived,
    Connected,
    Identity,
    Link,
    LinkEvent,
    LinkFailed,
    Lost,
    NotSubscribed,
    ProtocolUnknown,
    Refused,
    Subscribed,
)
from edge.sync.options import UplinkOptions
from edge.sync.retry import FullJitter
from edge.sync.uplink.beside import Beside, Orders
from edge.sync.uplink.outbox import Outbox
from edge.sync.uplink.sender import RolledBack, Sender
from edge.sync.uplink.status import UplinkStatus
from edge.sync.uplink.watermark import Submits, Watermark

#: Health is compared this often; a change goes out at once.
_LOOK_S = 5.0

#: Everything is with the broker and it says nothing for so long: it hangs. Another one may do better.
STALL_S = 4.0

#: Entries are with the broker and no back office says a word: it may listen to another one. Doubled each time, for a
#: back office that is down listens to none.
UNHEARD_S = 60.0
_UNHEARD_MAX_S = 3600.0

#: Of the time to stop, for what still waits; the rest is for the goodbye and the watermark.
_DRAIN_PART = 0.6

#: A connection that lasted so long was a good one: the next failure starts again with a short wait.
_GOOD_S = 10.0


@dataclass(slots=True)
class _Visit:
    """One connection: `ready` once the subscription stands, before that until `deadline`. Monotonic seconds.

    `heard_at`: when the broker last said something; `answered_at`: when the back office did. Either is now while
    nobody is waited for.
    """

    link: Link
    heard_at: float
    answered_at: float
    deadline: float
    ready: bool = False
    taken: int = 0


class Uplink:
    """See the module. `state` and `on_rolled_back` are called on the uplink's thread and must not block.

    `on_crash` is told of what nobody expected, on the same thread; the uplink has ended then.
    """

    def __init__(
        self,
        options: UplinkOptions,
        *,
        database: Path,
        store: Submits,
        peer: Peer,
        now: Callable[[], Instant],
        state: Callable[[], StateFields],
        on_rolled_back: Callable[[RolledBack], None],
        on_crash: Callable[[Exception], None] | None = None,
        orders: Orders | None = None,
    ) -> None:
        self._options = options
        self._database = database
        self._peer = peer
        self._now = now
        self._state = state
        self._on_rolled_back = on_rolled_back
        self._on_crash = on_crash
        self._beside = Beside(peer, orders)
        self._watermark = Watermark(store, now, options.watermark_s)
        self._backoff = FullJitter(options.retry_s, options.retry_max_s)
        self._sender: Sender | None = None
        self._broker: str | None = None
        self._trouble: str | None = "not connected yet"
        self._rolled_back: str | None = None
        self._protocols: dict[str, Literal["5", "3.1.1"]] = {}
        self._unheard_s = UNHEARD_S
        self._said: StateFields | None = None
        self._said_at = 0.0
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._ringer.setblocking(False)
        self._rung = False
        self._stopping = threading.Event()
        self._drain_until = 0.0
        self._thread = threading.Thread(target=self._run, name="uplink", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def wake(self) -> None:
        """Something was committed. Cheap, from any thread."""
        if not self._rung:
            self._rung = True
            with contextlib.suppress(OSError):
                self._ringer.send(b"!")

    def post(self, channel: Channel, payload: bytes, *, good_for_s: float | None = None) -> None:
        """Publish on one of this device's topics as soon as there is a connection, or never. From any thread."""
        self._beside.post(channel, payload, good_for_s)
        self.wake()

    def stop(self, timeout_s: float) -> None:
        """Send what still waits, say goodbye, write down what was acknowledged, and end.

        What is not acknowledged in time stays in the journal for the next start.
        """
        self._drain_until = time.monotonic() + timeout_s * _DRAIN_PART
        self._stopping.set()
        self.wake()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.warning("sync.stop_abandoned", after_s=timeout_s)

    def status(self) -> UplinkStatus:
        """A snapshot, from any thread."""
        sender = self._sender
        lines = [] if sender is None else sender.lines
        newest = lines[-1] if lines else None
        return UplinkStatus(
            connected=self._broker is not None,
            broker=self._broker,
            epoch=None if newest is None else newest.epoch,
            last=0 if newest is None else newest.last,
            acknowledged=0 if newest is None else newest.acked,
            waiting=sum(line.last - line.acked for line in lines),
            under_way=sum(line.under_way for line in lines),
            rolled_back=newest is not None and newest.epoch == self._rolled_back,
            trouble=(sender.trouble if sender is not None else None) or self._trouble,
        )

    def _run(self) -> None:
        try:
            self._live()
        except Exception as e:
            self._trouble = f"the uplink ended: {e}"
            if self._on_crash is None:
                raise
            self._on_crash(e)

    def _live(self) -> None:
        outbox = Outbox(self._database)
        try:
            sender = Sender(outbox, self._watermark, self._options, self._peer.topic("tx"), self._roll_back)
            self._sender = sender
            while not self._stopping.is_set():
                if not self._round(sender):
                    self._rest(sender, self._backoff.next_s())
            self._watermark.write(time.monotonic(), whatever=True)
        finally:
            outbox.close()
            self._bell.close()
            self._ringer.close()

    def _roll_back(self, what: RolledBack) -> None:
        self._rolled_back = what.epoch
        self._on_rolled_back(what)

    def _round(self, sender: Sender) -> bool:
        """One attempt at each broker; True when one of them served us well for a while."""
        good = False
        for broker in self._options.brokers:
            if self._stopping.is_set():
                return True
            began = time.monotonic()
            error = self._attempt(broker, sender)
            if isinstance(error, ProtocolUnknown):
                error = self._attempt(broker, sender)
                # a broker that ends while it is asked hangs up too: the next time it is asked for MQTT 5 again
                self._protocols.pop(broker, None)
            if error is not None:
                if self._broker is not None or self._trouble != str(error):
                    log.warning("sync.disconnected", error=error)
                self._trouble = str(error)
            served, self._broker = self._broker is not None, None
            if served and time.monotonic() - began >= _GOOD_S:
                self._backoff.reset()
                good = True
        return good

    def _attempt(self, broker: str, sender: Sender) -> TillError | None:
        """Be connected until it ends; why it ended."""
        try:
            self._serve(broker, sender)
        except (SyncError, StoreError) as e:  # a journal that cannot be read now may be readable again
            return e
        return None

    def _rest(self, sender: Sender, wait_s: float) -> None:
        until = time.monotonic() + wait_s
        while not self._stopping.is_set() and (left := until - time.monotonic()) > 0:
            if select.select([self._bell], [], [], left)[0]:
                self._hear_bell(sender)
            self._watermark.write(time.monotonic())

    def _hear_bell(self, sender: Sender) -> None:
        with contextlib.suppress(BlockingIOError):
            self._bell.recv(64)
        self._rung = False  # not sooner: a ring between the two would be taken away and never rung again
        try:
            sender.refresh()
        except StoreError as e:
            log.warning("sync.journal_unreadable", error=e)

    def _serve(self, broker: str, sender: Sender) -> None:
        """Be connected to one broker until that ends. Raises SyncError, StoreError saying why."""
        link = self._open(broker)
        now = time.monotonic()
        visit = _Visit(link=link, heard_at=now, answered_at=now, deadline=now + HANDSHAKE_TIMEOUT_S)
        try:
            while not self._is_over(sender):
                self._wait(visit, sender)
                now = time.monotonic()
                if link.taken != visit.taken:
                    visit.taken, visit.heard_at = link.taken, now
                for event in link.events():
                    visit.heard_at = now
                    self._happened(visit, sender, event, now)
                if visit.ready:
                    self._work(visit, sender, now)
                elif now >= visit.deadline:
                    raise LinkFailed(f"{broker}: no answer to the connection within {HANDSHAKE_TIMEOUT_S} s")
            if visit.ready and not link.full:  # else the last will says it
                link.publish(self._peer.topic("state"), self._farewell("stopped"), retain=True)
                link.close()
        finally:
            link.abort()

    def _happened(self, visit: _Visit, sender: Sender, event: LinkEvent, now: float) -> None:
        link = visit.link
        match event:
            case Connected(messages_max, bytes_max):
                sender.attached(messages_max, bytes_max)
                self._beside.attached()
                link.subscribe([self._peer.topic("ack")])
            case Subscribed() if not visit.ready:
                visit.ready = True
                self._broker, self._trouble = link.broker, None
                log.event("sync.connected", broker=link.broker, protocol=link.protocol)
                sender.refresh()
                self._say(link, sender, now)
            case Subscribed():
                pass
            case NotSubscribed(reason):
                log.error("order.not_subscribed", broker=link.broker, reason=reason)
            case Arrived():
                self._take(visit, sender, event, now)
            case Refused(reason):
                sender.refused(reason)
            case Lost(error):
                if isinstance(error, ProtocolUnknown):
                    self._protocols[link.broker] = "3.1.1" if link.protocol == "5" else "5"
                raise error
            case _:
                assert_never(event)

    def _work(self, visit: _Visit, sender: Sender, now: float) -> None:
        """What a standing connection is for."""
        link = visit.link
        if not link.in_flight:
            visit.heard_at = now
        sender.tick(now, in_transit=link.in_flight > 0)
        sender.pump(link, now)
        self._beside.pass_on(link, now)
        self._say_if_due(link, sender, now)
        if link.in_flight and now >= visit.heard_at + STALL_S and link.unsent_bytes() == 0:
            raise LinkFailed(f"{link.broker}: no answer for {STALL_S:.0f} s")
        if not sender.awaits_answer:
            visit.answered_at = now
        elif len(self._options.brokers) > 1 and now >= visit.answered_at + self._unheard_s:
            unheard_s, self._unheard_s = self._unheard_s, min(_UNHEARD_MAX_S, self._unheard_s * 2)
            raise LinkFailed(
                f"{link.broker}: no acknowledgement for {unheard_s:.0f} s; another broker is tried"
            )

    def _is_over(self, sender: Sender) -> bool:
        """Stopped, with nothing left to send or no time left for it."""
        if not self._stopping.is_set():
            return False
        return sender.waiting == 0 or time.monotonic() >= self._drain_until

    def _wait(self, visit: _Visit, sender: Sender) -> None:
        """Until the socket, the bell or the clock has something for us."""
        link, now = visit.link, time.monotonic()
        soon = self._stopping.is_set() or self._beside.waiting
        look_s = 0.1 if soon else 1.0 if link.in_flight else _LOOK_S
        stalls_at = visit.heard_at + STALL_S if link.in_flight and now < visit.heard_at + STALL_S else None
        times = [now + look_s, None if visit.ready else visit.deadline, sender.next_at(), stalls_at]
        timeout = max(0.0, min(at for at in times if at is not None) - now)
        fd = link.fileno()
        if fd < 0:
            link.service(readable=True, writable=False)
            return
        bell = self._bell.fileno()
        readable, writable, _ = select.select([fd, bell], [fd] if link.want_write() else [], [], timeout)
        if bell in readable:
            self._hear_bell(sender)
        link.service(readable=fd in readable, writable=bool(writable))

    def _take(self, visit: _Visit, sender: Sender, arrived: Arrived, now: float) -> None:
        link = visit.link
        if arrived.topic != self._peer.topic("ack"):
            self._beside.take(link, arrived)
            return
        link.acknowledge(arrived)
        try:
            ack = read_ack(arrived.payload)
        except MessageInvalid as e:
            log.warning("sync.ack_unreadable", error=e)
            return
        visit.answered_at, self._unheard_s = now, UNHEARD_S
        if sender.heard(ack, now) and not link.full:
            self._say(link, sender, now)

    def _open(self, broker: str) -> Link:
        asked = self._options.protocol
        protocol = self._protocols.get(broker, "5") if asked == "auto" else asked
        identity = Identity(
            client_id=f"till-{self._peer.site}-{self._peer.device}",
            keepalive_s=self._options.keepalive_s,
            tls=self._options.tls,
            username=self._options.username,
            password_file=self._options.password_file,
            will=(self._peer.topic("state"), self._farewell("connection lost")),
        )
        link = Link(broker, identity, protocol=protocol)
        link.open()
        return link

    def _farewell(self, reason: str) -> bytes:
        return msgspec.json.encode(State(online=False, at=self._now().utc, reason=reason))

    def _say_if_due(self, link: Link, sender: Sender, now: float) -> None:
        if now < self._said_at + _LOOK_S or link.full:
            return
        if now >= self._said_at + self._options.state_s or _news(self._state()) != self._said:
            self._say(link, sender, now)

    def _say(self, link: Link, sender: Sender, now: float) -> None:
        health = self._state()
        self._said, self._said_at = _news(health), now
        state = State(online=True, at=self._now().utc, position=sender.position(), health=health)
        link.publish(self._peer.topic("state"), msgspec.json.encode(state), retain=True)


def _news(health: StateFields) -> StateFields:
    """What of the health is worth a message of its own: a meter that was read once more is not."""
    replace = msgspec.structs.replace
    return replace(health, evses=tuple(replace(evse, meter_read_at=None) for evse in health.evses))
