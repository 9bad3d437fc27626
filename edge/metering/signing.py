"""A signed session from begin to acknowledgement, as steps that survive a power cut between any two.

The meter keeps a session's record until it is told that the record is safe, or until the next session. So the
till asks what the meter holds, does the one step that follows, commits what came of it, and asks again; after a
power cut it goes on by the same rule. A record is committed before it is acknowledged, a session is begun at
most once, and one that is beyond saving is said to be lost, never invented.

>>> next_step(Ready(session_id="s1"), Journal(charge=Charge(session_id="s1", closing=True)))
Fetch()
"""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias, assert_never

import msgspec
from msgspec import Meta

from edge.metering.ocmf.record import sanitized

SESSION_ID_MAX = 36  # a UUID; what an installer can compare by eye
#: Key in `Journal.committed` for a record that names no session of ours.
UNNAMED = "?"
_MARK = re.compile(r"(?:^|\s)#([A-Za-z0-9-]{1,36})(?=\s|$)")
_NO_MARK = {ord("#"): " "}

SessionId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,36}$")]


class SignedSession(msgspec.Struct, frozen=True, kw_only=True):
    """What the meter signs beside its readings. No personal data: the id is ours and opaque (I6)."""

    session_id: SessionId
    evse_id: str = ""
    tariff_text: str = ""


class Idle(msgspec.Struct, frozen=True):
    """The meter has no session. `can_end`: it would sign an end reading nevertheless, for a begin that we hold."""

    can_end: bool = False


class Running(msgspec.Struct, frozen=True):
    """A session is open. `session_id` is None when it is not ours, or when the meter forgot it in a power cut.

    `has_begin`: the begin is a record of its own, which `begin_signed` gives again.
    """

    session_id: str | None
    has_begin: bool = False


class Ready(msgspec.Struct, frozen=True):
    """A record waits to be fetched. `blocking`: no session can begin before it is acknowledged."""

    session_id: str | None
    blocking: bool = True


class Corrupted(msgspec.Struct, frozen=True):
    """The meter says that the record of its session is broken."""


Held: TypeAlias = Idle | Running | Ready | Corrupted


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """The charge that the till has open. `begun` is committed before energy may flow, `closing` after it stopped.

    `begin_committed`: the begin's own record is in the journal.
    """

    session_id: SessionId
    begun: bool = False
    begin_committed: bool = False
    closing: bool = False


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """What is durable: the open charge, and whose end records (or whose loss) are committed."""

    charge: Charge | None = None
    committed: frozenset[str] = frozenset()


class Begin(msgspec.Struct, frozen=True):
    """Call `begin_signed`; commit the record that it may return, and `begun`."""


class End(msgspec.Struct, frozen=True):
    """Call `end_signed`: with the charge's session, or with None where the open one is `foreign`.

    A meter that forgot whose session it is signs the name that it is given.
    """

    foreign: bool = False


class Fetch(msgspec.Struct, frozen=True):
    """Call `fetch_signed`, commit the record, add its session (or UNNAMED) to `committed`."""


class Acknowledge(msgspec.Struct, frozen=True):
    """Call `acknowledge_signed`: the meter forgets the record. UNNAMED leaves `committed` afterwards."""


class Lost(msgspec.Struct, frozen=True):
    """Commit that the charge has no signed record, and why; add its session to `committed`."""

    reason: str


class Settled(msgspec.Struct, frozen=True):
    """Nothing to do: the session runs, or all is committed and acknowledged."""


Step: TypeAlias = Begin | End | Fetch | Acknowledge | Lost | Settled


def next_step(held: Held, journal: Journal) -> Step:
    """The one step that follows from what the meter holds and what is committed."""
    charge = journal.charge
    done = charge is None or charge.session_id in journal.committed
    match held:
        case Ready(session_id=session_id, blocking=blocking):
            committed = (session_id or UNNAMED) in journal.committed
            if (session_id is not None or blocking) and not committed:
                return Fetch()  # also an earlier session's: the next begin overwrites it
            return Acknowledge() if blocking else _without(journal, done=done, can_end=False)
        case Corrupted():
            ours = charge is not None and charge.begun and not done
            return Lost("the meter's record is corrupted") if ours else Acknowledge()
        case Running():
            return _running(held, charge, done=done)
        case Idle(can_end=can_end):
            return _without(journal, done=done, can_end=can_end)
        case _:
            assert_never(held)


def _running(held: Running, charge: Charge | None, *, done: bool) -> Step:
    nameless = held.session_id is None and not held.has_begin
    forgotten = nameless and charge is not None and charge.begun
    ours = charge is not None and held.session_id == charge.session_id
    if charge is None or done or not (ours or forgotten):
        return End(foreign=True)
    if charge.closing:
        return End()
    if not charge.begun or (held.has_begin and not charge.begin_committed):
        return Begin()
    return Settled()


def _without(journal: Journal, *, done: bool, can_end: bool) -> Step:
    """The meter has neither a session nor a record of the charge."""
    charge = journal.charge
    if charge is None or done:
        return Settled()
    if can_end and charge.begin_committed:
        return End() if charge.closing else Settled()
    if charge.begun:
        return Lost("the meter lost the session")
    return Lost("the session never began") if charge.closing else Begin()


def marked_text(session: SignedSession, text: str, *, max_bytes: int) -> str:
    """A text to be signed that ends with the session's mark, `0.49 EUR/kWh #3f2a`; the text is cut to fit."""
    mark = f"#{session.session_id}"
    plain = sanitized(text.translate(_NO_MARK), max_bytes=max(0, max_bytes - len(mark) - 1)).strip()
    return f"{plain} {mark}".strip()


def marked_session(text: str | None) -> str | None:
    """The session that a signed text is marked with; None when it is not one of ours."""
    found = _MARK.findall(text or "")
    return found[-1] if found else None
