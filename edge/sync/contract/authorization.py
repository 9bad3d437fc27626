"""Asking the back office for permission: a request with a deadline up, a signed answer down.

A device asks about a token that its own list does not know. The request is no entry of the journal; what came of it
is, under the same reference. The same request again gets the same answer.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from edge.sync.contract.foreign import UNREADABLE
from edge.sync.contract.messages import CONTROL_BYTES_MAX, MessageInvalid
from edge.sync.contract.orders import Account, Currency, EvseId, Minor, Text, Token

#: The device's name for one request; it becomes the payment's reference in the journal.
Reference = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="the payment's reference in the journal")
]
#: A driver stands before the charger: longer than this nobody waits.
WAIT_MAX_S = 60


class AuthorizationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Up, `authorize`: may whoever shows this token charge for up to `amount_minor`?

    An answer that comes later than `within_s` after `at` is not used. `at` is by the device's clock, which may be
    wrong: a receiver counts `within_s` from when the request arrived.
    """

    id: Reference
    at: datetime
    within_s: Annotated[int, Meta(ge=1, le=WAIT_MAX_S)]
    evse_id: EvseId
    token: Token
    token_kind: Annotated[str, Meta(max_length=16, description="uid, sun or terminal")]
    key_id: Annotated[str, Meta(max_length=32, description="the operator's key that made the token")]
    amount_minor: Minor
    currency: Currency


class Granted(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="granted"):
    """Up to `limit_minor` of what was asked for. `authorization_id` is what the back office calls it."""

    authorization_id: Reference
    account: Account
    limit_minor: Minor
    currency: Currency


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="refused"):
    """A plain no. `reason` is a code: card_unknown, card_blocked, card_expired, limit_reached, currency, busy."""

    reason: Annotated[str, Meta(pattern=r"^[a-z_]{1,32}$")]


class NoAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The deadline passed, or there is no connection. Nothing was reserved that the journal does not undo."""

    why: str


class AuthorizationReply(msgspec.Struct, frozen=True, kw_only=True):
    """The signed payload, down, `authorization`. `id` is the request's."""

    site: Text
    device: Text
    id: Reference
    at: datetime
    decision: Granted | Refused


_request = msgspec.json.Decoder(AuthorizationRequest)
_reply = msgspec.json.Decoder(AuthorizationReply)


def read_request(payload: bytes) -> AuthorizationRequest:
    """Raises MessageInvalid."""
    if len(payload) > CONTROL_BYTES_MAX:
        raise MessageInvalid(f"request of {len(payload)} bytes, at most {CONTROL_BYTES_MAX} are read")
    try:
        return _request.decode(payload)
    except UNREADABLE as e:
        raise MessageInvalid(f"request: {e}") from e


def read_answer(payload: bytes) -> AuthorizationReply:
    """The payload of a signed answer. Raises MessageInvalid."""
    try:
        return _reply.decode(payload)
    except UNREADABLE as e:
        raise MessageInvalid(f"answer: {e}") from e
