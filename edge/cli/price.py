"""`chargetill price`: sessions in, prices out, a line of JSON each."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, BinaryIO, cast

import click
import msgspec

from edge.cli.call import NO, Call, command, encode
from edge.domain.money import from_minor, round_half_up
from edge.domain.plan import Plan, grant_of, load_plan
from edge.domain.pricing import (
    Adjustment,
    Bill,
    ChargingState,
    Exact,
    Interval,
    Invoice,
    Reservation,
    begin,
    compile_tariff,
    extend,
    rational,
    settle,
)
from edge.domain.tariffs import TaxRate, load_tariff
from edge.domain.tariffs.loading import parse
from edge.domain.tariffs.reading import exact_number
from edge.errors import InputError, TillError

#: Digits behind the point of everything that is exact inside.
_PLACES = 10
#: A week of samples a second.
_PERIODS_MAX = 700_000
#: That many periods of 150 bytes.
_LINE_BYTES_MAX = 105_000_000
_STATES = ("Charging", "SuspendedEV", "SuspendedEVSE")
_LINE_FIELDS = frozenset(("id", "tariff", "time_zone", "periods", "reservation", "plan"))
_PERIOD_FIELDS = frozenset(("start", "end", "energy_wh", "state", "current_a", "power_w"))


@click.command()
@click.argument("file", type=click.File("rb"), default="-")
@command
def price(call: Call, file: Any) -> None:
    """Price sessions: NDJSON from FILE (default: standard input), one result a line.

    Exit 1 if a line could not be priced; its error stands in its place.
    """
    failed = False
    for line in _lines(file):
        if not line.strip():
            continue
        identity: object = None
        try:
            session = _session(line)
            identity = session.get("id")
            answer = {"id": _number_or(identity), **_price(session)}
        except TillError as e:
            failed = True
            answer = {"id": _number_or(identity), "error": e.as_json()}
        if not call.line(encode(answer)):
            break  # the lines may have no end
    if failed:
        sys.exit(NO)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Line by line; of one that is too long as much as shows it, and the rest is passed over."""
    while line := file.readline(_LINE_BYTES_MAX + 1):
        yield line
        while len(line) > _LINE_BYTES_MAX and not line.endswith(b"\n"):
            line = file.readline(_LINE_BYTES_MAX + 1)


def _session(line: bytes) -> Mapping[str, Any]:
    try:
        value = parse(line, bytes_max=_LINE_BYTES_MAX)
    except ValueError as e:
        raise InputError(f"the line {e}") from e
    if not isinstance(value, Mapping):
        raise InputError("a line is a JSON object")
    return value


def _price(session: Mapping[str, Any]) -> dict[str, Any]:
    """The answer for one session, without its id. Raises TillError."""
    _known(session, _LINE_FIELDS, "the line")
    document = session.get("tariff")
    if not isinstance(document, Mapping):
        raise InputError("tariff: is required and must be an object")
    periods = session.get("periods")
    if not isinstance(periods, Sequence) or isinstance(periods, str) or len(periods) > _PERIODS_MAX:
        raise InputError(f"periods: is required and must be a list of at most {_PERIODS_MAX}")
    time_zone = session.get("time_zone")
    if not isinstance(time_zone, str):
        raise InputError("time_zone: is required, such as Europe/Berlin")
    tariff = load_tariff(document)
    reservation = _reservation(session.get("reservation"))
    intervals, start = _intervals(periods)
    at = start or (reservation.end if reservation else None)
    plan = None if session.get("plan") is None else load_plan(session["plan"])
    if plan is not None and at is not None and not plan.valid_at(at):
        plan = None
    compiled = compile_tariff(tariff, time_zone=time_zone, plan=plan)
    if at is None:
        at = datetime(2000, 1, 1, tzinfo=UTC)  # nothing happens then
    accrual = begin(compiled, at=at, reservation=reservation, grant=_grant(plan, at, compiled.time_zone))
    for i, interval in enumerate(intervals):
        try:
            accrual = extend(compiled, accrual, interval)
        except TillError as e:
            raise InputError(f"periods[{i}]: {e.message}") from e
    return _answer(settle(compiled, accrual))


def _grant(plan: Plan | None, at: datetime, zone: Any) -> Any:
    return None if plan is None else grant_of(plan, at=at, local_day=at.astimezone(zone).date())


def _intervals(periods: Sequence[Any]) -> tuple[list[Interval], datetime | None]:
    """The periods as intervals, and when the first one starts. Gaps and overlaps are errors."""
    intervals: list[Interval] = []
    first = last = None
    for i, period in enumerate(periods):
        place = f"periods[{i}]"
        if not isinstance(period, Mapping):
            raise InputError(f"{place}: must be an object")
        _known(period, _PERIOD_FIELDS, place)
        begun, end = _instant(period, "start", place), _instant(period, "end", place)
        if last is not None and begun != last:
            kind = "a gap before it" if begun > last else "an overlap with the one before"
            raise InputError(f"{place}.start: there is {kind}")
        if end < begun:
            raise InputError(f"{place}.end: lies before its start")
        state = period.get("state")
        if state not in _STATES:
            raise InputError(f"{place}.state: must be one of {', '.join(_STATES)}")
        current = _amount(period, "current_a", place)
        energy = _amount(period, "energy_wh", place)
        if energy is None:
            raise InputError(f"{place}.energy_wh: is required; unknown energy cannot be priced")
        intervals.append(
            Interval(
                end=end,
                energy_wh=energy,
                state=cast("ChargingState", state),
                current_ma=None if current is None else current * 1000,
                power_w=_amount(period, "power_w", place),
            )
        )
        first, last = first or begun, end
    return intervals, first


def _reservation(value: object) -> Reservation | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise InputError("reservation: must be an object or null")
    _known(value, frozenset(("start", "end", "outcome")), "reservation")
    outcome = value.get("outcome")
    if outcome not in ("Used", "Expired"):
        raise InputError("reservation.outcome: must be Used or Expired")
    begun, end = _instant(value, "start", "reservation"), _instant(value, "end", "reservation")
    if end < begun:
        raise InputError("reservation.end: lies before its start")
    return Reservation(begin=begun, end=end, expired=outcome == "Expired")


def _known(value: Mapping[str, Any], fields: frozenset[str], place: str) -> None:
    for name in value:
        if name not in fields:
            raise InputError(f"{place}: {str(name)[:40]!r} is not a field of it")


def _instant(value: Mapping[str, Any], name: str, place: str) -> datetime:
    text = value.get(name)
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise InputError(f"{place}.{name}: must be a time with offset such as 2026-12-24T18:00:00+01:00")
    return at


def _amount(value: Mapping[str, Any], name: str, place: str) -> int | Fraction | None:
    given = value.get(name)
    if given is None:
        return None
    try:
        amount = Fraction(exact_number(given))
    except ValueError as e:
        raise InputError(f"{place}.{name}: {e}") from e
    return amount.numerator if amount.denominator == 1 else amount


def _answer(bill: Bill) -> dict[str, Any]:
    return {
        "currency": bill.currency,
        "before_taxes": _exact(bill.before_taxes),
        "after_taxes": _exact(bill.after_taxes),
        "lines": [
            {
                "dimension": line.dimension,
                "unit_price": _exact(line.unit_price),
                "quantity": _exact(line.quantity),
                "before_taxes": _exact(line.before_taxes),
                "taxes": [
                    {"name": t.name, "rate": _exact(t.percent), "amount": _exact(t.amount)}
                    for t in line.taxes
                ],
            }
            for line in bill.lines
        ],
        "invoice": _invoice(bill.invoice, bill.currency),
    }


def _invoice(invoice: Invoice, currency: str) -> dict[str, Any]:
    def money(amount_minor: int) -> msgspec.Raw:
        return _exact(from_minor(amount_minor, currency))

    def adjustments(entries: tuple[Adjustment, ...]) -> list[dict[str, Any]]:
        return [
            {"reason": e.reason, "amount": money(e.amount_minor), "taxes": _rates(e.taxes)} for e in entries
        ]

    return {
        "lines": [
            {
                "dimension": line.dimension,
                "unit_price": _exact(line.unit_price),
                "quantity": _exact(line.quantity),
                "before_taxes": money(line.before_taxes_minor),
                "taxes": _rates(line.taxes),
            }
            for line in invoice.lines
        ],
        "taxes": [
            {
                "name": tax.name,
                "rate": _exact(tax.percent),
                "base": money(tax.base_minor),
                "amount": money(tax.amount_minor),
            }
            for tax in invoice.taxes
        ],
        "allowances": adjustments(invoice.allowances),
        "charges": adjustments(invoice.charges),
        "rounding": money(invoice.rounding_minor),
        "total_before_taxes": money(invoice.total_before_taxes_minor),
        "total_after_taxes": money(invoice.total_after_taxes_minor),
        "payable": money(invoice.payable_minor),
    }


def _rates(rates: tuple[TaxRate, ...]) -> list[dict[str, Any]]:
    return [{"name": rate.name, "rate": _exact(rate.percent)} for rate in rates]


def _exact(value: Exact | Decimal) -> msgspec.Raw:
    """A JSON number: half-up to 10 places, without exponent or trailing zeros."""
    number = Fraction(value) if isinstance(value, Decimal) else Fraction(rational(value))
    scaled = round_half_up(number * 10**_PLACES)
    digits = f"{abs(scaled):0{_PLACES + 1}d}"
    text = f"{digits[:-_PLACES]}.{digits[-_PLACES:]}".rstrip("0").rstrip(".")
    return msgspec.Raw(f"-{text}".encode() if scaled < 0 else text.encode())


def _number_or(identity: object) -> object:
    """The id as it was given: a number keeps its digits."""
    return msgspec.Raw(str(identity).encode()) if isinstance(identity, Decimal) else identity
