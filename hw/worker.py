"""One daemon thread for one blocking device, with a bounded queue and a watchdog.

A thread cannot be interrupted: a call that hangs in a driver would hold up whoever waits for it, and the
end of the process (`asyncio.to_thread` does both). Here the caller stops waiting when its time is over, the
worker is given up, and another one may open the device anew; the thread ends when its call comes back, or with
the process. Threads that were left behind are counted: a device has a few, then it is out of order until one of
them comes back; of a process that has too many nothing good can be expected (`hung_threads`).
"""

from __future__ import annotations

import asyncio
import queue
import threading
import weakref
from collections.abc import Callable
from typing import Final, TypeVar, cast

from edge.errors import HardwareError

T = TypeVar("T")

#: Calls that may wait behind the one that runs. A device has one user; more than this is a mistake of ours.
QUEUE_MAX = 16

#: Threads that may hang in one device's driver. Each was a try to open it anew; a fourth would hang like these.
HUNG_OF_ONE_MAX: Final = 3


class DeviceHung(HardwareError):
    """A call into a driver did not come back in its time; the worker is of no more use."""

    code = "device.hung"
    hint = "unplug the device and plug it in again; one that hangs often wants another cable or supply"


class DeviceClosed(HardwareError):
    """The device was closed while somebody waited for it."""

    code = "device.closed"
    retryable = False


def hung_threads(name: str | None = None) -> int:
    """How many threads hang in drivers now: those of one device, or all."""
    return sum(worker.hangs and name in (None, worker.name) for worker in tuple(_left))


_left: weakref.WeakSet[Worker] = weakref.WeakSet()


class Worker:
    """Runs calls one after another on its own thread. Making one raises DeviceHung where too many hang already.

    `await worker.call(tag.read, 4, timeout_s=1.0)` returns what `tag.read(4)` returned on the thread, or
    raises what it raised.
    """

    def __init__(self, name: str) -> None:
        if hung_threads(name) >= HUNG_OF_ONE_MAX:
            raise DeviceHung(f"{name}: {HUNG_OF_ONE_MAX} threads hang in its driver")
        self.name = name
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(QUEUE_MAX)
        self._waiting: set[asyncio.Future[object]] = set()
        self._closed = False
        self._hung = self._running = False
        threading.Thread(target=self._run, name=name, daemon=True).start()

    @property
    def usable(self) -> bool:
        """False once closed or hung; the device is then opened again with another worker."""
        return not (self._closed or self._hung)

    @property
    def hangs(self) -> bool:
        """True while a call that was given up has not come back."""
        return self._hung and self._running

    async def call(self, do: Callable[..., T], /, *args: object, timeout_s: float) -> T:
        """`do(*args)` on the thread. Raises DeviceHung after `timeout_s`, DeviceClosed once closed.

        A caller that is cancelled stops waiting; the call ends on the thread and its result is dropped.
        """
        if self._closed:
            raise DeviceClosed(f"{self.name} is closed")
        if self._hung:
            raise DeviceHung(f"{self.name} does not answer")
        loop = asyncio.get_running_loop()
        result: asyncio.Future[object] = loop.create_future()

        def job() -> None:
            value, error = _outcome(do, args)
            if not loop.is_closed():
                loop.call_soon_threadsafe(_deliver, result, value, error)

        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            raise DeviceHung(f"{self.name} has {QUEUE_MAX} calls waiting") from None
        self._waiting.add(result)
        try:
            async with asyncio.timeout(timeout_s):
                return cast("T", await result)
        except TimeoutError:
            if result.done() and not result.cancelled():
                raise  # the driver's own
            self._hung = True
            _left.add(self)
            raise DeviceHung(f"{self.name} did not answer within {timeout_s:g} s") from None
        finally:
            self._waiting.discard(result)

    def close(self, finish: Callable[[], None] | None = None) -> None:
        """Let nobody wait any longer. `finish` runs last on the thread, to close the device there."""
        if self._closed:
            return
        self._closed = True
        for result in self._waiting:
            if not result.done():
                result.set_exception(DeviceClosed(f"{self.name} is closed"))
        try:
            while True:
                self._jobs.get_nowait()
        except queue.Empty:
            pass
        if finish is not None:
            self._jobs.put_nowait(finish)
        self._jobs.put_nowait(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._running = True
            job()
            self._running = False


def _outcome(do: Callable[..., object], args: tuple[object, ...]) -> tuple[object, BaseException | None]:
    try:
        return do(*args), None
    except StopIteration as e:  # a future refuses it
        return None, RuntimeError(f"a driver's generator ended: {e}")
    except BaseException as e:  # noqa: BLE001 - it is raised again where the call was made
        return None, e


def _deliver(result: asyncio.Future[object], value: object, error: BaseException | None) -> None:
    if result.done():
        return
    if error is None:
        result.set_result(value)
    else:
        result.set_exception(error)
