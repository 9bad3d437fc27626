"""The one task that talks to an EVSE's meter: polls it, judges each reading, confirms begin and end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from edge import log
from edge.domain.energy import MeterIdentity, MeterValue
from edge.domain.instant import Instant
from edge.domain.session import events as ev
from edge.domain.session.effects import ReadBegin, ReadEnd
from edge.domain.session.state import Measured
from edge.errors import HardwareError
from edge.metering import reading
from edge.metering.reading import Sample
from edge.ports import Clock, Meter
from edge.runtime.calls import CALL_MAX_S, LONG_CALL_MAX_S, Calls
from edge.runtime.signing import Signing

Post = Callable[[ev.Event], Awaitable[None]]

#: Tries for a confirmed begin or end reading; each is two reads, so a meter that answers at all passes.
_CONFIRM_TRIES = 5

#: An end reading is worth waiting for: after a power cut a meter takes its time to start.
_END_MAX_S = 60

#: After a start nothing is known that a reading could be compared with: so many, so far apart, have to fit each other.
_FIRST_READINGS = reading.SUSPECTS_AGREE
_FIRST_GAP_S = 1

#: A meter that is read in one way only has no sure reading until nothing was asked for so long.
_REST_S = reading.LATE_MAX_S

#: A meter that can be read in several ways mostly has a sure reading within this, without a rest.
_ASKED_S = 8

#: Until a bad line gives readings that are sure, with a rest; a session waits longer (Rules, `prepare_timeout_s`).
_SURE_MAX_S = _ASKED_S + _REST_S + 5

#: A meter that was given up is looked at anew after this. What it was given up for shows again, if it lasts, before
#: much is lost: the next session begins at a register of its own.
_HALT_S = 300


class MeterUnsure(HardwareError):
    """Every reading may be an earlier one's that comes late."""

    code = "meter.unsure"
    hint = "the line loses too many replies: check wires, termination and what else talks on it"


class MeterNameless(HardwareError):
    """It may be another one: nothing is sold until it says who it is."""

    code = "meter.nameless"
    hint = "wait until the meter has started; after it was replaced, restart the till"


class MeterWatch:
    """Runs until cancelled. `want` asks for a confirmed reading; it comes as an event.

    `signing` is there for a meter that signs; `open_session` tells the session that it may be signing, or None;
    `awaited` what a session that waits to go on after a restart has measured, or None.
    """

    def __init__(
        self,
        meter: Meter,
        *,
        signing: Signing | None,
        open_session: Callable[[], str | None],
        awaited: Callable[[], Measured | None],
        clock: Clock,
        poll_s: float,
        post: Post,
        name: str,
    ) -> None:
        self.calls = Calls(f"{name} meter")
        self._meter = meter
        self._signing = signing
        self._open_session = open_session
        self._awaited = awaited
        self._clock = clock
        self._poll_s = poll_s
        self._post = post
        self._name = name
        self._state: reading.State | None = None
        self._whose: MeterIdentity | None = None  # the meter that the state is about
        self._identity: MeterIdentity | None = None
        self._wanted: ReadBegin | ReadEnd | None = None
        self._failing: str | None = None
        self._halted: Instant | None = None

    def want(self, wanted: ReadBegin | ReadEnd) -> None:
        """Confirm this next; it comes as an event."""
        self._wanted = wanted

    async def run(self) -> None:
        """Poll for ever. A failure is an event in the meter's state, never a value."""
        while True:
            wanted, self._wanted = self._wanted, None
            match wanted:
                case ReadBegin():
                    await self._begin(wanted)
                case ReadEnd():
                    await self._end(wanted)
                case _:
                    await self._poll()
            if self._wanted is None:
                await self._clock.sleep(self._poll_s)

    async def _poll(self) -> None:
        try:
            if self._identity is None:
                await self._recover_signing()
                await self._identify()
            value = await self._read()
        except HardwareError as e:
            await self._failed(e)
            return
        self._recovered()
        if self._state is None:
            self._state = await self._first(value)
            return
        self._state, verdict = reading.judge(self._state, _sample(value))
        match verdict:
            case reading.Accepted(energy_wh=energy_wh) | reading.Held(energy_wh=energy_wh):
                await self._post(
                    ev.MeterAccepted(at=self._clock.now(), value=replace(value, energy_wh=energy_wh))
                )
            case reading.Halted(reason=reason):
                await self._halt(reason)
            case reading.Suspect(reason=reason):
                log.event("meter.suspect", evse_id=self._name, reason=reason)
            case reading.Stale(age_s=age_s):
                log.event("meter.stale", evse_id=self._name, age_s=round(age_s))

    async def _first(self, value: MeterValue) -> reading.State | None:
        """The first readings after a start have to fit each other. While a session waits to go on, one before its own
        is none: a meter that starts itself may show anything for some seconds.
        """
        if not value.sure:
            await self._clock.sleep(_REST_S)
            return None
        awaited = self._awaited()
        if awaited is not None and value.energy_wh < awaited.last_wh:
            return None
        for _ in range(_FIRST_READINGS - 1):
            await self._clock.sleep(_FIRST_GAP_S)
            try:
                again = await self._read()
            except HardwareError as e:
                await self._failed(e)
                return None
            sample = reading.confirm(self._meter.limits, _sample(value), _sample(again))
            if sample is None:
                return None
            value = replace(again, energy_wh=sample.energy_wh)
        self._whose = self._identity
        await self._post(ev.MeterAccepted(at=self._clock.now(), value=value))
        return reading.begin(self._meter.limits, _sample(value))

    async def _identify(self) -> None:
        self._identity = await self._who()
        await self._post(ev.MeterIdentified(at=self._clock.now(), identity=self._identity))

    async def _recover_signing(self) -> None:
        if self._signing is not None and not await self.calls.within(
            LONG_CALL_MAX_S, self._signing.recover(self._open_session())
        ):
            await self._post(ev.SigningEnded(at=self._clock.now()))

    async def _begin(self, wanted: ReadBegin) -> None:
        reason = "meter_silent" if self._halted is None else "meter_halted"
        for _ in range(_CONFIRM_TRIES if self._halted is None else 0):
            try:
                identity = await self._who()
                if self._signing is not None:
                    signing = self._signing.begin(wanted.session_id, wanted.tariff_text)
                    await self.calls.within(LONG_CALL_MAX_S, signing)
                first, second = await self._confirmed()
            except MeterUnsure as e:
                await self._failed(e)
                reason = "meter_unsteady"
                break
            except HardwareError as e:
                await self._failed(e)
                await self._clock.sleep(self._poll_s)
                continue
            sample = self._begun(identity, _sample(first), _sample(second))
            if sample is None:
                reason = "meter_unsteady"
                await self._clock.sleep(self._poll_s)
                continue
            self._recovered()
            self._identity = self._whose = identity
            self._state = reading.begin(self._meter.limits, sample)
            value = replace(second, energy_wh=sample.energy_wh)
            await self._post(ev.BeginRead(at=self._clock.now(), value=value, identity=identity))
            return
        await self._post(ev.ReadFailed(at=self._clock.now(), reason=reason))

    def _begun(self, identity: MeterIdentity, first: Sample, second: Sample) -> Sample | None:
        """The begin reading: two that agree, and with what this meter has shown until now, where it was watched."""
        if self._state is None or identity != self._whose:
            return reading.confirm(self._meter.limits, first, second)
        return reading.again(self._state, first, second)

    async def _end(self, wanted: ReadEnd) -> None:
        began, tries = self._clock.now(), 0
        unsigned: ev.EndRead | None = None
        while self._halted is None and (
            tries < _CONFIRM_TRIES or self._clock.now().seconds_since(began) < _END_MAX_S
        ):
            if tries:
                await self._clock.sleep(self._poll_s)
            tries += 1
            try:
                identity = await self._who()
                first, second = await self._confirmed()
            except MeterUnsure as e:
                await self._failed(e)
                break
            except HardwareError as e:
                await self._failed(e)
                continue
            self._recovered()
            if self._state is None:
                confirmed = reading.confirm(self._meter.limits, _sample(first), _sample(second))
                if confirmed is None:
                    continue
                self._state = reading.begin(self._meter.limits, confirmed)
            energy_wh, estimated = reading.end(self._state, _sample(first), _sample(second))
            if not estimated:
                value = replace(second, energy_wh=energy_wh)
                unsigned = ev.EndRead(at=self._clock.now(), value=value, identity=identity)
                try:
                    signed_wh = None
                    if self._signing is not None:
                        ending = self._signing.end(wanted.session_id, wanted.tariff_text)
                        signed_wh = await self.calls.within(LONG_CALL_MAX_S, ending)
                except HardwareError as e:
                    await self._failed(e)
                    continue
                await self._post(replace(unsigned, at=self._clock.now(), signed_wh=signed_wh))
                return
            if tries >= _CONFIRM_TRIES:
                break
        at = self._clock.now()
        if unsigned is not None:
            await self._post(replace(unsigned, at=at))
        else:
            await self._post(ev.EndRead(at=at, value=None, identity=None))

    async def _confirmed(self) -> tuple[MeterValue, MeterValue]:
        """Two readings for a begin or an end: replies to their own requests, both of them. Raises HardwareError."""
        began = self._clock.now()
        first: MeterValue | None = None
        rested = False
        while True:
            value = await self._read()
            if value.sure and first is not None:
                return first, value
            waited_s = self._clock.now().seconds_since(began)
            if value.sure:
                first = value
            elif waited_s >= _SURE_MAX_S:
                raise MeterUnsure(f"{self._name}: no reading within {_SURE_MAX_S} s is sure to be new")
            elif waited_s >= _ASKED_S and not rested:
                rested = True
                await self._clock.sleep(_REST_S)
            else:
                await self._clock.sleep(self._poll_s)

    async def _read(self) -> MeterValue:
        return await self.calls.within(CALL_MAX_S, self._meter.read())

    async def _who(self) -> MeterIdentity:
        """Who answers. A meter that starts itself may not know its serial number yet: that is no other meter."""
        identity = await self.calls.within(CALL_MAX_S, self._meter.identify())
        awaited = self._awaited()
        known = self._whose if awaited is None else awaited.identity
        if identity.serial is None and known is not None and known.serial is not None:
            raise MeterNameless(f"{self._name}: the meter does not tell its serial number, as it did before")
        return identity

    async def _failed(self, error: HardwareError) -> None:
        self._identity = None  # whoever answers next has to say who it is
        if self._failing != error.code:
            log.event("meter.failed", evse_id=self._name, error=str(error))
        self._failing = error.code
        if self._state is None:
            return
        failed = reading.Failed(at_ns=self._clock.now().monotonic_ns)
        self._state, verdict = reading.judge(self._state, failed)
        if isinstance(verdict, reading.Halted):
            await self._halt(verdict.reason)

    async def _halt(self, reason: str) -> None:
        now = self._clock.now()
        if self._halted is None:
            self._halted = now
            await self._post(ev.MeterHaltedNow(at=now, reason=reason))
        elif now.seconds_since(self._halted) >= _HALT_S:
            self._state = self._halted = None

    def _recovered(self) -> None:
        if self._failing is not None:
            log.event("meter.recovered", evse_id=self._name)
        self._failing = None


def _sample(value: MeterValue) -> Sample:
    return Sample(
        at_ns=value.at.monotonic_ns,
        energy_wh=value.energy_wh,
        resolution_wh=value.resolution_wh,
        power_w=value.power_w if value.flow_sure else None,
        sure=value.sure,
    )
