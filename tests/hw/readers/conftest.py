"""A clock that really ticks, and readers over every virtual field."""

from __future__ import annotations

import asyncio
import inspect
import time
from datetime import UTC, datetime

import pytest

from edge.domain.instant import Instant


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs a coroutine test to its end in a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(pyfuncitem.obj(**arguments))
    return True


class RealClock:
    def now(self) -> Instant:
        return Instant(utc=datetime.now(UTC), boot_id="test", monotonic_ns=time.monotonic_ns())

    def trusted(self) -> bool:
        return True

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@pytest.fixture
def clock() -> RealClock:
    return RealClock()
