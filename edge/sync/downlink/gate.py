"""Which orders this device obeys. PURE.

An order that is unsigned, for somebody else, older than what was seen, or late is refused with a code; one that was
seen before is answered again and changes nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

import msgspec

from edge.errors import SyncError
from edge.sync.contract.orders import (
    MemberChanges,
    MemberList,
    MemberPart,
    Order,
    PublishPlans,
    PublishTariff,
    RemoteStart,
    Stream,
    topic_of,
)
from edge.sync.contract.topics import Peer


class OrderRefused(SyncError):
    """Base of all: this order is not carried out."""

    code: ClassVar[str] = "order.refused"
    retryable = False


class OrderForeign(OrderRefused):
    code = "order.foreign"
    hint = "an order names the site and device that it is for, and travels on their topic"


class OrderElsewhere(OrderForeign):
    """It names another site or device, whose answer it is to give: ours would be taken for our own order's."""


class OrderOld(OrderRefused):
    code = "order.old"
    hint = "versions of a stream only rise; issue the order again with a new one"


class OrderExpired(OrderRefused):
    code = "order.expired"
    hint = "issue the order again"


class OrderEndless(OrderRefused):
    code = "order.no_expiry"
    hint = "give it an expires_at: whoever waits for a remote start goes away"


class OrderClock(OrderRefused):
    code = "order.clock"
    hint = "the device does not know the time yet, and this order is only good for a while"


class Seen(msgspec.Struct, frozen=True):
    """The newest order of a stream that was accepted: its version and the SHA-256 of its payload."""

    version: int
    hash: str


def stream_of(order: Order) -> Stream:
    """The stream that an order's content belongs to."""
    match order.order:
        case PublishTariff():
            return "tariff"
        case PublishPlans():
            return "plans"
        case MemberList() | MemberPart() | MemberChanges():
            return "members"
        case _:
            return "cmd"


def admit(
    order: Order, *, topic: str, me: Peer, seen: Seen | None, sha256: str, now: datetime | None
) -> bool:
    """True for a new order, False for one that was seen. `now` is None while the clock is not trusted.

    Raises OrderRefused.
    """
    stream = stream_of(order)
    if order.site != me.site or order.device not in {None, me.device}:
        raise OrderElsewhere(f"{order.stream} order for {order.site}/{order.device or '*'}")
    if order.stream != stream or (order.device is None) is (stream == "cmd"):
        raise OrderForeign(f"{order.stream} order for {order.site}/{order.device or '*'}")
    if topic_of(order) != topic:
        raise OrderForeign(f"a {order.stream} order does not travel on {topic}")
    if seen is not None and order.version < seen.version:
        raise OrderOld(f"{stream} {order.version}: {seen.version} was seen")
    if seen is not None and order.version == seen.version:
        if sha256 != seen.hash:
            raise OrderOld(f"{stream} {order.version} was seen with another content")
        return False
    if order.expires_at is None:
        if isinstance(order.order, RemoteStart):
            raise OrderEndless(f"{stream} {order.version} would start a session whenever it comes")
    else:
        if now is None:
            raise OrderClock(f"{stream} {order.version}")
        if now >= order.expires_at:
            raise OrderExpired(f"{stream} {order.version} was good until {order.expires_at.isoformat()}")
    return True
