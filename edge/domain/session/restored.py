"""What a backup says of a session is old news: when it is restored, other cars have charged and other cards have paid.

So nothing of it goes on. Energy counts up to the backup's last good value, never up to the register of today; a hold
without energy is given back. What the till did with the session after the backup is known to the back office alone.
"""

from __future__ import annotations

from msgspec.structs import replace

from edge.domain.instant import Instant
from edge.domain.ledger import facts
from edge.domain.session import settling
from edge.domain.session.effects import Step
from edge.domain.session.state import (
    Authorizing,
    AwaitingPlug,
    Charging,
    EvseState,
    Preparing,
    Resuming,
    Stopping,
)


def restored(state: EvseState, at: Instant) -> Step:
    """The EVSE as the first boot after a restore finds it. Its effects are asked for at that boot."""
    session = state.session
    if session is None:
        return Step(state=state)
    match session.state:
        case Authorizing() | AwaitingPlug() | Preparing():
            return replace(
                settling.give_back(state, session, at, outcome="failed", reason="restored"), effects=()
            )
        case Charging() | Resuming():
            fact = facts.SessionStopping(session_id=session.session_id, reason="restored")
            stopping = Stopping(since=at, reason="restored", outdated=True)
            return Step(state=replace(state, session=replace(session, state=stopping)), records=(fact,))
        case Stopping() as stopping:
            session = replace(session, state=replace(stopping, outdated=True))
            return Step(state=replace(state, session=session))
        case _:
            return Step(state=state)
