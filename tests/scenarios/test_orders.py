"""What the back office orders, all the way to the driver: the whole daemon, a real broker, the real receiver."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sqlite3
import urllib.request

from edge.backoffice.export import export
from edge.backoffice.orders import Orders, orders_key
from edge.cli.demo.stage import DEVICE, EVSE, SITE
from edge.domain.identity import uid_token
from edge.sync.contract.orders import (
    BlockEvse,
    Configure,
    Credit,
    Erase,
    ListedMember,
    PublishTariff,
    RemoteStart,
    RemoteStop,
    SendLogs,
    UnblockEvse,
)
from edge.sync.contract.topics import peer
from hw.virtual.world import CARDS

ME = peer(SITE, DEVICE)


class Office:
    """The back office's own hand on its books, and what the driver sees of it."""

    def __init__(self, show) -> None:
        self.show, self.stage = show, show.stage
        self.orders = Orders(self.stage.backoffice_database, orders_key(self.stage.backoffice_database))

    async def again(self, *, without_lists: bool = False) -> None:
        await self.stage.till.stop()
        if without_lists:
            (self.stage.folder / "till.lists.db").unlink()
        environment = {"CHARGETILL_BOOT_ID": "boot-1", **self.stage.world.environment}
        await self.stage.till.start(until="till.ready", environment=environment)

    async def command(self, body, **how):
        return await self.answered(self.orders.command(ME, body, **how))

    async def answered(self, version: int):
        await self.show.until(lambda: self.orders.reply(ME, version) is not None, "no answer")
        return self.orders.reply(ME, version)

    async def view(self) -> dict:
        def get() -> dict:
            with urllib.request.urlopen(f"{self.stage.screen}state", timeout=20) as answer:
                return json.load(answer)["panels"][0]["view"]

        return await asyncio.to_thread(get)

    async def seen(self, true, what) -> dict:
        """Wait until the screen, once it is there, shows what is meant."""
        view: dict = {}
        for _ in range(600):
            with contextlib.suppress(OSError):
                view = await self.view()
            if view and true(view):
                return view
            await asyncio.sleep(0.1)
        raise AssertionError((what, view))

    async def shows(self, **wanted) -> dict:
        return await self.seen(lambda v: all(v.get(n) == value for n, value in wanted.items()), wanted)

    async def costs(self, amount: str) -> None:
        await self.seen(lambda view: amount in json.dumps(view["price"]), amount)

    def table(self, name) -> list[dict]:
        """What the back office has booked."""
        return [json.loads(line) for line in export(self.stage.backoffice_database, name, "ndjson")]

    def list(self, card: str, *, site: str = SITE, **fields) -> None:
        key = bytes.fromhex((self.stage.folder / "operator.key").read_text().strip())
        token = uid_token(CARDS[card], key=key, key_id="demo").value
        self.orders.put_members(site, [ListedMember(token=token, limit_minor=2000, **fields)])
        self.orders.publish_members(site)

    async def forgotten(self, card: str, call) -> None:
        """Erase a card here and at the till, which confirms it; nothing names it any more, and all books verify."""
        key = bytes.fromhex((self.stage.folder / "operator.key").read_text().strip())
        token = uid_token(CARDS[card], key=key, key_id="demo").value
        books = ("--db", self.stage.backoffice_database)
        done = await asyncio.to_thread(
            call, "backoffice", "erase", "--token", token, "--wait-s", "60", "--json", *books
        )
        assert done.code == 0, done.out + done.err
        (told,) = json.loads(done.out)["devices"]
        assert (told["ok"], told["result"]["sessions"], told["result"]["members"]) == (True, 1, 1)
        self.orders.close()
        await self.stage.till.stop()
        await self.stage.backoffice.stop()
        left = [f for f in self.stage.folder.glob("*.db*") if token.encode() in f.read_bytes()]
        assert left == []
        for verify in (("ledger", "verify", "--db", self.stage.database), ("backoffice", "verify", *books)):
            verified = await asyncio.to_thread(call, *verify)
            assert verified.code == 0, verified.out

    async def listed(self, where: str) -> None:
        """Wait until the till's list says so."""

        def there() -> bool:
            db = sqlite3.connect(f"file:{self.stage.folder / 'till.lists.db'}?mode=ro", uri=True)
            try:
                return bool(db.execute(f"SELECT 1 FROM {where}").fetchone())
            except sqlite3.Error:
                return False
            finally:
                db.close()

        await self.show.until(there, f"the list has no {where}")


def priced(price: float) -> str:
    return json.dumps(
        {
            "country_code": "DE",
            "party_id": "CHT",
            "id": f"T-{price}",
            "currency": "EUR",
            "elements": [
                {"price_components": [{"type": "ENERGY", "price": price, "vat": 19, "step_size": 1}]}
            ],
            "last_updated": "2026-01-01T00:00:00Z",
        }
    )


def test_a_published_price_and_a_listed_card_count_at_once_until_the_card_is_erased(
    show, agree, call
) -> None:
    async def story() -> None:
        async with show(speed=20) as it:
            office = Office(it)
            await it.ready()
            office.list("stranger", account="A-77")
            office.orders.publish(SITE, PublishTariff(document=priced(1.23)))
            await office.costs("1.46")  # 1.23 and 19 % VAT
            await office.listed("member")
            await it.stage.proxy.cut()
            await office.again()
            await office.costs("1.46")
            await it.session("stranger", gained_wh=60)
            await it.do(unplug=True)
            await it.stage.proxy.open()
            office.list("stranger", account="A-77", blocked=True)
            found = await it.settle()
            agree(found)
            (row,) = office.table("sessions")
            assert (row["account"], row["method"]) == ("A-77", "account")
            assert row["payable_minor"] > 0
            await office.listed("change WHERE blocked")
            await it.do(plug="car that takes 11 kW")  # it wants to charge, not to see its receipt
            await it.ready()
            await it.do(tap="stranger")
            await it.do(tap="card A")
            await office.shows(kind="charging")
            await it.do(unplug=True)
            await it.settle()
            assert [row["account"] for row in office.table("sessions")] == ["A-77", "A-1001"]
            await office.forgotten("stranger", call)

    asyncio.run(story())


def test_a_session_is_started_stopped_and_settled_from_afar(show, agree) -> None:
    async def story() -> None:
        async with show(speed=20) as it:
            office = Office(it)
            await it.ready()
            await it.do(plug="car that takes 11 kW")
            version, permission = office.orders.start(
                ME, evse_id=EVSE, account="A-9", limit_minor=900, currency="EUR", good_for_s=31_536_000
            )
            started = (await office.answered(version)).result
            await it.charging(gained_wh=60)
            assert (await office.command(RemoteStop(session_id="another"))).error.code == "order.session"
            again, _ = office.orders.start(
                ME, evse_id=EVSE, account="A-9", limit_minor=900, currency="EUR", good_for_s=31_536_000
            )
            assert (await office.answered(again)).error.code == "order.not_started"
            assert (await office.command(RemoteStop(session_id=started["session_id"]))).ok
            await it.settle()
            same = RemoteStart(
                evse_id=EVSE, account="A-9", limit_minor=900, currency="EUR", authorization_id=permission
            )
            assert (await office.command(same, good_for_s=31_536_000)).result == started
            agree(await it.settle())
            assert [row["stop_reason"] for row in office.table("sessions")] == ["remote"]
            (row,) = office.table("settlements")
            assert (row["authorization_id"], row["account"]) == (permission, "A-9")
            assert row["captured_minor"] > 0
            assert row["invoice_number"]

    asyncio.run(story())


def test_an_evse_that_the_operator_blocks_stays_blocked_until_it_is_told_otherwise(show, agree) -> None:
    async def story() -> None:
        async with show(speed=20) as it:
            office = Office(it)
            await it.session("card A", gained_wh=60)
            assert (await office.command(BlockEvse(evse_id="E9", reason="x"))).error.code == "order.evse"
            assert (await office.command(BlockEvse(evse_id=EVSE, reason="works", stop_session=True))).ok
            await it.settle()
            assert [row["stop_reason"] for row in office.table("sessions")] == ["remote"]
            await it.do(unplug=True)
            await office.again(without_lists=True)
            await office.shows(kind="out_of_order", reason="blocked_by_operator")
            refused = await office.command(Configure(values={"session.stale_s": 1}))
            assert refused.error.code == "order.setting"
            done = await office.command(Configure(values={"tariff.hold_minor": 1234}))
            assert done.result["hold_minor"] == 1234
            lines = (await office.command(SendLogs(lines=5))).result["lines"]
            assert len(lines) == 5
            assert any(re.search(r"order\.done|evse\.", line) for line in lines)
            assert (await office.command(UnblockEvse(evse_id=EVSE))).ok
            await office.shows(kind="idle")
            assert (await office.command(Credit(invoice_number="nonsense", reason="x"))).error is not None
            agree(await it.settle())

    asyncio.run(story())


def test_a_card_of_another_site_charges_by_leave_of_the_back_office(show, agree) -> None:
    async def story() -> None:
        async with show(speed=20) as it:
            office = Office(it)
            await it.ready()
            await it.do(tap="stranger")
            await it.until(lambda: office.table("payments"), "nobody was asked")
            await it.settle()
            assert [(row["status"], row["reason"]) for row in office.table("payments")] == [
                ("declined", "card_unknown")
            ]
            office.list("stranger", site="elsewhere", account="A-55")
            await it.session("stranger", gained_wh=60)
            await it.do(unplug=True)
            agree(await it.settle())
            (row,) = office.table("settlements")
            assert row["account"] == "A-55"
            assert row["captured_minor"] > 0
            assert row["authorization_id"]
            told = (await office.command(Erase(account="A-55"))).result
            assert (told["sessions"], told["open_sessions"]) == (1, 0), (
                "the till knows whom it was granted to"
            )

    asyncio.run(story())
