"""A charger goes out of service: the whole daemon, a broker that is away at first, a power cut, and the back office."""

from __future__ import annotations

import asyncio
import contextlib
import json

from edge.backoffice.export import export
from edge.store.outstanding import outstanding


def test_a_till_goes_when_all_is_settled_and_acknowledged_and_its_keys_last(show, call) -> None:
    async def story() -> None:
        async with show(speed=100) as it:
            stage = it.stage
            folder, keys = (
                stage.folder / "handover",
                [stage.folder / n for n in ("ledger.key", "operator.key")],
            )

            async def decommission(*options, within_s=60):
                config = ("--config", stage.folder / "config.toml")
                order = ("decommission", folder, "--within", str(within_s), "--json", *options)
                return await asyncio.to_thread(call, *config, *order)

            def owed():
                return outstanding(stage.database)

            await it.session("card A")
            await stage.proxy.cut()
            (running,) = owed().sessions
            refused = await decommission(within_s=0)
            assert (refused.code, refused.error["code"]) == (3, "decommission.sessions_open")
            assert running in refused.error["message"]
            await it.charging()  # nothing was ended
            await decommission("--stop-sessions", within_s=0)
            await it.until(lambda: not owed().sessions, "the session was not ended")
            refused = await decommission("--destroy-keys", within_s=0)
            assert (refused.code, refused.error["code"]) == (3, "decommission.not_acknowledged")
            assert (owed().closed, folder.exists(), all(k.exists() for k in keys)) == (None, False, True)
            await it.do(unplug=True)
            await it.ready()  # it sells on

            waiting = asyncio.ensure_future(decommission())
            await it.shows(rb'"reason": ?"decommissioned"')
            await it.do(tap="card B")
            await stage.cut_power()
            assert (await waiting).code == 3
            assert (owed().closed, owed().sessions) == (None, ())
            await stage.restore_power()
            await stage.proxy.open()
            done = await decommission("--destroy-keys")
            assert done.code == 0, done.err
            said = json.loads(done.out)
            assert (said["acknowledged"], said["problems"]) == (True, [])
            assert not any(k.exists() for k in keys)
            await it.shows(rb'"reason": ?"decommissioned"')
            with contextlib.suppress(TimeoutError):
                await it.do(tap="card A")

            checked = await asyncio.to_thread(
                call,
                "ledger",
                "verify",
                "--file",
                folder / "ledger.ndjson",
                "--public-key",
                folder / "public.key",
            )
            assert checked.code == 0, checked.out
            assert json.loads(checked.out)["invoices"] == 1
            handed = set((folder / "ledger.ndjson").read_bytes().splitlines())
            assert any(b"device.decommissioned" in line for line in handed)

            def booked():
                return {line.rstrip(b"\n") for line in export(stage.backoffice_database, "entries", "ndjson")}

            await it.until(lambda: handed <= booked(), "the back office lacks what was handed over")
            assert owed().sessions == ()

    asyncio.run(story())
