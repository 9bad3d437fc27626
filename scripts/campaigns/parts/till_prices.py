"""I3, watched at each screen: what was shown before, the live price at each sample, and the invoice agree."""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec
from parts.till_place import LANGUAGES, TIME_ZONE

from edge.domain import pricing
from edge.domain.instant import Instant
from edge.domain.ledger import facts
from edge.domain.session.state import Session
from edge.domain.tariffs import Tariff, price_lines
from edge.domain.view import View
from edge.runtime.controller import EvseController

if TYPE_CHECKING:
    from parts.till_site import Site

#: What a page shows to whoever may tap.
_OFFERS: Final = ("idle", "paid", "ended")
_LIVE: Final = ("charging", "suspended", "stopping")


class Live(msgspec.Struct, frozen=True):
    """What the screen said of a session last: Wh, seconds, minor units."""

    energy_wh: int
    seconds: int
    cost_minor: int


class Prices:
    """One life's screens. What is wrong stands in the site's problems."""

    def __init__(self, site: Site, *, now: Callable[[], Instant]) -> None:
        self._site, self._now = site, now
        self._offered: dict[str, tuple[dict[str, Any], frozenset[str]]] = {}
        self._live: dict[str, Live] = {}
        self._priced: pricing.Accrual | None = None
        self._controllers: dict[str, EvseController] = {}

    def shown(self, controller: EvseController) -> None:
        """An EVSE has drawn its screen anew."""
        view = controller.shown
        assert view is not None
        if self._controllers.get(view.evse_id) is not controller:
            self._controllers[view.evse_id] = controller
            self._live.clear()  # the till has begun anew, from what its journal has
        if view.kind in _OFFERS:
            self._offer(view)
        session = controller.state.session
        if session is not None and session.measured is not None and view.kind in _LIVE:
            self._sampled(controller, session, view)
        finished = controller.state.finished
        if finished is not None and view.kind == "paid" and finished.session_id in self._live:
            self._paid(finished.session_id, view)

    def _offer(self, view: View) -> None:
        """Which of the site's tariffs are told in these words at this moment."""
        known = self._offered.get(view.evse_id)
        if known is not None and known[0] == view.price:
            return
        at = self._now().utc
        told = {
            tariff_hash
            for tariff_hash, frozen in self._site.tariffs.items()
            if view.price
            == {
                language: price_lines(frozen.tariff, at=at, time_zone=TIME_ZONE, language=language)
                for language in LANGUAGES
            }
        }
        if not told:
            self._site.problems.append(f"I3: {view.evse_id} shows a price of no tariff: {view.price}")
        self._offered[view.evse_id] = view.price, frozenset(told)

    def opened(self, fact: facts.SessionOpened) -> None:
        """A session was sold: at the tariff that was on its screen, unless nobody stood there."""
        if fact.authorization_id is not None or fact.plan_hash is not None:
            return
        _, told = self._offered.get(fact.evse_id, ({}, frozenset()))
        if fact.tariff_hash not in told:
            self._site.problems.append(
                f"I3: session {fact.session_id} was sold at {fact.tariff_hash[:8]}, its screen told {sorted(told)}"
            )

    def _sampled(self, controller: EvseController, session: Session, view: View) -> None:
        """The live price is that of the invoice if it were written now; it never falls."""
        measured = session.measured
        assert measured is not None
        assert view.energy_wh is not None
        assert view.cost_minor is not None
        assert view.seconds is not None
        live = Live(view.energy_wh, view.seconds, view.cost_minor)
        if live == self._live.get(session.session_id) and measured.accrual is self._priced:
            return
        self._priced = measured.accrual
        terms = controller._offers.session(session, now=self._now(), clock_trusted=True)  # noqa: SLF001
        bill = pricing.settle(terms.compiled, measured.accrual, cap_minor=session.payment.hold_minor)
        wanted = {bill.invoice.payable_minor, *_by_hand(terms.compiled.tariff, live, session)}
        if wanted != {live.cost_minor}:
            self._wrong(session.session_id, f"{live} on the screen, {sorted(wanted)} on an invoice of now")
        before = self._live.get(session.session_id)
        if before is not None and (live.cost_minor < before.cost_minor or live.energy_wh < before.energy_wh):
            self._wrong(session.session_id, f"{live} after {before}")
        self._live[session.session_id] = live

    def _paid(self, session_id: str, view: View) -> None:
        live = self._live[session_id]
        if view.cost_minor not in (None, 0) and view.cost_minor < live.cost_minor:  # type: ignore[operator]
            self._wrong(session_id, f"{view.cost_minor} were paid after {live} on the screen")

    def sealed(self, fact: facts.InvoiceSealed) -> None:
        """The invoice is not below what was shown last, and it where nothing came afterwards."""
        draft, live = fact.invoice.draft, self._live.pop(fact.session_id, None)
        if live is None:
            return
        payable = draft.figures.payable_minor
        same = (draft.energy_wh, int((draft.end - draft.begin).total_seconds())) == (
            live.energy_wh,
            live.seconds,
        )
        if payable < live.cost_minor or (same and payable != live.cost_minor):
            self._wrong(fact.session_id, f"{payable} on the invoice after {live} on the screen")

    def _wrong(self, session_id: str, what: str) -> None:
        self._site.problems.append(f"I3: session {session_id}: {what}")


def _by_hand(tariff: Tariff, live: Live, session: Session) -> tuple[int, ...]:
    """The price as a driver would work it out, where a tariff has a price for energy and nothing else."""
    if len(tariff.elements) != 1 or len(tariff.elements[0].components) != 1:
        return ()
    component = tariff.elements[0].components[0]
    if component.dimension != "ENERGY":
        return ()
    net = _rounded(Decimal(live.energy_wh) * component.price / 10)
    gross = net + sum(_rounded(net * tax.percent / 100) for tax in component.taxes)
    hold = session.payment.hold_minor
    return (int(gross if hold is None else min(gross, hold)),)


def _rounded(minor: Decimal) -> Decimal:
    return minor.quantize(Decimal(1), ROUND_HALF_UP)
