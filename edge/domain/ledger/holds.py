"""I2 as anyone can check it: every hold ends exactly once, at most by what was held, and a loss is written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edge.domain.ledger import facts

_ENDS: dict[type[facts.Fact], str] = {
    facts.PaymentCaptured: "captured",
    facts.PaymentReversed: "reversed",
    facts.PaymentDeclined: "declined",
    facts.PaymentExpired: "expired",
}


class Story:
    """What the entries said of one session so far. `released`: it needs its EVSE no longer."""

    def __init__(self, opened: facts.SessionOpened) -> None:
        self.opened = opened
        self.authorized = False
        self.hold_minor: int | None = None
        self.began: facts.EnergyBegan | None = None
        self.reached_wh: int | None = None
        self.energy: facts.EnergyEnded | None = None
        self.settled: facts.SessionSettled | None = None
        self.invoices = 0
        self.statements = 0
        self.released = False
        self.paid_as: str | None = None
        self.ended: facts.SessionEnded | None = None


class _Hold:
    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.hold_minor: int | None = None
        self.asked_minor: int | None = None
        self.due_minor = 0
        self.ends: list[str] = []


class Holds:
    """The holds of one ledger. `say` takes each problem."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._holds: dict[str, _Hold] = {}

    def add(self, where: str, fact: facts.PaymentFact, session: Story | None) -> None:
        """One fact about a hold; `session` is the one that it names."""
        if isinstance(fact, facts.PaymentRequested):
            if fact.payment_ref in self._holds:
                self._say(f"{where}: payment {fact.payment_ref} is requested twice")
            self._holds[fact.payment_ref] = _Hold(fact.session_id)
            return
        hold = self._holds.get(fact.payment_ref)
        if hold is None and isinstance(fact, facts.PaymentNoted):
            return  # a refund is noted at its payment, which may have been pruned
        if hold is None:
            self._say(f"{where}: payment {fact.payment_ref} was never requested")
            return
        if hold.session_id != fact.session_id:
            self._say(f"{where}: payment {fact.payment_ref} is another session's")
        match fact:
            case facts.PaymentAuthorized() | facts.HoldExtended():
                self._held(where, hold, session, fact)
            case facts.ExtensionRequested():
                hold.asked_minor = fact.amount_minor
            case facts.CaptureRequested():
                hold.due_minor = fact.amount_minor
            case facts.ReversalRequested():
                hold.due_minor = fact.loss_minor
            case facts.PaymentCaptured():
                self._captured(where, hold, session, fact)
            case facts.PaymentExpired() if fact.loss_minor != hold.due_minor:
                self._say(f"{where}: a loss of {fact.loss_minor}, and {hold.due_minor} was due")
            case _:
                pass
        end = _ENDS.get(type(fact))
        if end is not None:
            hold.ends.append(end)
        if session is not None:
            session.paid_as = end or session.paid_as
            settling = isinstance(fact, facts.CaptureRequested | facts.ReversalRequested)
            session.released = session.released or settling or end is not None

    @property
    def open(self) -> tuple[str, ...]:
        """References of holds that have not ended so far."""
        return tuple(ref for ref, hold in self._holds.items() if not hold.ends)

    def report(self, sessions: Mapping[str, Story]) -> tuple[str, ...]:
        """After the last entry: the references of holds that have not ended."""
        left = []
        for ref, hold in self._holds.items():
            if len(hold.ends) > 1:
                self._say(f"hold {ref}: ended {len(hold.ends)} times ({', '.join(hold.ends)})")
            if not hold.ends:
                left.append(ref)
                session = sessions.get(hold.session_id)
                if session is not None and session.ended is not None:
                    self._say(f"hold {ref}: its session has ended, the hold has not")
        return tuple(left)

    def _held(
        self,
        where: str,
        hold: _Hold,
        session: Story | None,
        fact: facts.PaymentAuthorized | facts.HoldExtended,
    ) -> None:
        if isinstance(fact, facts.HoldExtended) and hold.asked_minor is None:
            self._say(f"{where}: a hold grows that was not asked to")
        hold.hold_minor = fact.hold_minor
        if session is not None:
            session.authorized = not hold.ends
            session.hold_minor = fact.hold_minor

    def _captured(self, where: str, hold: _Hold, session: Story | None, fact: facts.PaymentCaptured) -> None:
        if hold.hold_minor is None or fact.amount_minor > hold.hold_minor:
            self._say(f"{where}: captures {fact.amount_minor} of a hold of {hold.hold_minor}")
        settled = session.settled if session else None
        if settled is None or settled.payable_minor != fact.amount_minor:
            self._say(f"{where}: captures {fact.amount_minor}, which is not the session's price")
