"""The till's end of the guard: a contactor that a separate process keeps closed, for one lease at a time."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Annotated

import msgspec
from msgspec import Meta

from hw.evse.errors import EvseError, EvseNotSafe, StaysClosed

ANSWER_S = 2.0  # the guard does nothing but answer; a loaded Pi needs a fraction of it to start one
SETTLE_S = 0.2  # a contactor moves within 50 ms, its auxiliary contact with it
Pin = Annotated[str, Meta(pattern=r"^(gpio|gpio-low):[A-Za-z0-9_]+$|^file:/.+$", max_length=255)]


class GuardFailed(EvseError):
    """The guard process is not there or does not answer: it has opened the contactor."""

    code = "evse.guard_failed"
    hint = "check the relay's pin and that gpiozero and lgpio are installed (the extra `gpio`)"


class GuardOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A normally open contactor. `relay` and `feedback` (its auxiliary contact) are pins: `gpio:17`."""

    relay: Pin
    feedback: Pin | None = None
    lease_s: Annotated[float, Meta(ge=0.5, le=60)] = 5.0


class ContactorState(msgspec.Struct, frozen=True):
    """What the guard commands, and what the auxiliary contact says; None without one."""

    relay: bool
    feedback: bool | None

    @property
    def closed(self) -> bool:
        """As far as it can be told."""
        return self.relay if self.feedback is None else self.feedback

    @property
    def welded(self) -> bool:
        return bool(self.feedback) and not self.relay


class Contactor:
    """Starts the guard when it is first needed, and again when it has died."""

    def __init__(self, options: GuardOptions) -> None:
        self._options = options
        self._guard: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def prepare(self) -> None:
        """Open, and see it open. Raises EvseError: a contactor that stays closed is welded."""
        await self.open()

    async def keep(self) -> ContactorState:
        """Closed for another lease. Raises EvseError when the auxiliary contact says otherwise."""
        return await self._checked(b"K", closed=True)

    async def open(self) -> ContactorState:
        """Open now. Raises EvseError when the auxiliary contact says otherwise."""
        return await self._checked(b"O", closed=False)

    async def state(self) -> ContactorState:
        """A contactor that seems to stay closed is given the time that it takes to move."""
        state = await self._say(b"?")
        if not state.welded:
            return state
        await asyncio.sleep(SETTLE_S)
        return await self._say(b"?")

    async def close(self) -> None:
        """End the guard, which opens the contactor first."""
        guard, self._guard = self._guard, None
        if guard is None or guard.stdin is None:
            return
        guard.stdin.close()
        try:
            async with asyncio.timeout(ANSWER_S):
                await guard.wait()
        except TimeoutError:
            await self._kill(guard)

    async def _checked(self, command: bytes, *, closed: bool) -> ContactorState:
        state = await self._say(command)
        if state.feedback is not None and state.feedback != closed:
            await asyncio.sleep(SETTLE_S)
            state = await self._say(b"?")
        if state.relay != closed:
            raise EvseNotSafe(f"the relay is {'open' if closed else 'closed'} against its command")
        if state.welded:
            raise StaysClosed("the contactor stays closed: it is welded")
        if state.feedback is not None and state.feedback != closed:
            hint = "do not use this charge point; call service"
            raise EvseNotSafe("the contactor does not close: check its coil and supply", hint=hint)
        return state

    async def _say(self, command: bytes) -> ContactorState:
        async with self._turn:
            guard = await self._running()
            assert guard.stdin is not None
            assert guard.stdout is not None
            try:
                async with asyncio.timeout(ANSWER_S):
                    guard.stdin.write(command)
                    await guard.stdin.drain()
                    answer = await guard.stdout.readline()
            except (TimeoutError, OSError) as e:
                await self._kill(guard)
                raise GuardFailed("the guard of the contactor does not answer") from e
            except asyncio.CancelledError:
                await self._kill(guard)  # its answer would be taken for the next one's
                raise
            if not answer.endswith(b"\n"):
                await self._kill(guard)
                raise GuardFailed("the guard of the contactor has ended")
            relay, feedback = answer.decode("ascii").split()
            return ContactorState(relay == "1", None if feedback == "-" else feedback == "1")

    async def _running(self) -> asyncio.subprocess.Process:
        if self._guard is None or self._guard.returncode is not None:
            options = self._options
            command = [sys.executable, "-m", "hw.evse.guard", "--relay", options.relay]
            if options.feedback is not None:
                command += ["--feedback", options.feedback]
            command += ["--lease", str(options.lease_s)]
            self._guard = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        return self._guard

    async def _kill(self, guard: asyncio.subprocess.Process) -> None:
        self._guard = None
        with contextlib.suppress(ProcessLookupError):
            guard.kill()
        with contextlib.suppress(TimeoutError):  # a pin's driver may hold it in the kernel, for ever
            async with asyncio.timeout(ANSWER_S):
                await guard.wait()
