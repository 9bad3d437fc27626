"""What can happen to an EVSE. Each event carries its instant; identifiers and salts come with it, made outside."""

from __future__ import annotations

from typing import Literal

import msgspec

from edge.domain.energy import MeterIdentity, MeterValue
from edge.domain.identity import IdToken, Member
from edge.domain.instant import Instant
from edge.domain.payment import Answer, Method
from edge.domain.session.state import Pilot


class Base(msgspec.Struct, frozen=True, kw_only=True):
    at: Instant


class Booted(Base, frozen=True, kw_only=True):
    """The till starts with the state of its last commit. Contactors are open."""


class Fresh(Base, frozen=True, kw_only=True):
    """What a session that may open will be called; made outside, each for one use."""

    session_id: str
    payment_ref: str
    salt: bytes
    stop_code: str
    receipt_token: str | None = None


class CardTapped(Fresh, frozen=True, kw_only=True):
    """A card or phone, and how it would pay; `member` is what the list says of one that charges on account.

    The token of a card that cannot be recognized is fresh: no later tap is the same one's.
    """

    token: IdToken
    member: Member | None
    method: Method = "account"


class RemoteStarted(Fresh, frozen=True, kw_only=True):
    """The back office starts a session and answers for up to `limit_minor` of it, in the tariff's currency.

    `collective`: the account's monthly invoice bills it.
    """

    token: IdToken
    authorization_id: str
    limit_minor: int
    account: str | None = None
    collective: bool = False


class PilotChanged(Base, frozen=True, kw_only=True):
    """The vehicle's state, or who withholds power, is another one now."""

    pilot: Pilot
    limited: bool


class MeterIdentified(Base, frozen=True, kw_only=True):
    identity: MeterIdentity


class MeterAccepted(Base, frozen=True, kw_only=True):
    """A reading that passed every check. Only these are billed (I7)."""

    value: MeterValue


class MeterHaltedNow(Base, frozen=True, kw_only=True):
    """The checks gave the meter up."""

    reason: str


class BeginRead(Base, frozen=True, kw_only=True):
    """The confirmed begin reading."""

    value: MeterValue
    identity: MeterIdentity


class EndRead(Base, frozen=True, kw_only=True):
    """The confirmed end reading, or None when the meter could not give one in time.

    `signed_wh` is the energy that the meter's signed records prove, None where they prove none.
    """

    value: MeterValue | None
    identity: MeterIdentity | None
    signed_wh: int | None = None


class ContactorOpened(Base, frozen=True, kw_only=True):
    """The charge point has confirmed that it opened, as it was told to."""


class ContactorSeen(Base, frozen=True, kw_only=True):
    """The charge point says whether its contactor stays closed against its command."""

    welded: bool


class ContactorReleased(Base, frozen=True, kw_only=True):
    """The operator answers for it that the contactor opens again."""


class SigningEnded(Base, frozen=True, kw_only=True):
    """The meter has closed the session's signed record by itself (a power cut): nothing more can be signed in it."""


class ReadFailed(Base, frozen=True, kw_only=True):
    """The begin reading could not be had."""

    reason: str


class PaymentAnswered(Base, frozen=True, kw_only=True):
    answer: Answer


class HoldLost(Base, frozen=True, kw_only=True):
    """Whoever had the hold of an open session has shown that it is gone."""

    ref: str


class ClockBecameTrusted(Base, frozen=True, kw_only=True):
    """From now on the wall clock is right; `at` has the right time."""


class StopRequested(Base, frozen=True, kw_only=True):
    """Somebody with the right to do so ends the session: the operator, or the driver with the code on the screen."""

    reason: Literal["remote", "screen"] = "remote"


class CheckpointDue(Base, frozen=True, kw_only=True):
    """The till is about to stop in good order: what runs is committed where it stands."""


class SettlementDue(Base, frozen=True, kw_only=True):
    """A session that no longer needs its EVSE has waited long enough for its money, or for the time."""

    session_id: str


class InvoiceNumbered(Base, frozen=True, kw_only=True):
    """After the commit that sealed it: the number, for the screen."""

    session_id: str
    number: str


class Ticked(Base, frozen=True, kw_only=True):
    """Time passes; once a second."""


Event = (
    Booted
    | CardTapped
    | RemoteStarted
    | PilotChanged
    | MeterIdentified
    | MeterAccepted
    | MeterHaltedNow
    | BeginRead
    | EndRead
    | SigningEnded
    | ContactorOpened
    | ContactorSeen
    | ContactorReleased
    | ReadFailed
    | PaymentAnswered
    | HoldLost
    | ClockBecameTrusted
    | StopRequested
    | CheckpointDue
    | SettlementDue
    | InvoiceNumbered
    | Ticked
)
