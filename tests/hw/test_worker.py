"""One thread for one blocking device: what runs, what waits, what is given up."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from hw.worker import HUNG_OF_ONE_MAX, QUEUE_MAX, DeviceClosed, DeviceHung, Worker, hung_threads


def test_calls_run_one_after_another_on_one_thread_and_give_what_they_return():
    async def story():
        worker = Worker("device")
        names = await asyncio.gather(
            *(worker.call(lambda: threading.current_thread().name, timeout_s=10) for _ in range(5))
        )
        worker.close()
        return names

    assert asyncio.run(story()) == ["device"] * 5


def test_what_a_driver_raises_is_raised_where_the_call_was_made():
    async def story(error: Exception):
        worker = Worker("device")

        def fail():
            raise error

        try:
            await worker.call(fail, timeout_s=10)
        finally:
            worker.close()

    with pytest.raises(OSError, match="gone"):
        asyncio.run(story(OSError("gone")))
    with pytest.raises(TimeoutError, match="the driver's own"):
        asyncio.run(story(TimeoutError("the driver's own")))
    with pytest.raises(RuntimeError, match="generator"):
        asyncio.run(story(StopIteration()))


def test_a_call_that_hangs_is_given_up_and_holds_up_nobody():
    release = threading.Event()

    async def story():
        worker = Worker("device")
        with pytest.raises(DeviceHung, match=r"within 0\.05 s"):
            await worker.call(release.wait, 60, timeout_s=0.05)
        assert not worker.usable
        with pytest.raises(DeviceHung):
            await worker.call(int, timeout_s=10)
        worker.close()

    began_at = time.monotonic()
    asyncio.run(story())
    assert time.monotonic() - began_at < 30
    release.set()


def test_whoever_waits_is_told_at_once_when_the_device_is_closed():
    release = threading.Event()
    finished = threading.Event()

    async def story():
        worker = Worker("device")
        waiting = asyncio.create_task(worker.call(release.wait, 60, timeout_s=60))
        await asyncio.sleep(0.05)
        worker.close(finished.set)
        with pytest.raises(DeviceClosed):
            await waiting
        with pytest.raises(DeviceClosed):
            await worker.call(int, timeout_s=10)
        assert not finished.is_set()

    asyncio.run(story())
    release.set()
    assert finished.wait(30), "the last thing on the thread is to close the device"


def test_the_queue_is_bounded():
    release = threading.Event()

    async def story():
        worker = Worker("device")
        calls = [
            asyncio.create_task(worker.call(release.wait, 60, timeout_s=60)) for _ in range(QUEUE_MAX + 2)
        ]
        done, _ = await asyncio.wait(calls, timeout=5, return_when=asyncio.FIRST_EXCEPTION)
        assert any("calls waiting" in str(call.exception()) for call in done)
        worker.close()
        await asyncio.wait(calls)
        for call in calls:
            call.exception()

    asyncio.run(story())
    release.set()


def test_a_caller_that_is_cancelled_leaves_the_worker_usable():
    async def story():
        worker = Worker("device")
        call = asyncio.create_task(worker.call(time.sleep, 0.2, timeout_s=10))
        await asyncio.sleep(0.05)
        call.cancel()
        await asyncio.wait([call])
        assert await worker.call(lambda: 7, timeout_s=10) == 7
        worker.close()

    asyncio.run(story())


def test_threads_that_hang_are_counted_and_a_device_may_have_only_so_many():
    release = threading.Event()

    async def hang():
        worker = Worker("reader")
        with pytest.raises(DeviceHung):
            await worker.call(release.wait, 60, timeout_s=0.05)
        worker.close()

    async def story():
        for _ in range(HUNG_OF_ONE_MAX):
            await hang()
        assert hung_threads("reader") == hung_threads() == HUNG_OF_ONE_MAX
        with pytest.raises(DeviceHung, match="3 threads hang"):
            Worker("reader")
        Worker("another").close()
        release.set()
        while hung_threads("reader"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        worker = Worker("reader")
        assert await worker.call(int, timeout_s=10) == 0
        worker.close()

    asyncio.run(story())
