"""The till's own payment machine over the real line: a whole session with each answer lost, and both books agree."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
from pathlib import Path

import pytest

from edge.domain.identity import IdToken
from edge.domain.ledger.checks import Checker
from edge.domain.session import events as ev
from edge.payments.acquirer.link import AcquirerLink
from edge.payments.acquirer.payment import AcquirerPayment
from edge.runtime.journal import StoredPayments
from edge.store.reading import Reading
from hw.virtual.acquirer import VirtualAcquirer
from hw.virtual.acquirer_host import Fault

from .conftest import card, options

TOKEN = IdToken(kind="card", value="c" * 64, key_id="k")


def rig_module():
    """A controller between devices of tests/runtime, for this room's own use."""
    path = Path(__file__).parents[2] / "runtime" / "test_controller.py"
    spec = importlib.util.spec_from_file_location("tests_acquirer_rig", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Sold:
    """A rig that sells to bank cards at `acquirer`."""

    def __init__(self, folder, acquirer):
        module = rig_module()
        world, sale = module.World, module.Sale
        payments = {}
        module.World = lambda **parts: world(**(parts | {"payments": payments}))
        module.Sale = lambda **parts: sale(**parts, methods=lambda: frozenset({"card"}))
        self.rig = module.Rig(folder)
        self.folder = folder
        conf = options(port=acquirer.port, answer_s=1.0, echo_s=0.3, retry_s=0.5, retry_max_s=2, ready_s=20)
        self.link = AcquirerLink(conf, clock=self.rig.clock)
        journal = StoredPayments(self.rig.store, self.rig.clock)
        self.pay = AcquirerPayment(self.link, journal, options=conf, clock=self.rig.clock)
        payments["card"] = self.pay

    async def tap(self):
        self.pay.offer(TOKEN.value, card())
        await self.rig.controller.post(
            ev.CardTapped(
                at=self.rig.clock.now(), token=TOKEN, member=None, method="card", session_id="0" * 32,
                payment_ref="0" * 16, salt=b"s", stop_code="1234",
            )
        )  # fmt: skip

    def problems(self):
        self.rig.store.close()
        checker = Checker()
        with Reading(self.folder / "t.db") as db:
            for entry in db.entries():
                checker.add(entry)
        return checker.report().problems


def sell(folder, *faults, story):
    async def whole():
        async with await VirtualAcquirer.start() as acquirer:
            acquirer.host.script(*faults)
            sold = Sold(folder, acquirer)
            sold.rig.task = asyncio.create_task(sold.rig.controller.run())
            serving = asyncio.create_task(sold.link.serve())
            try:
                assert await sold.link.ready(30)
                await sold.rig.until(sold.rig.shows("idle"), "not ready")
                await story(sold, acquirer)
            finally:
                for task in (sold.rig.task, serving):
                    task.cancel()
                    with contextlib.suppress(BaseException):
                        await task
            return sold.problems(), acquirer.host.books

    return asyncio.run(whole())


async def charge(sold, acquirer):
    del acquirer
    rig = sold.rig
    rig.evse.pilot = "C"
    await sold.tap()
    await rig.until(lambda: rig.evse.closed, "the contactor does not close")
    await rig.clock.sleep(80)
    await rig.controller.request_stop("remote")
    await rig.until(lambda: rig.controller.state.session is None, "not over")
    await rig.until(lambda: not rig.controller.state.unsettled, "not settled")


@pytest.mark.parametrize(
    "faults",
    [
        (),
        (Fault("silent", on="0220"), Fault("lost_request", on="0220")),
        (Fault("decline", on="0220", code="91"), Fault("garbage", on="0220")),
    ],
)
def test_a_session_is_paid_whatever_happens_to_its_capture(tmp_path, faults):
    problems, books = sell(tmp_path, *faults, story=charge)
    (hold,) = books.holds()
    assert hold.state == "captured"
    assert 0 < hold.captured_minor <= 5000
    assert problems == ()


@pytest.mark.parametrize("kind", ["silent", "lost_reply", "lost_request"])
def test_a_reservation_whose_answer_is_lost_gives_no_energy_and_holds_nothing(tmp_path, kind):
    async def story(sold, acquirer):
        rig = sold.rig
        await sold.tap()
        await rig.until(lambda: not acquirer.host.waiting, "nothing was asked")
        await rig.until(lambda: rig.controller.state.session is None, "not over")
        await rig.until(lambda: not rig.controller.state.unsettled, "not settled")
        assert acquirer.host.books.open == ()
        assert rig.evse.permits == 0

    problems, books = sell(tmp_path, Fault(kind), story=story)
    assert books.captured_minor == 0
    assert problems == ()
