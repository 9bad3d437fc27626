"""What travels beside the journal: orders and answers down, replies and requests up. On the uplink's thread."""

from __future__ import annotations

import time
from collections import deque
from typing import Protocol

from edge import log
from edge.sync.contract.topics import Channel, Peer
from edge.sync.link import Arrived, Link
from edge.sync.rate import Bucket

#: Replies and requests that wait for a connection.
_POSTED_MAX = 200

#: Orders that wait for whoever takes them. The broker sends no more than its window without our PUBACK; what comes
#: without one (QoS 0) is not of this contract.
_UNTAKEN_MAX = 200

#: Orders a second, and at once: a list of the largest size comes as a thousand parts. What is above that waits at
#: the broker; each costs a signature check before anything is known of it.
_ORDERS_PER_S = 20.0
_ORDERS_BURST = 1100.0


class Orders(Protocol):
    """Who takes what the back office orders."""

    def topics(self) -> list[str]:
        """What to be subscribed to now; it may grow."""
        ...

    def offer(self, topic: str, payload: bytes) -> bool:
        """Take a message without blocking; False when it must be offered again."""
        ...

    def answered(self, payload: bytes) -> None:
        """What came on `authorization`, at once: somebody stands at the charger and waits. Never blocks."""
        ...


class Beside:
    """See the module. Without `orders` nothing comes down but acknowledgements."""

    def __init__(self, peer: Peer, orders: Orders | None) -> None:
        self._peer = peer
        self._orders = orders
        self._posted: deque[tuple[Channel, bytes, float | None]] = deque(maxlen=_POSTED_MAX)
        self._untaken: deque[Arrived] = deque()
        self._subscribed: set[str] = set()
        self._bucket = Bucket(_ORDERS_PER_S, _ORDERS_BURST)
        self._paid = False
        self._dropped = False

    def post(self, channel: Channel, payload: bytes, good_for_s: float | None) -> None:
        """Any thread. Of what waits for a connection the newest are kept: whoever misses an answer asks again."""
        until = None if good_for_s is None else time.monotonic() + good_for_s
        self._posted.append((channel, payload, until))

    @property
    def waiting(self) -> bool:
        """Whether an order is to be offered again soon."""
        return bool(self._untaken)

    def attached(self) -> None:
        """A new connection: what was not PUBACKed on the last one comes again."""
        self._untaken.clear()
        self._subscribed.clear()
        self._paid = False

    def take(self, link: Link, arrived: Arrived) -> None:
        """Something that is no acknowledgement."""
        if arrived.topic == self._peer.topic("authorization"):
            link.acknowledge(arrived)
            if self._orders is not None:
                self._orders.answered(arrived.payload)
        elif len(self._untaken) < _UNTAKEN_MAX:
            self._untaken.append(arrived)
        elif not self._dropped:
            self._dropped = True
            log.warning("order.flood", topic=arrived.topic, waiting=len(self._untaken))

    def pass_on(self, link: Link, now: float) -> None:
        """Orders down and answers up. What is not taken now is not PUBACKed, so the broker sends no more."""
        while self._untaken and self._offered(self._untaken[0], now):
            link.acknowledge(self._untaken.popleft())
        while self._posted and not link.full:
            channel, payload, until = self._posted.popleft()
            if until is None or now < until:
                link.publish(self._peer.topic(channel), payload)
        new = set(() if self._orders is None else self._orders.topics()) - self._subscribed
        if new:
            self._subscribed |= new
            link.subscribe(sorted(new), required=False)

    def _offered(self, first: Arrived, now: float) -> bool:
        if self._orders is None:
            return True
        self._paid = self._paid or self._bucket.take(now)
        if not self._paid or not self._orders.offer(first.topic, first.payload):
            return False
        self._paid = False
        return True
