"""Where an EVSE and its session stand. These facts are stored in each commit and are what the next boot starts from."""

from __future__ import annotations

from typing import Literal

import msgspec

from edge.domain.buyer import Invoicing
from edge.domain.energy import MeterIdentity
from edge.domain.identity import IdToken
from edge.domain.instant import Instant, Timeline
from edge.domain.payment import Payment
from edge.domain.plan import Grant
from edge.domain.pricing import Accrual

Pilot = Literal["A", "B", "C", "D", "E", "F"]

StopReason = Literal[
    "card",  # the driver's own card again
    "unplugged",
    "limit",  # the hold is used up
    "remote",
    "screen",  # the code that was shown at the start
    "evse_fault",
    "meter_silent",
    "meter_halted",
    "contactor_welded",
    "hold_lost",  # the terminal has it no more
    "power_cut",  # the session could not go on after a restart
    "restored",  # it was open in a backup that was restored
]

Outcome = Literal["invoiced", "stated", "free", "no_plug", "declined", "no_energy", "failed"]


class Authorizing(msgspec.Struct, frozen=True, tag=True):
    """The request is durable and on its way."""

    since: Instant


class AwaitingPlug(msgspec.Struct, frozen=True, tag=True):
    """Money is held, the cable is not in."""

    since: Instant


class Preparing(msgspec.Struct, frozen=True, tag=True):
    """The cable is in; the begin reading is being confirmed. The contactor is open."""

    since: Instant


class Charging(msgspec.Struct, frozen=True, tag=True):
    """Permission is granted and renewed. `open_since`: the meter went silent and the contactor is open for now."""

    checkpoint: Instant
    limited: bool = False
    open_since: Instant | None = None


class Resuming(msgspec.Struct, frozen=True, tag=True):
    """After a restart: vehicle and meter have to answer before the session goes on or closes."""

    since: Instant


class Stopping(msgspec.Struct, frozen=True, tag=True):
    """The contactor is open; the end reading is being confirmed.

    `unwatched`: the till was off until now, so the energy counts where the last commit left the session, and
    the time since then is not billed. `outdated`: the session comes from a backup, so that what the meter says now
    is not its energy.
    """

    since: Instant
    reason: StopReason
    unwatched: bool = False
    outdated: bool = False


class Settling(msgspec.Struct, frozen=True, tag=True):
    """Capture or reversal is durable and on its way.

    `asked`: when it was last asked for, `tries` how often again; `refusals` counts plain noes, `refused` is the last.
    `timed`: the wall time of `since` is known, so that it can be counted from in another boot.
    """

    since: Instant
    outcome: Outcome
    reason: str
    asked: Instant
    tries: int = 0
    refusals: int = 0
    refused: str | None = None
    timed: bool = False


class AwaitingClock(msgspec.Struct, frozen=True, tag=True):
    """The hold has ended; the invoice waits for a time that may date it."""

    since: Instant
    reason: str


State = (
    Authorizing | AwaitingPlug | Preparing | Charging | Resuming | Stopping | Settling | AwaitingClock
)  # fmt: skip


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The session's energy: registers in Wh, begin and end on both clocks (`utc` is session time)."""

    identity: MeterIdentity
    begin_wh: int
    last_wh: int
    began: Instant
    ended: Instant | None = None
    estimated: bool = False
    signed: bool = False
    accrual: Accrual


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One session, open until its money is in a final state.

    `dated` is False while its times come from a clock that was not trusted; `shift_us` is what they are off by,
    known once that boot's clock is right. `adrift`: since a restart nobody knows how much time has passed.
    `receipt_token` stands in the address of its receipt. `fallback`: its tariff is the one for when the time that the
    usual one needs is not known.
    """

    session_id: str
    state: State
    opened: Instant
    timeline: Timeline
    tariff_hash: str
    tariff_text: str
    fallback: bool = False
    plan_hash: str | None = None
    grant: Grant | None = None
    token: IdToken
    account: str | None
    invoicing: Invoicing = Invoicing()
    stop_code: str
    receipt_token: str | None = None
    payment: Payment
    dated: bool
    shift_us: int = 0
    adrift: bool = False
    measured: Measured | None = None


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """What the screen still shows of the session that just ended; nothing of it identifies anyone.

    `pending`: the end of its hold, or its invoice, is still on its way.
    """

    session_id: str
    at: Instant
    outcome: Outcome
    reason: str
    energy_wh: int | None = None
    seconds: int | None = None
    paid_minor: int | None = None
    hold_minor: int | None = None
    method: str | None = None
    invoice_number: str | None = None
    receipt_token: str | None = None
    estimated: bool = False
    pending: bool = False


class LastSession(msgspec.Struct, frozen=True, kw_only=True):
    """The session before, for its own card: tapped again at an idle charger it shows its receipt once more.

    `asked`: the card has done so. `replugged`: a car was plugged in since, so the card wants to charge.
    """

    token: IdToken
    finished: Finished
    replugged: bool = False
    asked: Instant | None = None


Evidence = Literal["power", "energy", "charge_point"]


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """The contactor was told to open at `at`; at `done` the charge point said that it is.

    What the meter shows since then: `drawn` readings with a flow since `drawing`; from `window` on the register's gain
    over `window_wh` is looked at, which moved `moves` times up to `seen_wh`, `gained` where it was too much; `quiet`
    since when nothing flows.
    """

    at: Instant
    done: Instant | None = None
    drawing: Instant | None = None
    drawn: int = 0
    window: Instant | None = None
    window_wh: int = 0
    seen_wh: int = 0
    moves: int = 0
    gained: bool = False
    quiet: Instant | None = None


class Welded(msgspec.Struct, frozen=True, kw_only=True):
    """Energy flowed while the contactor was to be open, or the charge point said that it is welded."""

    since: Instant
    evidence: Evidence
    register_wh: int | None


class EvseState(msgspec.Struct, frozen=True, kw_only=True):
    """One EVSE. What devices say is not kept over a restart: it is asked again.

    `unsettled`: sessions that no longer need the EVSE, and whose money or invoice is on its way (edge/domain/session/
    settling.py). `opened` is there while nothing may flow; `stuck` where the charge point says that its contactor stays
    closed; `welded` outlives restarts (edge/domain/session/contactor.py).
    """

    evse_id: str
    booted: Instant | None = None
    session: Session | None = None
    unsettled: tuple[Session, ...] = ()
    finished: Finished | None = None
    last: LastSession | None = None
    pilot: Pilot | None = None
    limited: bool = False
    identity: MeterIdentity | None = None
    register_wh: int | None = None
    power_w: int | None = None
    meter_seen: Instant | None = None
    halted: str | None = None
    opened: Opened | None = None
    stuck: bool = False
    welded: Welded | None = None


def open_sessions(state: EvseState) -> tuple[Session, ...]:
    """Every session that is not in its final state, the one that uses the EVSE last."""
    return state.unsettled if state.session is None else (*state.unsettled, state.session)


def find(state: EvseState, *, ref: str) -> Session | None:
    """The open session of a payment."""
    return next((s for s in open_sessions(state) if s.payment.ref == ref), None)
