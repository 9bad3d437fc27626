"""The linter: what a tariff says that cannot be meant, and what may not be shown or sold in public.

Profiles: `none`; `afir` for public points (AFIR Art. 5: prices per kWh, per minute, per session that a driver
can understand, here: a price per minute that is exact); `afir_50kw` for points of 50 kW and more (a price per
kWh, and at most an occupancy fee per minute beside it).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Literal, get_args

from edge.domain.money import exponent
from edge.domain.tariffs.loading import read_tariff
from edge.domain.tariffs.model import NO_RESTRICTIONS, PriceLimit, Restrictions, Tariff, TariffElement
from edge.domain.tariffs.reading import Problem
from edge.domain.tariffs.taxes import exact_decimal, gross_price, stacked
from edge.errors import TariffError

Profile = Literal["afir_50kw", "afir", "none"]
PROFILES: tuple[Profile, ...] = get_args(Profile)

#: A price per minute is billed by the minute.
_MINUTE_S = 60
_LIMITS = (
    ("min_energy_wh", "max_energy_wh", "energy"),
    ("min_power_w", "max_power_w", "power"),
    ("min_current_a", "max_current_a", "current"),
    ("min_duration_s", "max_duration_s", "duration"),
    ("min_charging_s", "max_charging_s", "charging time"),
    ("min_idle_s", "max_idle_s", "idle time"),
    ("start_date", "end_date", "dates"),
)


class UnlawfulTariff(TariffError):
    """A tariff that may not be sold where the till stands."""

    code = "tariff.unlawful"


def lint_document(
    document: bytes | Mapping[str, object], *, profile: Profile = "none"
) -> tuple[Problem, ...]:
    """Every problem of a document, those that keep it from being loaded first."""
    tariff, problems = read_tariff(document)
    return problems if problems or tariff is None else lint(tariff, profile=profile)


def lint(tariff: Tariff, *, profile: Profile = "none") -> tuple[Problem, ...]:
    """Every problem of a tariff that could be loaded."""
    problems = [*_elements(tariff), *_limits(tariff), *_taxes(tariff)]
    if profile != "none":
        problems += [*_per_minute(tariff), *(_fast(tariff) if profile == "afir_50kw" else ())]
    return tuple(problems)


def require_lawful(tariff: Tariff, *, profile: Profile) -> None:
    """Refuse a tariff that may not be sold under a profile. Raises UnlawfulTariff with the first error."""
    for problem in lint(tariff, profile=profile):
        if problem.severity == "error":
            raise UnlawfulTariff(problem.reason, place=problem.place)


def _elements(tariff: Tariff) -> Iterator[Problem]:
    taken: dict[tuple[str, str | None], int] = {}
    for i, element in enumerate(tariff.elements):
        place = f"elements[{i}]"
        r = element.restrictions
        yield from _restrictions(r, f"{place}.restrictions")
        for j, component in enumerate(element.components):
            before = taken.get((component.dimension, r.reservation))
            if before is not None:
                reason = f"never applies: elements[{before}] prices {component.dimension} always"
                yield Problem(f"{place}.price_components[{j}]", reason, "warning")
        if _always(r):
            for component in element.components:
                taken.setdefault((component.dimension, r.reservation), i)


def _always(r: Restrictions) -> bool:
    return all(
        getattr(r, name) == getattr(NO_RESTRICTIONS, name)
        for name in Restrictions.__struct_fields__
        if name not in ("reservation", "at_start")
    )


def _restrictions(r: Restrictions, place: str) -> Iterator[Problem]:
    for low, high, what in _LIMITS:
        least, most = getattr(r, low), getattr(r, high)
        if least is not None and most is not None and least >= most:
            yield Problem(place, f"never applies: the {what} cannot be at least {least} and below {most}")
        elif most is not None and not most:
            yield Problem(place, f"never applies: the {what} cannot be below 0")
    wraps = r.start_minute is not None and r.end_minute is not None and r.end_minute < r.start_minute
    if wraps and 0 < len(r.weekdays) < 7:
        reason = (
            "weekdays are those of the current day: the hours after midnight belong to the next one; "
            "use two elements for a night"
        )
        yield Problem(place, reason, "warning")


def _limits(tariff: Tariff) -> Iterator[Problem]:
    """No honest invoice meets a net and a gross limit that no tax rate of the tariff connects."""
    factors = {
        stacked(c.taxes).factor
        for e in tariff.elements
        if e.restrictions.reservation is None
        for c in e.components
    }
    for name, limit in (("min_price", tariff.min_price), ("max_price", tariff.max_price)):
        if limit is None or limit.before_taxes is None or limit.after_taxes is None or not factors:
            continue
        if not _connected(limit, factors, 10 ** exponent(tariff.currency)):
            reason = (
                f"{limit.after_taxes} after taxes does not follow from {limit.before_taxes} "
                "before taxes at any mix of the tariff's tax rates"
            )
            yield Problem(name, reason, "warning")


def _connected(limit: PriceLimit, factors: set[Fraction], minor: int) -> bool:
    assert limit.before_taxes is not None
    assert limit.after_taxes is not None
    net, gross, cent = Fraction(limit.before_taxes), Fraction(limit.after_taxes), Fraction(1, minor)
    return net * min(factors) - cent <= gross <= net * max(factors) + cent


def _taxes(tariff: Tariff) -> Iterator[Problem]:
    if tariff.tax_included != "YES":
        return
    for i, element in enumerate(tariff.elements):
        for j, component in enumerate(element.components):
            if component.price and not component.taxes:
                place = f"elements[{i}].price_components[{j}]"
                yield Problem(place, "includes taxes, but no rate is given to tell them apart", "warning")


def _session_elements(tariff: Tariff) -> list[tuple[int, TariffElement]]:
    return [(i, e) for i, e in enumerate(tariff.elements) if e.restrictions.reservation is None]


def _per_minute(tariff: Tariff) -> Iterator[Problem]:
    for i, element in enumerate(tariff.elements):
        for j, component in enumerate(element.components):
            if component.dimension not in ("TIME", "PARKING_TIME") or not component.price:
                continue
            place = f"elements[{i}].price_components[{j}]"
            if exact_decimal(gross_price(tariff, component) / 60) is None:
                yield Problem(f"{place}.price", "cannot be shown exactly as a price per minute with tax")
            if component.step > _MINUTE_S:
                yield Problem(f"{place}.step_size", "bills blocks longer than the minute that is shown")


def _fast(tariff: Tariff) -> Iterator[Problem]:
    """From 50 kW on the price is per kWh, with at most an occupancy fee per minute beside it."""
    session = _session_elements(tariff)
    costs = any(c.price for _, e in session for c in e.components)
    energy = any(c.dimension == "ENERGY" and c.price for _, e in session for c in e.components)
    if costs and not energy:
        yield Problem("elements", "has no price per kWh, which points of 50 kW and more must have")
    for i, element in session:
        for j, component in enumerate(element.components):
            if component.dimension == "FLAT" and component.price:
                place = f"elements[{i}].price_components[{j}]"
                yield Problem(place, "is a fee per session, which points of 50 kW and more may not have")
    limit = tariff.min_price
    if limit is not None and (limit.before_taxes or limit.after_taxes):
        yield Problem("min_price", "works as a fee per session, which points of 50 kW and more may not have")
