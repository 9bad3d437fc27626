"""The reference receiver: messages in, one durable transaction, acknowledgements out, then the PUBACKs.

One thread. A crash at any point costs nothing: what was not PUBACKed comes again, what was booked is known,
and what the broker forgot the device sends again because nobody acknowledged it.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from edge import log
from edge.backoffice.arrival import MESSAGE_BYTES_MAX, Message
from edge.backoffice.attachment import Attachment
from edge.backoffice.authorizations import Authorizations
from edge.backoffice.books import Books
from edge.backoffice.dispatch import Dispatch
from edge.backoffice.options import BackofficeOptions
from edge.backoffice.orders import orders_key
from edge.backoffice.quota import Quota
from edge.backoffice.retention import Upkeep
from edge.errors import StoreError
from edge.sync.contract.authorization import AuthorizationRequest, read_request
from edge.sync.contract.messages import Ack, MessageInvalid, State, read_state
from edge.sync.contract.orders import OrderMalformed, Reply, read_reply
from edge.sync.contract.topics import Peer, of_topic
from edge.sync.link import Arrived, Link

#: A full disk or a locked database: what came stays in memory, unacknowledged, and is tried again after this.
STORE_RETRY_S = 1.0

#: Without traffic the receiver still looks at gaps and broken connections this often.
_IDLE_S = 0.5
#: While a connection is being opened aside.
_OPENING_S = 0.05

#: Lines whose gaps are tracked at once.
_GAPS_MAX = 10_000

#: Devices of which it is known over which broker they came last.
_PLACES_MAX = 100_000


class _Pending(msgspec.Struct, frozen=True):
    """A message and the connection that it came on: only that one may be told that we have it."""

    at: Attachment
    link: Link
    arrived: Arrived


class _Batch:
    """What one transaction takes, by what it is."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.states: list[tuple[Attachment, Peer, State, bool]] = []
        self.replies: list[tuple[Peer, Reply]] = []
        self.requests: list[tuple[Attachment, Peer, AuthorizationRequest]] = []
        self.whose: dict[Peer, Attachment] = {}

    def sort_in(self, pending: _Pending) -> None:
        """What cannot be read is no entry of a journal, and is dropped."""
        arrived = pending.arrived
        try:
            match of_topic(arrived.topic):
                case (Peer() as peer, "tx") if len(arrived.payload) <= MESSAGE_BYTES_MAX:
                    self.messages.append(Message(peer=peer, payload=arrived.payload))
                    self.whose[peer] = pending.at
                case (Peer() as peer, "state"):
                    self.states.append((pending.at, peer, read_state(arrived.payload), arrived.retained))
                case (Peer() as peer, "reply"):
                    self.replies.append((peer, read_reply(arrived.payload)))
                case (Peer() as peer, "authorize"):
                    self.requests.append((pending.at, peer, read_request(arrived.payload)))
                case _:
                    log.warning("backoffice.dropped", topic=arrived.topic, bytes=len(arrived.payload))
        except (MessageInvalid, OrderMalformed) as e:
            log.warning("backoffice.unreadable", topic=arrived.topic, bytes=len(arrived.payload), error=e)


class Receiver:
    """`run` until `stop`; `on_ready` is called once, when the first broker took our subscription."""

    def __init__(self, options: BackofficeOptions, *, on_ready: Callable[[], None] = lambda: None) -> None:
        self._options = options
        self._books = Books(Path(options.db))
        self._attachments = [Attachment(broker, options) for broker in options.brokers]
        self._quota = Quota(
            messages_per_s=float(options.device_messages_s), bytes_per_s=float(options.device_bytes_s)
        )
        self._permissions: Authorizations | None = None
        self._dispatch = Dispatch(self._books.db, Path(options.db), self._attachments)
        self._upkeep = Upkeep(self._books.db, Path(options.db), options.retention)
        self._on_ready = on_ready
        self._announced = False
        self._stopping = False
        self._bell, self._ringer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._gaps: dict[tuple[Peer, str], tuple[int, float, float]] = {}
        self._places: dict[Peer, Attachment] = {}
        self._retry_at = 0.0
        self._pending: list[_Pending] = []

    def stop(self) -> None:
        """End `run`; from a signal handler or another thread."""
        self._stopping = True
        with contextlib.suppress(OSError):
            os.write(self._ringer, b"!")

    def run(self) -> None:
        """Receive until stopped. Raises StoreError only when the books cannot be opened or are broken."""
        try:
            self._look_at_gaps(time.monotonic())
            while not self._stopping:
                self._wait()
                now = time.monotonic()
                if self._pending and now >= self._retry_at:
                    self._take(now)
                self._ask_for_gaps(now)
                self._dispatch.serve(now)
                self._upkeep.serve(now)
        finally:
            for attachment in self._attachments:
                attachment.close()
            self._books.close()
            os.close(self._bell)
            os.close(self._ringer)

    def _wait(self) -> None:
        """Until something arrives; everything that is there is collected, for one transaction."""
        fds = {a.fileno: a for a in self._attachments if a.fileno >= 0}
        writers = [fd for fd, a in fds.items() if a.want_write]
        idle_s = _IDLE_S if len(fds) == len(self._attachments) else _OPENING_S
        waiting = sum(len(pending.arrived.payload) for pending in self._pending)
        full = len(self._pending) >= _PENDING_MAX or waiting >= _PENDING_BYTES_MAX
        readers = [] if full else list(fds)
        readable, writable, _ = select.select([self._bell, *readers], writers, [], idle_s)
        now = time.monotonic()
        for attachment in self._attachments:
            fd = attachment.fileno
            for link, arrived in attachment.poll(now, readable=fd in readable, writable=fd in writable):
                whose = of_topic(arrived.topic)
                if whose is None or self._quota.admits(*whose, len(arrived.payload), now):
                    self._pending.append(_Pending(attachment, link, arrived))
                else:
                    link.acknowledge(arrived)
            if attachment.link is not None and not self._announced:
                self._announced = True
                self._on_ready()

    def _take(self, now: float) -> None:
        """Book everything that came, in as few commits as it takes, and answer it."""
        batch = _Batch()
        for pending in self._pending:
            batch.sort_in(pending)
        utc = datetime.now(UTC)
        try:
            acks = self._books.book(batch.messages, utc) if batch.messages else []
            answers = [
                (at, peer, self._books.answer(peer, state, utc, retained=retained))
                for at, peer, state, retained in batch.states
                if self._is_there(at, peer, state)
            ]
            for peer, reply in batch.replies:
                self._dispatch.answered(peer, reply, utc)
            permissions = [
                (at, peer, request.id, self._desk().answer(peer, request, utc))
                for at, peer, request in batch.requests
            ]
        except StoreError as e:
            if not e.retryable:
                raise
            log.error("backoffice.cannot_book", error=e)
            self._retry_at = now + STORE_RETRY_S
            return
        for peer, ack in acks:
            self._say(batch.whose[peer], peer, ack)
            self._note_gap(peer, ack, now)
        for at, peer, answer in answers:
            if answer is not None:
                self._say(at, peer, answer)
                self._dispatch.back(peer)
        for at, peer, reference, payload in permissions:
            at.publish(peer.topic("authorization"), payload, key=f"authorization {reference}")
        for pending in self._pending:
            pending.link.acknowledge(pending.arrived)
        self._pending.clear()

    def _is_there(self, at: Attachment, peer: Peer, state: State) -> bool:
        """Whether this broker can know: of a till that moved on to the next one, the last will is no news."""
        if state.online and (peer in self._places or len(self._places) < _PLACES_MAX):
            self._places[peer] = at
        return state.online or self._places.get(peer, at) is at

    def _desk(self) -> Authorizations:
        """Signs with the key of the orders, which is needed only where somebody asks."""
        if self._permissions is None:
            path = Path(self._options.db)
            self._permissions = Authorizations(self._books.db, path, orders_key(path))
        return self._permissions

    def _say(self, at: Attachment, peer: Peer, ack: Ack) -> None:
        topic = peer.topic("ack")
        at.publish(topic, msgspec.json.encode(ack), key=f"{topic} {ack.epoch}")

    def _look_at_gaps(self, now: float) -> None:
        for peer, ack in self._books.gaps()[:_GAPS_MAX]:
            self._gaps[peer, ack.epoch] = (ack.upto, now + self._options.need_s, self._options.need_s)

    def _note_gap(self, peer: Peer, ack: Ack, now: float) -> None:
        """A line moved: its gap, if any, is another one now."""
        upto, _, _ = self._gaps.get((peer, ack.epoch), (-1, 0.0, 0.0))
        if upto != ack.upto:
            self._gaps.pop((peer, ack.epoch), None)
            if len(self._gaps) < _GAPS_MAX:
                self._gaps[peer, ack.epoch] = (ack.upto, now + self._options.need_s, self._options.need_s)

    def _ask_for_gaps(self, now: float) -> None:
        """Ask again for what is missing, less and less often while nothing comes of it."""
        due = [key for key, (_, at, _) in self._gaps.items() if now >= at]
        if not due:
            return
        open_gaps = {(peer, ack.epoch): ack for peer, ack in self._books.gaps()}
        for key in due:
            upto, _, period_s = self._gaps.pop(key)
            ack = open_gaps.get(key)
            if ack is None:
                continue
            for attachment in self._attachments:
                self._say(attachment, key[0], ack)
            period_s = min(self._options.need_max_s, period_s * 2)
            self._gaps[key] = (upto, now + period_s, period_s)


#: Messages that one transaction takes; a broker that ignores our limit waits in its own buffers.
_PENDING_MAX = 1000
_PENDING_BYTES_MAX = 32 * 1024 * 1024
