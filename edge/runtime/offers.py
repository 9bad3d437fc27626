"""What is on sale, and what a running session was sold at: the terms that each step is decided on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from edge.domain import pricing
from edge.domain.buyer import ZeroTax
from edge.domain.identity import Member
from edge.domain.instant import Instant
from edge.domain.invoice import Place, Seller
from edge.domain.payment import Method
from edge.domain.plan import FrozenPlan, PlanBalance, depends_on_clock, freeze_plan, member_tariff, plan_lines
from edge.domain.session.state import Session
from edge.domain.session.terms import Terms
from edge.domain.tariffs import EvseKind, FrozenTariff, depends_on_time, freeze, price_lines
from edge.domain.view import PriceLine
from edge.runtime.plans import PlanBook
from edge.runtime.shelf import PriceTag, Shelf

Lines = tuple[PriceLine, ...]

#: Prices compiled at once: the one on sale, those of plans, and of sessions that began before they changed.
_COMPILED_MAX = 16


class Offer:
    """One tariff as it is sold at one place, with a plan or without."""

    def __init__(
        self, frozen: FrozenTariff, *, place: Place, evse_kind: EvseKind, plan: FrozenPlan | None
    ) -> None:
        self.frozen = frozen
        self.plan = plan
        self._place = place
        self._tariff = member_tariff(frozen.tariff, plan.plan if plan else None)
        timed_plan = plan is not None and depends_on_clock(plan.plan)
        self.needs_time = depends_on_time(self._tariff) or timed_plan
        self.compiled = pricing.compile_tariff(
            frozen.tariff,
            time_zone=place.time_zone,
            plan=plan.plan if plan else None,
            evse_kind=evse_kind,
        )
        self._told: tuple[datetime, PlanBalance | None, dict[str, Lines]] | None = None

    def price(
        self, at: datetime, balance: PlanBalance | None, languages: tuple[str, ...]
    ) -> dict[str, Lines]:
        """The price in words, by language. It can change with a minute, or with the balance, and is told anew then."""
        minute = at.replace(second=0, microsecond=0)
        if self._told is None or self._told[:2] != (minute, balance):
            lines = {language: self._lines(at, balance, language) for language in languages}
            self._told = minute, balance, lines
        return self._told[2]

    def _lines(self, at: datetime, balance: PlanBalance | None, language: str) -> Lines:
        lines = price_lines(self._tariff, at=at, time_zone=self._place.time_zone, language=language)
        if self.plan is None:
            return lines
        return (*lines, *plan_lines(self.plan.plan, balance, tariff=self._tariff, language=language))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """What all offers of one EVSE share, beside what is on the shelf."""

    place: Place
    seller: Seller
    rated_power_w: int
    evse_kind: EvseKind
    languages: tuple[str, ...]
    own_power_w: int = 0
    methods: Callable[[], frozenset[Method]] = lambda: frozenset({"account"})
    extending: frozenset[Method] = frozenset()
    hold_max_minor: int = 0
    receipt_url: str | None = None
    zero_tax: ZeroTax | None = None


class Offers:
    """The terms of one EVSE. `refusal` tells why nothing new may be sold here, as a code, or None; `known_at` the
    latest time that has certainly come, for while the clock is not trusted.
    """

    def __init__(
        self,
        sale: Sale,
        shelf: Shelf,
        plans: PlanBook,
        *,
        refusal: Callable[[], str | None],
        known_at: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        self._sale = sale
        self._shelf = shelf
        self.tag = PriceTag()
        self._plans = plans
        self._refusal = refusal
        self._known_at = known_at
        self._compiled: OrderedDict[tuple[str, str | None], Offer] = OrderedDict()

    def on_sale(self, member: Member | None, *, now: Instant, clock_trusted: bool) -> Terms:
        """What a tap would buy now: the tariff on sale, by the member's plan where there is one."""
        known_at = now.utc if clock_trusted else self._known_at()
        plan = None if member is None else self._plans.find(member, known_at, known=clock_trusted)
        offer = self._sold(plan, clock_trusted=clock_trusted)
        account = member.account if member is not None else None
        refusal = "clock_untrusted" if offer.needs_time and not clock_trusted else self._refusal()
        terms = self._terms(offer, account, refusal, now, clock_trusted=clock_trusted)
        if clock_trusted:
            return terms
        falls_back = offer.frozen.hash != self._shelf.on_sale.tariff.hash
        return replace(terms, fallback=falls_back, known_at=known_at)

    def drawn(self, now: Instant, *, clock_trusted: bool) -> None:
        """The screen shows what is on sale now."""
        self.tag.drawn(self._sold(None, clock_trusted=clock_trusted).frozen.hash, now)

    def is_news(self, at: Instant, *, clock_trusted: bool) -> bool:
        """Whether a tap at this moment was made at another price, or before this one could be read (I3)."""
        return self.tag.is_news(self._sold(None, clock_trusted=clock_trusted).frozen.hash, at)

    def _sold(self, plan: FrozenPlan | None, *, clock_trusted: bool) -> Offer:
        """The tariff on sale; its fallback where only the tariff's own rules need a time that is not known.

        A plan that depends on the time is refused by either.
        """
        on_sale, plan_hash = self._shelf.on_sale, plan.hash if plan else None
        offer = self._offer(on_sale.tariff.hash, plan_hash, plan)
        if clock_trusted or not offer.needs_time or on_sale.fallback is None:
            return offer
        fallback = self._offer(on_sale.fallback.hash, plan_hash, plan)
        return offer if fallback.needs_time else fallback

    def session(self, session: Session, *, now: Instant, clock_trusted: bool) -> Terms:
        """The terms that a session began with, and what its account has left now."""
        offer = self._offer(session.tariff_hash, session.plan_hash, None)
        refusal = "clock_untrusted" if offer.needs_time and not clock_trusted else None
        terms = self._terms(offer, session.account, refusal, now, clock_trusted=clock_trusted)
        return replace(terms, fallback=True) if session.fallback else terms

    def _terms(
        self, offer: Offer, account: str | None, refusal: str | None, now: Instant, *, clock_trusted: bool
    ) -> Terms:
        sale, on_sale, plan = self._sale, self._shelf.on_sale, offer.plan
        balance = None
        if plan is not None and account is not None:
            balance = self._plans.balance(account, plan.plan.id)
        return Terms(
            tariff_hash=offer.frozen.hash,
            tariff_document=offer.frozen.document,
            price=offer.price(now.utc, balance, sale.languages),
            compiled=offer.compiled,
            currency=offer.frozen.tariff.currency,
            hold_minor=on_sale.hold_minor,
            seller=sale.seller,
            place=sale.place,
            clock_trusted=clock_trusted,
            rated_power_w=sale.rated_power_w,
            own_power_w=sale.own_power_w,
            evse_kind=sale.evse_kind,
            plan=plan,
            balance=balance,
            refusal=refusal,
            methods=sale.methods(),
            extending=sale.extending,
            hold_max_minor=sale.hold_max_minor,
            receipt_url=sale.receipt_url,
            zero_tax=sale.zero_tax,
            rules=on_sale.rules,
        )

    def _offer(self, tariff_hash: str, plan_hash: str | None, plan: FrozenPlan | None) -> Offer:
        found = self._compiled.get((tariff_hash, plan_hash))
        if found is not None:
            self._compiled.move_to_end((tariff_hash, plan_hash))
            return found
        tariff = self._shelf.on_sale.tariff
        if tariff.hash != tariff_hash:
            tariff = freeze(self._shelf.find(tariff_hash).encode())
        if plan is None and plan_hash is not None:
            plan = freeze_plan(msgspec.json.decode(self._shelf.find(plan_hash)))
        found = Offer(tariff, place=self._sale.place, evse_kind=self._sale.evse_kind, plan=plan)
        self._compiled[tariff_hash, plan_hash] = found
        while len(self._compiled) > _COMPILED_MAX:
            self._compiled.popitem(last=False)
        return found
