"""A payment terminal in the whole charger: every hold ends once, whatever the terminal does (I2)."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys


def command(show, *words, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "edge", "--json", "--config", str(show.stage.folder / "config.toml"), *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout or done.stderr)


def test_what_goes_wrong_at_the_terminal_costs_neither_driver_nor_seller(show, agree):
    async def main():
        async with show() as it:
            holds = it.world.terminal.books.holds

            # nobody plugs in; the terminal reboots while the hold is given back
            await it.do(terminal="reboots in a reversal")
            await it.ready()
            await it.do(tap="bank card")
            await it.until(lambda: holds and not it.world.terminal.books.open, "the hold is not given back")

            # the answer to the capture is lost
            await it.do(terminal="loses the reply to a capture")
            await it.session("phone wallet")
            await it.do(unplug=True)
            await it.until(
                lambda: len(holds) == 2 and not it.world.terminal.books.open, "nothing is captured"
            )

            # the terminal declines the capture at first
            await it.do(terminal="declines a capture")
            await it.session("bank card")
            await it.do(tap="bank card")
            await it.do(unplug=True)
            return await it.settle(), [hold.state for hold in holds.values()]

    found, states = asyncio.run(main())
    agree(found)
    assert states == ["reversed", "captured", "captured"]
    assert [i["paid"].method for i in found["till"]["invoices"]] == ["terminal", "terminal"]
    assert [s["outcome"] for s in found["till"]["sessions"]] == ["no_plug", "invoiced", "invoiced"]


def test_without_the_terminal_members_charge_and_its_orphans_wait_for_the_operator(show, agree):
    async def main():
        async with show() as it:
            terminal = it.world.terminal
            await it.ready()
            receipt = terminal.books.reserve(5_000, "Visa").receipt_no  # a hold that no journal knows
            await terminal.switch_off()
            await it.session("card A")
            await it.do(unplug=True)
            await terminal.switch_on()

            def listed():
                return command(it, "terminal", "list")[0]["orphans"]

            for _ in range(100):
                if await asyncio.to_thread(listed) == [receipt]:
                    break
            refused = await asyncio.to_thread(command, it, "terminal", "release", "4711", code=1)
            looked = await asyncio.to_thread(command, it, "doctor", code=1)
            await it.session("bank card")
            await it.do(unplug=True)
            await it.until(lambda: terminal.books.open == (receipt,), "the driver's own hold stays open")
            told = await asyncio.to_thread(command, it, "terminal", "release", str(receipt))
            return await it.settle(), terminal.books.holds[receipt].state, refused, told, looked

    found, state, refused, told, looked = asyncio.run(main())
    agree(found)
    assert refused["error"]["code"] == "call.not_found"
    assert told["result"] == "released"
    (named,) = [check for check in looked["checks"] if check["what"] == "payment terminal 0"]
    assert "no payment explains" in named["found"]
    assert "terminal release" in named["todo"]
    assert state == "reversed"
    assert [s["outcome"] for s in found["till"]["sessions"]] == ["invoiced", "invoiced"]
