"""What is on sale, and what a running session was sold at: the terms that each step is decided on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

from edge.domain import pricing
from edge.domain.instant import Instant
from edge.domain.invoice import Place, Seller
from edge.domain.session.terms import Rules, Terms
from edge.domain.tariffs import FrozenTariff, depends_on_time, freeze, price_lines
from edge.domain.view import PriceLine

Lines = tuple[PriceLine, ...]

#: Tariffs compiled at once: the one on sale, and one for each session that began before it changed.
_COMPILED_MAX = 16


class Offer:
    """One tariff as it is sold at one place."""

    def __init__(self, frozen: FrozenTariff, *, place: Place) -> None:
        self.frozen = frozen
        self.place = place
        self.needs_time = depends_on_time(frozen.tariff)
        self.compiled = pricing.compile_tariff(frozen.tariff, time_zone=place.time_zone)
        self._told: tuple[datetime, dict[str, Lines]] | None = None

    def price(self, at: datetime, languages: tuple[str, ...]) -> dict[str, Lines]:
        """The price in words, by language. It can change with a minute, and is told anew then."""
        minute = at.replace(second=0, microsecond=0)
        if self._told is None or self._told[0] != minute:
            tariff, time_zone = self.frozen.tariff, self.place.time_zone
            lines = {
                language: price_lines(tariff, at=at, time_zone=time_zone, language=language)
                for language in languages
            }
            self._told = minute, lines
        return self._told[1]


class Offers:
    """The terms of one EVSE. `refusal` tells why nothing new may be sold, as a code, or None."""

    def __init__(
        self,
        *,
        on_sale: FrozenTariff,
        place: Place,
        seller: Seller,
        hold_minor: int,
        rules: Rules,
        rated_power_w: int,
        find_tariff: Callable[[str], str],
        refusal: Callable[[], str | None],
        languages: tuple[str, ...],
    ) -> None:
        self._current = Offer(on_sale, place=place)
        self._place = place
        self._seller = seller
        self._hold_minor = hold_minor
        self._rules = rules
        self._rated_power_w = rated_power_w
        self._find_tariff = find_tariff
        self._refusal = refusal
        self._languages = languages
        self._compiled: OrderedDict[str, Offer] = OrderedDict({on_sale.hash: self._current})

    def terms(self, tariff_hash: str | None, *, now: Instant, clock_trusted: bool) -> Terms:
        """The terms of a session by the hash of its frozen tariff, or what is on sale now."""
        offer = self._current if tariff_hash is None else self._offer(tariff_hash)
        refusal = "clock_untrusted" if offer.needs_time and not clock_trusted else self._refusal()
        tariff = offer.frozen.tariff
        return Terms(
            tariff_hash=offer.frozen.hash,
            tariff_document=offer.frozen.document,
            price=offer.price(now.utc, self._languages),
            compiled=offer.compiled,
            currency=tariff.currency,
            hold_minor=self._hold_minor,
            seller=self._seller,
            place=offer.place,
            clock_trusted=clock_trusted,
            rated_power_w=self._rated_power_w,
            refusal=refusal,
            rules=self._rules,
        )

    def _offer(self, tariff_hash: str) -> Offer:
        found = self._compiled.get(tariff_hash)
        if found is None:
            document = self._find_tariff(tariff_hash)
            found = Offer(freeze(document.encode()), place=self._place)
            self._compiled[tariff_hash] = found
            while len(self._compiled) > _COMPILED_MAX:
                self._compiled.popitem(last=False)
        return found
