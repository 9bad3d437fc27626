"""The engine against a slow oracle that knows nothing of bands or runs: it looks at every quarter of an hour."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.domain.pricing import (
    Accrual,
    Bill,
    History,
    Interval,
    begin,
    compile_tariff,
    extend,
    extend_all,
    payable_minor,
    rational,
    remaining,
    settle,
)
from edge.domain.tariffs import (
    PriceComponent,
    PriceLimit,
    Restrictions,
    Tariff,
    TariffElement,
    TaxRate,
)

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC")
DIMENSIONS = ("ENERGY", "TIME", "PARKING_TIME", "FLAT")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SLOW_IS_FINE = (HealthCheck.too_slow, HealthCheck.data_too_large)


def seconds(at: datetime) -> Fraction:
    return Fraction((at - EPOCH) // timedelta(microseconds=1), 1_000_000)


def matches(
    r: Restrictions, *, at: Fraction, begun: Fraction, energy, charged, idled, power, current, zone
) -> bool:
    local = (EPOCH + timedelta(microseconds=int(at * 1_000_000))).astimezone(ZoneInfo(zone))
    minute = local.hour * 60 + local.minute
    if r.start_minute is not None or r.end_minute is not None:
        low = r.start_minute or 0
        high = 1440 if r.end_minute is None else r.end_minute
        inside = low <= minute < high if high > low else not high <= minute < low
        if not inside:
            return False
    if r.weekdays and local.weekday() not in r.weekdays:
        return False
    if r.start_date and local.date() < r.start_date:
        return False
    if r.end_date and local.date() >= r.end_date:
        return False
    for least, most, value in (
        (r.min_energy_wh, r.max_energy_wh, energy),
        (r.min_duration_s, r.max_duration_s, at - begun),
        (r.min_charging_s, r.max_charging_s, charged),
        (r.min_idle_s, r.max_idle_s, idled),
        (r.min_power_w, r.max_power_w, power),
        (r.min_current_a, r.max_current_a, None if current is None else Fraction(current) / 1000),
    ):
        if least is not None and (value is None or value < Fraction(least)):
            return False
        if most is not None and (value is None or value >= Fraction(most)):
            return False
    return True


def pieces(tariff: Tariff, start: datetime, intervals: list[Interval]):
    """Elementary stretches: (middle, length, energy, energy at the middle, charged, idled, interval)."""
    begun = seconds(start)
    at, energy, charged, idled = begun, Fraction(0), Fraction(0), Fraction(0)
    rules = [e.restrictions for e in tariff.elements]
    for interval in intervals:
        end, gained = seconds(interval.end), Fraction(interval.energy_wh)
        length = end - at
        shares = {Fraction(0), Fraction(1)}
        limits_ahead = [(r.min_duration_s, begun - at) for r in rules] + [
            (r.max_duration_s, begun - at) for r in rules
        ]
        limits_ahead += [(limit, -charged) for r in rules for limit in (r.min_charging_s, r.max_charging_s)]
        limits_ahead += [(limit, -idled) for r in rules for limit in (r.min_idle_s, r.max_idle_s)]
        if length:
            first = -(-at // 900) * 900
            shares |= {(first + 900 * k - at) / length for k in range(int(length // 900) + 1)}
            shares |= {(limit + offset) / length for limit, offset in limits_ahead if limit is not None}
        if gained:
            energies = [
                limit for r in rules for limit in (r.min_energy_wh, r.max_energy_wh) if limit is not None
            ]
            shares |= {(Fraction(limit) - energy) / gained for limit in energies}
        inside = sorted(s for s in shares if 0 <= s <= 1)
        for low, high in itertools.pairwise(inside):
            middle, part = (low + high) / 2, high - low
            if not length and not gained:
                continue
            yield (
                at + length * middle,
                length * part,
                gained * part,
                energy + gained * middle,
                charged + (length * middle if interval.state == "Charging" else 0),
                idled + (length * middle if interval.state == "SuspendedEV" else 0),
                interval,
            )
        at, energy = end, energy + gained
        charged += length if interval.state == "Charging" else 0
        idled += length if interval.state == "SuspendedEV" else 0


def oracle(tariff: Tariff, zone: str, start: datetime, intervals: list[Interval]):
    """{(dimension, price, taxes): quantity in Wh, s or 1}, and exact net and gross."""
    begun = seconds(start)
    used: dict[str, dict[PriceComponent, Fraction]] = {d: {} for d in DIMENSIONS}
    last: dict[str, PriceComponent] = {}
    for at, length, energy, energy_at, charged, idled, interval in pieces(tariff, start, intervals):
        for dimension in DIMENSIONS:
            quantity = {
                "ENERGY": energy,
                "TIME": length if interval.state == "Charging" else Fraction(0),
                "PARKING_TIME": length if interval.state == "SuspendedEV" else Fraction(0),
                "FLAT": Fraction(0 if used["FLAT"] else 1),
            }[dimension]
            for element in tariff.elements:
                component = next((c for c in element.components if c.dimension == dimension), None)
                if component is None or not matches(
                    element.restrictions,
                    at=at,
                    begun=begun,
                    energy=energy_at,
                    charged=charged,
                    idled=idled,
                    power=interval.power_w,
                    current=interval.current_ma,
                    zone=zone,
                ):
                    continue
                if quantity:
                    used[dimension][component] = used[dimension].get(component, Fraction(0)) + quantity
                    last[dimension] = component
                break
    for dimension in ("ENERGY", "PARKING_TIME" if used["PARKING_TIME"] else "TIME"):
        if used[dimension] and last[dimension].step:
            total = sum(used[dimension].values())
            used[dimension][last[dimension]] += -total % last[dimension].step
    lines: dict[tuple, Fraction] = {}
    net = gross = Fraction(0)
    for dimension in DIMENSIONS:
        unit = {"ENERGY": 1000, "FLAT": 1}.get(dimension, 3600)
        for component, quantity in used[dimension].items():
            key = (dimension, component.price, component.taxes)
            lines[key] = lines.get(key, Fraction(0)) + quantity
            amount = Fraction(component.price) * quantity / unit
            factor = 1 + sum((Fraction(t.percent) / 100 for t in component.taxes), Fraction(0))
            net += amount / factor if tariff.tax_included == "YES" else amount
            gross += amount if tariff.tax_included == "YES" else amount * factor
    return lines, net, gross


quarters = st.integers(0, 95).map(lambda q: q * 15)
prices = st.sampled_from([Decimal(p) for p in ("0", "0.29", "0.49", "1.2", "2.40", "0.0333")])
taxes = st.sampled_from(
    [(), (TaxRate(name="VAT", percent=Decimal(19)),), (TaxRate(name="VAT", percent=Decimal(7)),)]
)


@st.composite
def restrictions(draw) -> Restrictions:
    given_ = {}
    kinds = draw(
        st.sets(
            st.sampled_from(
                ["time", "day", "date", "kwh", "power", "current", "duration", "charging", "idle"]
            ),
            max_size=2,
        )
    )
    if "time" in kinds:
        low, high = draw(quarters), draw(quarters)
        if low != high:
            given_ |= {"start_minute": low, "end_minute": high or 1440}
    if "day" in kinds:
        given_["weekdays"] = tuple(sorted(draw(st.sets(st.integers(0, 6), min_size=1, max_size=5))))
    if "date" in kinds:
        day = date(2026, draw(st.sampled_from([3, 10])), draw(st.integers(24, 31)))
        given_[draw(st.sampled_from(["start_date", "end_date"]))] = day
    limits = {
        "kwh": ("min_energy_wh", "max_energy_wh", st.integers(0, 12000).map(Decimal)),
        "power": ("min_power_w", "max_power_w", st.sampled_from([Decimal(4000), Decimal(11000)])),
        "current": ("min_current_a", "max_current_a", st.sampled_from([Decimal(16), Decimal(32)])),
        "duration": ("min_duration_s", "max_duration_s", st.integers(0, 20000)),
        "charging": ("min_charging_s", "max_charging_s", st.integers(0, 9000)),
        "idle": ("min_idle_s", "max_idle_s", st.integers(0, 9000)),
    }
    for kind, (low_name, high_name, values) in limits.items():
        if kind in kinds:
            side = draw(st.sampled_from([(low_name,), (high_name,), (low_name, high_name)]))
            given_ |= {name: draw(values) for name in side}
    return Restrictions(**given_)


@st.composite
def tariffs(draw) -> Tariff:
    elements = []
    for _ in range(draw(st.integers(1, 5))):
        dimensions = draw(st.sets(st.sampled_from(DIMENSIONS), min_size=1, max_size=3))
        components = tuple(
            PriceComponent(
                dimension=d,
                price=draw(prices),
                taxes=draw(taxes),
                step=0 if d == "FLAT" else draw(st.sampled_from([0, 0, 1, 300, 900])),
            )
            for d in DIMENSIONS
            if d in dimensions
        )
        elements.append(TariffElement(components=components, restrictions=draw(restrictions())))
    return Tariff(
        id="t",
        currency="EUR",
        elements=tuple(elements),
        dialect="OCPI 2.3.0",
        tax_included=draw(st.sampled_from(["YES", "NO"])),
    )


@st.composite
def sessions(draw):
    """Around both nights of 2026 on which Berlin's and New York's clocks change, and anywhere in the year."""
    nights = [
        datetime(2026, 3, 28, 20),
        datetime(2026, 10, 24, 20),
        datetime(2026, 3, 8, 3),
        datetime(2026, 4, 4, 12),
    ]
    quarter = st.integers(0, 365 * 96 - 1).map(lambda q: datetime(2026, 1, 1) + timedelta(minutes=15 * q))
    evening = draw(st.one_of(st.sampled_from(nights), quarter))
    start = evening.replace(tzinfo=UTC) + timedelta(seconds=draw(st.integers(0, 6 * 3600)))
    intervals, at = [], start
    for _ in range(draw(st.integers(1, 6))):
        at += timedelta(
            seconds=draw(st.sampled_from([0, 1, 59, 900, 2711, 7200])),
            microseconds=draw(st.sampled_from([0, 0, 250_000])),
        )
        state = draw(st.sampled_from(["Charging", "Charging", "SuspendedEV", "SuspendedEVSE"]))
        energy = draw(st.integers(0, 9000)) if state == "Charging" else 0
        intervals.append(
            Interval(
                end=at,
                energy_wh=energy,
                state=state,
                power_w=draw(st.sampled_from([None, 0, 3999, 4000, 11000, 22000])),
                current_ma=draw(st.sampled_from([None, 15999, 16000, 48000])),
            )
        )
    return start, intervals


def accrue(compiled, start: datetime, intervals: list[Interval]) -> Accrual:
    accrual = begin(compiled, at=start)
    for interval in intervals:
        accrual = extend(compiled, accrual, interval)
    return accrual


def lines_of(bill: Bill) -> dict[tuple, Fraction]:
    return {
        (line.dimension, line.unit_price, tuple((t.name, t.percent) for t in line.taxes)): Fraction(
            rational(line.quantity)
        )
        for line in bill.lines
    }


@settings(max_examples=150, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(tariffs(), sessions(), st.sampled_from(ZONES))
def test_equals_pointwise_evaluation(tariff, session, zone):
    start, intervals = session
    bill = settle(c := compile_tariff(tariff, time_zone=zone), accrue(c, start, intervals))
    lines, net, gross = oracle(tariff, zone, start, intervals)
    assert lines_of(bill) == {
        (d, p, tuple((t.name, t.percent) for t in x)): q for (d, p, x), q in lines.items() if q
    }
    assert (rational(bill.before_taxes), rational(bill.after_taxes)) == (net, gross)


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(tariffs(), sessions(), st.sampled_from(ZONES), st.integers(2, 5))
def test_slicing_an_interval_changes_nothing(tariff, session, zone, n):
    start, intervals = session
    compiled = compile_tariff(tariff, time_zone=zone)
    sliced, at = [], start
    for interval in intervals:
        span_us = (interval.end - at) // timedelta(microseconds=1)
        cuts = [span_us * k // n for k in range(1, n)] + [span_us]
        before = 0
        for cut in cuts:
            share = Fraction(cut - before, span_us) if span_us else Fraction(1, n)
            sliced.append(
                msgspec.structs.replace(
                    interval, end=at + timedelta(microseconds=cut), energy_wh=interval.energy_wh * share
                )
            )
            before = cut
        at = interval.end
    whole, parts = accrue(compiled, start, intervals), accrue(compiled, start, sliced)
    assert settle(compiled, whole) == settle(compiled, parts)


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(tariffs(), sessions())
def test_priced_and_unpriced_quantities_are_what_was_measured(tariff, session):
    start, intervals = session
    exact_steps = tuple(
        msgspec.structs.replace(e, components=tuple(msgspec.structs.replace(c, step=0) for c in e.components))
        for e in tariff.elements
    )
    free = tuple(
        TariffElement(components=(PriceComponent(dimension=d, price=Decimal("0.0001")),)) for d in DIMENSIONS
    )
    tariff = msgspec.structs.replace(tariff, elements=exact_steps + free)
    compiled = compile_tariff(tariff, time_zone="Europe/Berlin")
    bill = settle(compiled, accrue(compiled, start, intervals))
    total = dict.fromkeys(DIMENSIONS, Fraction(0))
    for line in bill.lines:
        total[line.dimension] += rational(line.quantity)
    measured = dict.fromkeys(DIMENSIONS, Fraction(0))
    at = start
    for interval in intervals:
        measured["ENERGY"] += interval.energy_wh
        span = Fraction((interval.end - at) // timedelta(microseconds=1), 1_000_000)
        measured["TIME"] += span if interval.state == "Charging" else 0
        measured["PARKING_TIME"] += span if interval.state == "SuspendedEV" else 0
        at = interval.end
    measured["FLAT"] = Fraction(1 if measured["ENERGY"] or at > start else 0)
    assert total == measured
    assert sum(rational(p.energy_wh) for p in bill.periods) == measured["ENERGY"]
    assert sum(rational(p.charging_s) for p in bill.periods) == measured["TIME"]
    assert sum(rational(p.parking_s) for p in bill.periods) == measured["PARKING_TIME"]


limits = st.one_of(st.none(), st.tuples(st.integers(0, 900), st.one_of(st.none(), st.integers(0, 300))))


@settings(max_examples=120, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(tariffs(), sessions(), limits, limits)
def test_the_invoice_closes_and_keeps_the_limits(tariff, session, low, high):
    def limit(given_) -> PriceLimit | None:
        if given_ is None:
            return None
        before, more = given_
        after = None if more is None else Decimal(before + more) / 100
        return PriceLimit(before_taxes=Decimal(before) / 100, after_taxes=after)

    start, intervals = session
    tariff = msgspec.structs.replace(tariff, min_price=limit(low), max_price=limit(high))
    compiled = compile_tariff(tariff, time_zone="Europe/Berlin")
    accrual = accrue(compiled, start, intervals)
    bill = settle(compiled, accrual)
    invoice = bill.invoice
    assert payable_minor(compiled, accrual) == invoice.payable_minor
    before = sum(line.before_taxes_minor for line in invoice.lines)
    before += sum(c.amount_minor for c in invoice.charges) - sum(a.amount_minor for a in invoice.allowances)
    assert before == invoice.total_before_taxes_minor
    assert before + sum(t.amount_minor for t in invoice.taxes) == invoice.total_after_taxes_minor
    assert invoice.total_after_taxes_minor + invoice.rounding_minor == invoice.payable_minor
    assert abs(invoice.rounding_minor) <= len(invoice.lines) + len(invoice.taxes)
    assert min((invoice.payable_minor, *(a.amount_minor for a in invoice.allowances + invoice.charges))) >= 0
    if high is not None and low is None:
        assert invoice.total_before_taxes_minor <= high[0]
        assert high[1] is None or invoice.payable_minor <= sum(high)
    if low is not None and high is None and bill.begin < bill.end:
        assert invoice.total_before_taxes_minor >= low[0]
        assert low[1] is None or invoice.payable_minor >= sum(low)
    for tax in invoice.taxes:
        on_category = sum(line.before_taxes_minor for line in invoice.lines if line.taxes == tax.category)
        on_category += sum(c.amount_minor for c in invoice.charges if c.taxes == tax.category)
        on_category -= sum(a.amount_minor for a in invoice.allowances if a.taxes == tax.category)
        assert tax.base_minor == on_category
        assert abs(tax.amount_minor - tax.base_minor * Fraction(tax.percent) / 100) <= Fraction(1, 2)
    _, net, gross = oracle(tariff, "Europe/Berlin", start, intervals)
    if tariff.max_price and tariff.max_price.before_taxes is not None:
        assert rational(bill.before_taxes) <= Fraction(tariff.max_price.before_taxes)
    if tariff.max_price and tariff.max_price.after_taxes is not None:
        assert rational(bill.after_taxes) <= Fraction(tariff.max_price.after_taxes)
    if low is None and high is None:
        assert (rational(bill.before_taxes), rational(bill.after_taxes)) == (net, gross)


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(tariffs(), sessions(), st.integers(0, 6))
def test_an_accrual_goes_through_json_at_any_moment(tariff, session, at):
    start, intervals = session
    compiled = compile_tariff(tariff, time_zone="Europe/Berlin")
    accrual = accrue(compiled, start, intervals[:at])
    stored = msgspec.json.decode(msgspec.json.encode(accrual), type=Accrual)
    assert stored == accrual
    for interval in intervals[at:]:
        accrual, stored = extend(compiled, accrual, interval), extend(compiled, stored, interval)
    bill = settle(compiled, stored)
    assert bill == settle(compiled, accrual)
    assert msgspec.json.decode(msgspec.json.encode(bill), type=Bill) == bill


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(tariffs(), sessions(), st.sampled_from(ZONES))
def test_many_intervals_at_once_are_the_same_as_one_by_one(tariff, session, zone):
    start, intervals = session
    compiled = compile_tariff(tariff, time_zone=zone)
    history = History(
        end_us=tuple((i.end - EPOCH) // timedelta(microseconds=1) for i in intervals),
        register_wh=tuple(itertools.accumulate(i.energy_wh for i in intervals)),
        state=tuple(i.state for i in intervals),
        power_w=tuple(i.power_w for i in intervals),
        current_ma=tuple(i.current_ma for i in intervals),
    )
    together = extend_all(compiled, begin(compiled, at=start), history)
    assert settle(compiled, together) == settle(compiled, accrue(compiled, start, intervals))


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(tariffs(), sessions(), st.integers(0, 3000), st.sampled_from([3700, 11000, 22000]))
def test_remaining_is_tight(tariff, session, amount_minor, power_w):
    start, intervals = session
    compiled = compile_tariff(tariff, time_zone="Europe/Berlin")
    accrual = accrue(compiled, start, intervals)
    left = remaining(compiled, accrual, amount_minor=amount_minor, power_w=power_w)

    def price_after(us: Fraction) -> int:
        later = Interval(
            end=accrual.ended_at + timedelta(microseconds=int(us)),
            energy_wh=Fraction(power_w) * us / 3_600_000_000,
            power_w=power_w,
        )
        return payable_minor(compiled, extend(compiled, accrual, later))

    if payable_minor(compiled, accrual) > amount_minor:
        assert (left.energy_wh, left.seconds) == (0, 0)
    elif left.seconds is None:
        assert left.energy_wh is None
        assert price_after(Fraction(8 * 86_400_000_000)) <= amount_minor
    else:
        one_wh = Fraction(3_600_000_000, power_w)
        assert price_after(left.energy_wh * one_wh) <= amount_minor or left.energy_wh == 0
        assert price_after((left.energy_wh + 1) * one_wh) > amount_minor
        assert price_after(left.seconds * 1_000_000) <= amount_minor or left.seconds == 0
        assert price_after((left.seconds + 1) * 1_000_000) > amount_minor
