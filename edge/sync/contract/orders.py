"""What the back office may order: commands for one device, and documents for every device of a site.

Each order is signed, numbered within its stream, and answered with success or a coded error. A number that was
seen before changes nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge.domain.buyer import BuyerRecord, Invoicing, ZeroTax
from edge.errors import SyncError
from edge.sync.contract.foreign import UNREADABLE, too_deep
from edge.sync.contract.topics import ROOT, Peer

#: An order is at most so large: a part of a member list with 2,000 members, signed.
ORDER_BYTES_MAX = 1_048_576

#: What one answer brings of the log; with the bound on its bytes it fits into any broker's messages.
LOG_LINES_MAX = 500

#: Members per part, parts per list: 100,000 members are 50 parts.
PART_MEMBERS_MAX = 2000
PARTS_MAX = 1000

Text = Annotated[str, Meta(min_length=1, max_length=200)]
EvseId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9*_-]{1,48}$")]
Account = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Token = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$", description="HMAC-SHA256 of a card, hex")]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$")]
Minor = Annotated[int, Meta(ge=1, le=100_000_000)]
Version = Annotated[int, Meta(ge=1, le=9_223_372_036_854_775_807)]
Document = Annotated[str, Meta(min_length=2, max_length=500_000)]

Stream = Literal["cmd", "tariff", "plans", "members"]


class RemoteStart(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="remote_start"):
    """Authorize the EVSE for an account, as if its card had been tapped. The order must expire: the driver goes away.

    `authorization_id` is the back office's name for it: it stands in the journal with the session, and a second
    order with the same one starts nothing. `invoice` is as in a member list.
    """

    evse_id: EvseId
    account: Account
    limit_minor: Minor
    currency: Currency
    authorization_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    invoice: Literal["session", "collective"] = "session"


class RemoteStop(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="remote_stop"):
    session_id: Text


class BlockEvse(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="block_evse"):
    """Sell nothing on this EVSE from now on, also after a restart. A running session goes on, or ends now."""

    evse_id: EvseId
    reason: Text
    stop_session: bool = False


class UnblockEvse(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="unblock_evse"):
    evse_id: EvseId


class Credit(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="credit"):
    """A credit note for an invoice of this device, and the money back the way it came."""

    invoice_number: Text
    reason: Text


class SendLogs(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="send_logs"):
    """The newest lines of the log since the till started, scrubbed as they were written; oldest first."""

    lines: Annotated[int, Meta(ge=1, le=LOG_LINES_MAX)]


class Configure(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="configure"):
    """Settings that may be changed from afar, by their name in the configuration; all of them or none.

    They last until they are changed again. None: what the device's own configuration says counts again.
    """

    values: Annotated[
        dict[Annotated[str, Meta(max_length=64)], str | int | float | bool | None], Meta(max_length=50)
    ]


class Erase(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="erase", omit_defaults=True):
    """Forget who somebody was, by exactly one of: a card's token, a session, an account.

    The journal holds commitments only and verifies as before. `buyers`: also who is named on the invoices of these
    sessions; whoever keeps books may have to keep that.
    """

    token: Token | None = None
    session_id: Text | None = None
    account: Account | None = None
    buyers: bool = False


class PublishTariff(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="tariff"):
    """The tariff of the site, as OCPI or OCPP JSON. It is on sale once it was shown."""

    document: Document


class PublishPlans(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="plans"):
    """The plans of the site's members: a JSON list."""

    document: Document


class ListedMember(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A card that may charge, or may not. Without an account it is only blocked.

    `invoice`: each session gets its own, or the account one a month (then a session gets a statement). `buyer` is who
    is named on it, with the salt of the commitment that the journal has instead; `zero_tax` why prices without tax
    have none. From `valid_until` on it starts no session.
    """

    token: Token
    account: Account | None = None
    limit_minor: Minor = 1
    currency: Currency = "EUR"
    blocked: bool = False
    group: Annotated[str, Meta(max_length=64)] = ""
    invoice: Literal["session", "collective"] = "session"
    buyer: BuyerRecord | None = None
    zero_tax: ZeroTax | None = None
    valid_until: Annotated[datetime, Meta(tz=True)] | None = None

    @property
    def invoicing(self) -> Invoicing:
        """How the account is billed."""
        return Invoicing(collective=self.invoice == "collective", buyer=self.buyer, zero_tax=self.zero_tax)


class MemberList(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="member_list"):
    """There is a full list of this version, in so many parts: a device that has another one fetches them."""

    parts: Annotated[int, Meta(ge=1, le=PARTS_MAX)]


class MemberPart(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="members"):
    """One part of the full list; it replaces the old list when all `parts` of this version are there."""

    part: Annotated[int, Meta(ge=1, le=PARTS_MAX)]
    parts: Annotated[int, Meta(ge=1, le=PARTS_MAX)]
    members: Annotated[tuple[ListedMember, ...], Meta(max_length=PART_MEMBERS_MAX)]


class MemberChanges(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="member_changes"):
    """All that changed since the full list `base`; it replaces earlier changes."""

    base: Version
    put: Annotated[tuple[ListedMember, ...], Meta(max_length=PART_MEMBERS_MAX)] = ()
    remove: Annotated[tuple[Token, ...], Meta(max_length=PART_MEMBERS_MAX)] = ()


Command = RemoteStart | RemoteStop | BlockEvse | UnblockEvse | Credit | SendLogs | Configure | Erase
Body = Command | PublishTariff | PublishPlans | MemberList | MemberPart | MemberChanges


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """The signed payload. `device` is None for every device of the site; `version` rises within the stream."""

    stream: Stream
    site: Text
    device: Text | None
    version: Version
    issued_at: datetime
    expires_at: datetime | None = None
    order: Body


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why an order was not carried out, as everywhere: code, message, hint."""

    code: str
    message: str
    hint: str = ""


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Up, `reply`: what became of an order. `part`: of a list that comes in parts."""

    stream: Stream
    version: Annotated[int, Meta(ge=0, le=9_223_372_036_854_775_807)]
    ok: bool
    part: Annotated[int, Meta(ge=1, le=PARTS_MAX)] | None = None
    error: Fault | None = None
    result: Any = None


class OrderMalformed(SyncError):
    code = "order.malformed"
    retryable = False
    hint = "contract/schemas.json has every order; is the device older than the back office?"


_order = msgspec.json.Decoder(Order)
_reply = msgspec.json.Decoder(Reply)


def read_order(payload: bytes) -> Order:
    """Raises OrderMalformed."""
    try:
        return _order.decode(payload)
    except UNREADABLE as e:
        raise OrderMalformed(str(e)) from e


def read_reply(payload: bytes) -> Reply:
    """Raises OrderMalformed."""
    try:
        reply = _reply.decode(payload)
    except UNREADABLE as e:
        raise OrderMalformed(str(e)) from e
    if too_deep(reply.result):
        raise OrderMalformed("the result is nested too deeply")
    return reply


def topic_of(order: Order) -> str:
    """Where an order is published; only commands are not retained."""
    match order.order:
        case MemberPart(part=part):
            return f"{members_topic(order.site, order.version)}/{part}"
        case MemberList():
            return f"{ROOT}/{order.site}/members/list"
        case MemberChanges():
            return f"{ROOT}/{order.site}/members/changes"
        case PublishTariff() | PublishPlans():
            return f"{ROOT}/{order.site}/{order.stream}"
        case _:
            assert order.device is not None, "a command is for one device"
            return f"{ROOT}/{order.site}/{order.device}/cmd"


def topics_for(peer: Peer) -> list[str]:
    """What a device listens to for orders and answers."""
    site = f"{ROOT}/{peer.site}"
    return [
        peer.topic("cmd"),
        peer.topic("authorization"),
        f"{site}/tariff",
        f"{site}/plans",
        f"{site}/members/list",
        f"{site}/members/changes",
    ]


def members_topic(site: str, version: int) -> str:
    """Above the parts of a full list. Only a device that needs them subscribes: they are many megabytes."""
    return f"{ROOT}/{site}/members/{version}"
