import asyncio

import pytest

from hw.bus.handover import Handover


def test_the_task_goes_on_within_the_callback_that_brings_the_result():
    order = []

    async def scenario():
        loop = asyncio.get_running_loop()
        coming = Handover(loop)

        def bring():
            coming.set("reply")
            order.append("callback over")

        loop.call_soon(bring)
        order.append(await coming)

    asyncio.run(scenario())
    assert order == ["reply", "callback over"]


def test_what_is_there_already_is_not_waited_for():
    async def scenario():
        coming = Handover(asyncio.get_running_loop())
        coming.set(1)
        return await coming

    assert asyncio.run(scenario()) == 1


def test_an_error_is_raised_where_it_was_waited_for():
    async def scenario():
        loop = asyncio.get_running_loop()
        coming = Handover(loop)
        loop.call_soon(coming.fail, TimeoutError())
        with pytest.raises(TimeoutError):
            await coming

    asyncio.run(scenario())


def test_another_task_may_cancel_the_waiting_one_and_what_comes_later_is_not_its_own():
    async def scenario():
        coming = Handover(asyncio.get_running_loop())

        async def wait():
            return await coming

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        waiting.cancel("enough")
        assert coming.done()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return waiting.cancelled()

    assert asyncio.run(scenario())


def test_a_timeout_ends_the_wait():
    async def scenario():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await Handover(asyncio.get_running_loop())

    asyncio.run(scenario())
