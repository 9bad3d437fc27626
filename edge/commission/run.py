"""The test itself, with the till's own drivers: card, car, energy, and the end of a permission that nobody renews."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

from edge.commission.facts import Charged, Sample
from edge.commission.judge import judge
from edge.config import Driver, EvseConfig
from edge.doctor.finding import Finding, fail, ok
from edge.domain.energy import MeterIdentity, MeterValue
from edge.errors import HardwareError
from edge.ports import Clock, Evse, EvseStatus, Meter
from hw import registry
from hw.bus.pool import BusPool

#: A person walks to the car, opens its flap and plugs it in.
_PERSON_S: Final = 180.0
#: From permission to power: a car takes its time to wake up.
_START_S: Final = 90.0
#: 100 Wh at the 1.4 kW of 6 A on one phase take 260 s.
_CHARGE_S: Final = 900.0
#: The contactor is open when less than this flows; a charger's own supply is behind it in some meters.
_NOTHING_W: Final = 60
#: Above the lease, for the contactor, the meter's averaging and the poll.
_LAPSE_SLACK_S: Final = 8.0
_LEASE_MAX_S: Final = 60.0

Tell = Callable[[str], None]


@runtime_checkable
class Counts(Protocol):
    """A charge point with a counter of its own."""

    async def energy_wh(self) -> int: ...


async def tap(reader: Driver, clock: Clock, tell: Tell) -> Finding:
    """A test card at a reader. Its number is not kept."""
    name = f"reader {reader.name}"
    device = registry.create_reader(reader.name, reader.options, clock=clock)
    tell("hold a test card to the reader")
    try:
        async with asyncio.timeout(_PERSON_S):
            found = await anext(device.taps())
    except TimeoutError:
        return fail(
            name, "no card was seen", "hold it flat on the reader; `chargetill doctor` checks the reader"
        )
    except HardwareError as e:
        return fail(name, e.message, e.hint)
    finally:
        with contextlib.suppress(HardwareError):
            await device.close()
    speaks = "answers commands" if found.card is not None else "tells only its number"
    return ok(name, f"a card of {len(found.uid)} bytes was read; it {speaks}")


async def charge(evse: EvseConfig, clock: Clock, tell: Tell, *, wanted_wh: int) -> Charged:
    """One EVSE, from its contactor being open to its contactor being open. Whatever happens, it is opened last."""
    buses = BusPool(clock)
    meter = registry.create_meter(evse.meter.name, evse.meter.options, clock=clock, buses=buses)
    point = registry.create_evse(evse.charge_point.name, evse.charge_point.options, clock=clock, buses=buses)
    test = _Test(evse, meter, point, clock, tell, wanted_wh)
    try:
        return await test.run()
    finally:
        with contextlib.suppress(HardwareError):
            await point.revoke()
        with contextlib.suppress(HardwareError):
            await point.close()
        await buses.close()


class _Failed(HardwareError):
    """The test cannot go on."""

    code = "commission.failed"


class _Test:
    """One EVSE. Every step that fails ends the test with a finding."""

    def __init__(
        self, evse: EvseConfig, meter: Meter, point: Evse, clock: Clock, tell: Tell, wanted_wh: int
    ) -> None:
        self._evse, self._meter, self._point = evse, meter, point
        self._clock, self._tell, self._wanted_wh = clock, tell, wanted_wh
        self._current_a = evse.section.max_current_a
        self._nothing_w = _NOTHING_W + evse.section.own_power_w
        self._samples: list[Sample] = []
        self._began_ns = clock.now().monotonic_ns
        self._findings: list[Finding] = []
        self._identity: MeterIdentity | None = None
        self._own_wh: int | None = None

    async def run(self) -> Charged:
        try:
            await self._measured()
        except _Failed as e:
            self._findings.append(fail(e.message, "the test ended here", e.hint))
        except HardwareError as e:
            self._findings.append(fail("devices", e.message, e.hint))
        section = self._evse.section
        return Charged(
            evse_id=section.id,
            label=section.label,
            meter=str(getattr(self._evse.meter.options, "profile", self._evse.meter.name)),
            charge_point=self._evse.charge_point.name,
            lease=self._point.lease,
            permitted_a=self._current_a,
            identity=self._identity,
            samples=tuple(self._samples),
            own_wh=self._own_wh,
            findings=tuple(self._findings),
        )

    async def _measured(self) -> None:
        self._identity = await self._meter.identify()
        await self._point.prepare()
        before = await self._own()
        await self._open_at_first()
        self._tell("plug the car in")
        await self._until(lambda s: s.pilot in {"B", "C", "D"}, _PERSON_S, "no car was plugged in")
        await self._point.permit(current_a=self._current_a)
        await self._until(
            lambda s: s.contactor_closed is not False, _START_S, "the contactor does not close", renew=True
        )
        self._tell(f"charging {self._wanted_wh} Wh")
        await self._charge()
        after = await self._own()
        if before is not None and after is not None:
            self._own_wh = after - before
        self._findings += judge(
            self._samples, permitted_a=self._current_a, own_wh=self._own_wh, wanted_wh=self._wanted_wh
        )
        self._findings.append(await self._lapsed())
        await self._point.revoke()
        await self._until(lambda s: s.contactor_closed is not True, _START_S, "the contactor does not open")
        self._findings.append(ok("contactor", "closed when permitted, open when not"))

    async def _own(self) -> int | None:
        return await self._point.energy_wh() if isinstance(self._point, Counts) else None

    async def _open_at_first(self) -> None:
        status = await self._point.status()
        value = await self._meter.read()
        if status.contactor_closed or (value.power_w or 0) > self._nothing_w:
            raise _Failed(
                "power flows before anything was permitted", hint="a welded contactor, or another load"
            )

    async def _until(
        self, done: Callable[[EvseStatus], bool], within_s: float, otherwise: str, *, renew: bool = False
    ) -> None:
        ends = self._clock.now()
        while True:
            if done(await self._point.status()):
                return
            if self._clock.now().seconds_since(ends) > within_s:
                raise _Failed(otherwise, hint="see the charge point's display, and `chargetill doctor`")
            if renew:
                await self._point.permit(current_a=self._current_a)
            await self._clock.sleep(1)

    async def _charge(self) -> None:
        """Read every second, renewing the permission, until enough has flowed."""
        began = self._clock.now()
        while True:
            value = await self._meter.read()
            self._samples.append(self._sample(value))
            flowed = self._samples[-1].energy_wh - self._samples[0].energy_wh
            waited_s = self._clock.now().seconds_since(began)
            if flowed >= self._wanted_wh or waited_s > _CHARGE_S or (flowed == 0 and waited_s > _START_S):
                return
            await self._point.permit(current_a=self._current_a)
            await self._clock.sleep(1)

    def _sample(self, value: MeterValue) -> Sample:
        if not self._samples:
            self._began_ns = value.at.monotonic_ns
        return Sample(
            at_s=round((value.at.monotonic_ns - self._began_ns) / 1e9, 3),
            energy_wh=value.energy_wh,
            resolution_wh=value.resolution_wh,
            power_w=value.power_w,
            current_ma=value.current_ma,
            voltage_mv=value.voltage_mv,
        )

    async def _lapsed(self) -> Finding:
        """Say nothing to the charge point any more: power has to stop by itself. Only the meter is asked."""
        what = f"failsafe ({self._point.lease})"
        lease_s = float(getattr(self._evse.charge_point.options, "lease_s", 0) or 0)
        guard = getattr(self._evse.charge_point.options, "guard", None)
        lease_s = max(lease_s, float(getattr(guard, "lease_s", 0) or 0)) or _LEASE_MAX_S
        self._tell(f"falling silent: the contactor has to open by itself within {lease_s:g} s")
        began = self._clock.now()
        while (waited_s := self._clock.now().seconds_since(began)) <= lease_s + _LAPSE_SLACK_S:
            value = await self._meter.read()
            if value.power_w is None:
                return fail(
                    what, "the meter tells no power", "pull the plug of this computer, and watch the car"
                )
            if value.power_w <= self._nothing_w:
                return ok(
                    what, f"power stopped {waited_s:.0f} s after the last word, the lease is {lease_s:g} s"
                )
            await self._clock.sleep(1)
        return fail(
            what,
            f"still charging {waited_s:.0f} s after the last word",
            "do not use it: set the failsafe current to 0 A and the watchdog of the charge point",
        )
