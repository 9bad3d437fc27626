"""What goes wrong around a running session, with real processes: nothing is lost, nothing is billed twice."""

from __future__ import annotations

import asyncio
import resource
import signal
import sqlite3


def run(work):
    return asyncio.run(work)


def kinds(stage):
    db = sqlite3.connect(f"file:{stage.database}?mode=ro", uri=True)
    try:
        return [
            t.removeprefix("chargetill.").removesuffix(".v1")
            for (t,) in db.execute("SELECT type FROM entry ORDER BY id")
        ]
    finally:
        db.close()


def test_a_full_disk_opens_the_contactor_says_so_and_loses_nothing(show, agree):
    async def story():
        async with show(tariff="0.49/kWh, 0.35/session, VAT 19 %") as it:
            await it.session("card A", gained_wh=200)
            # no file of the daemon may grow any more, as on a full disk
            resource.prlimit(it.pid(), resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
            await it.do(unplug=True)
            await it.until(lambda: not it.world.outlet.closed, "the contactor stays closed")
            await it.shows(b"store_failed")
            assert it.stage.till.running
            said = "".join(it.stage.till._lines)
            assert "Traceback" not in said
            assert "store." in said
            resource.prlimit(
                it.pid(), resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            )
            found = await it.settle()
            agree(found)
            assert (len(found["till"]["sessions"]), len(found["till"]["invoices"])) == (1, 1)
            await it.ready()

    run(story())


def test_killed_and_stopped_in_mid_charge_it_bills_what_the_meter_says(show, agree):
    async def story():
        async with show() as it:
            await it.session("card A", gained_wh=150)
            await it.stage.till.kill()
            await it.stage.restart()
            await it.charging(gained_wh=150)
            await it.stage.till.stop()
            assert not it.world.outlet.closed
            await it.stage.restart()
            await it.charging(gained_wh=150)
            await it.do(tap="stranger")
            await it.do(unplug=True)
            found = await it.settle()
            agree(found)
            (session,) = found["till"]["sessions"]
            assert (session["stop_reason"], session["estimated"]) == ("unplugged", 0)
            assert kinds(it.stage).count("session.resumed") == 2
            assert kinds(it.stage).count("device.stopped") == 1

    run(story())


def test_a_meter_that_falls_silent_for_good_ends_the_session_and_may_come_back(show, agree):
    async def story():
        async with show() as it:
            await it.session("card A", gained_wh=200)
            it.world.silence_meter(silent=True)
            await it.until(lambda: not it.world.outlet.closed, "the contactor stays closed without a meter")
            await it.until(lambda: "invoice.sealed" in kinds(it.stage), "the session does not end")
            it.world.silence_meter(silent=False)
            await it.do(unplug=True)
            found = await it.settle()
            (invoice,) = found["till"]["invoices"]
            assert invoice["estimated"]
            assert invoice["ended_by"] == "meter_silent"
            assert invoice["energy_wh"] <= found["meter"]["delivered_wh"]
            assert found["till"]["ledger"].problems == ()
            await it.session("card B")
            await it.do(unplug=True)
            assert len((await it.settle())["till"]["invoices"]) == 2

    run(story())


def test_another_meter_or_a_wallbox_that_dies_in_mid_session_end_it(show, agree):
    async def story():
        async with show() as it:
            await it.session("card A", gained_wh=200)
            it.world.wallbox.silent = True
            await it.until(lambda: "session.stopping" in kinds(it.stage), "the session goes on")
            it.world.wallbox.silent = False
            await it.until(lambda: "invoice.sealed" in kinds(it.stage), "no invoice")
            await it.do(unplug=True)
            found = await it.settle()
            assert found["till"]["sessions"][0]["stop_reason"] == "evse_fault"
            agree(found)
            await it.session("card B", gained_wh=200)
            it.world.silence_meter(silent=True)
            it.world.meter.serial_number = 999
            await it.until(lambda: not it.world.outlet.closed, "the contactor stays closed")
            it.world.meter.offset_wh += 10_000
            it.world.silence_meter(silent=False)
            await it.until(lambda: kinds(it.stage).count("invoice.sealed") == 2, "no invoice")
            await it.do(unplug=True)
            found = await it.settle()
            second = found["till"]["sessions"][1]
            assert (second["stop_reason"], second["estimated"]) == ("meter_halted", 1)
            assert second["energy_wh"] < 5_000
            assert found["till"]["ledger"].problems == ()

    run(story())


def test_a_daemon_that_hangs_loses_its_permission(show, agree):
    """SIGSTOP: no code of ours runs any more. The lease of the charge point ends the flow (I1)."""

    async def story():
        async with show() as it:
            await it.session("card A", gained_wh=100)
            it.stage.till._process.send_signal(signal.SIGSTOP)
            await it.stage.clock.sleep(130)
            it.world.wallbox.tick()
            assert it.world.outlet.power_w() == 0
            it.stage.till._process.send_signal(signal.SIGCONT)
            await it.charging(gained_wh=100)
            await it.do(unplug=True)
            agree(await it.settle())

    run(story())
