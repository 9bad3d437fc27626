"""Whatever is lost, and wherever the till dies: what the acquirer holds and booked is what the answers said (I2).

The till here is the least that there can be: it commits what it wants before it asks, asks again after a doubt and
after a restart, and commits the answer. Messages are real, time is virtual.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from edge.domain.payment import Authorized, Captured, Declined, Expired, InDoubt, Reversed
from edge.errors import HardwareError
from hw.virtual.acquirer_host import Fault

from .conftest import Bomb, Crash, World, card

HOLD = 5000
ANSWERS_MAX = 50
KINDS = ("lost_request", "lost_reply", "silent", "ignored", "late_reply", "late_request", "duplicate_reply",
         "decline", "partial", "garbage", "expire")  # fmt: skip
TYPES = ("0100", "0220", "0420")


class Till:
    """Durable intents, and the answers that ended them."""

    def __init__(self, world):
        self.world = world
        self.doing: dict[str, tuple[str, int]] = {}
        self.held: dict[str, int] = {}
        self.ends: dict[str, object] = {}

    async def pay(self, ref, *, extend_to=None, total_minor):
        """One payment from the tap to its end, however often the till dies meanwhile."""
        self.doing[ref] = ("preauthorize", HOLD)
        self.world.journal.begin(ref, HOLD)
        self.world.pay.offer(ref, card())
        plan = [("extend", extend_to)] if extend_to else []
        plan.append(("capture", total_minor) if total_minor else ("reverse", 0))
        await self.go_on(ref, plan)

    async def go_on(self, ref, plan):
        """Ask and commit until the payment has ended."""
        for _ in range(ANSWERS_MAX):
            if ref in self.ends:
                return
            answer = await self._until_answered(ref)
            self._commit(ref, answer, plan)
            self.world.bomb.step()
        raise AssertionError(f"{ref} goes round in circles")

    async def _until_answered(self, ref):
        for _ in range(60):
            try:
                answer = await self._ask(ref)
            except HardwareError:
                answer = None
            if answer is not None and not isinstance(answer, InDoubt):
                return answer
            if not self.world.host._faults:
                self.world.line.reachable = True
            await self.world.time.sleep(5)
        raise AssertionError(f"{ref} has no end")

    async def _ask(self, ref):
        what, amount_minor = self.doing[ref]
        match what:
            case "preauthorize":
                return await self.world.preauthorize(ref, amount_minor, with_card=False)
            case "extend":
                return await self.world.extend(amount_minor, ref)
            case "capture":
                return await self.world.capture(amount_minor, ref)
            case _:
                return await self.world.pay.reverse(ref)

    def _commit(self, ref, answer, plan):
        """One commit: the answer, and what is wanted next."""
        what, _ = self.doing[ref]
        match answer:
            case Authorized(hold_minor=hold_minor):
                self.held[ref] = hold_minor
                self._next(ref, plan)
            case Declined() if what == "extend":
                self._next(ref, plan)
            case Declined(reason=reason) if what == "capture":
                assert reason not in {"amount_refused", "no_hold", "reversing"}
                if reason == "card_declined":  # given up: the driver's luck
                    self.doing[ref] = ("reverse", 0)
            case Declined() if what == "reverse":
                pass
            case Declined() | Captured() | Reversed() | Expired():
                self.ends[ref] = answer
                self.world.journal.end(ref)

    def _next(self, ref, plan):
        what, amount_minor = plan.pop(0)
        if what == "capture":
            amount_minor = min(amount_minor, self.held[ref])
        if what == "extend":
            amount_minor = max(amount_minor, self.held[ref])
        self.doing[ref] = (what, amount_minor)


def check(world, till):
    """Both books, side by side."""
    books = world.books
    assert books.open == (), "a hold was forgotten"
    ends = [e.rrn for e in books.entries if e.what in {"capture", "reverse", "expire"}]
    assert len(ends) == len(set(ends)) == len(books.holds()), "a hold ended twice"
    told = sum(a.amount_minor for a in till.ends.values() if isinstance(a, Captured))
    assert books.captured_minor == told
    captured = sorted(h.captured_minor for h in books.holds() if h.state == "captured")
    assert captured == sorted(a.amount_minor for a in till.ends.values() if isinstance(a, Captured))
    for hold in books.holds():
        assert (hold.captured_minor or 0) <= hold.amount_minor
    expired = sum(isinstance(a, Expired) for a in till.ends.values())
    assert expired <= sum(h.state == "expired" for h in books.holds())
    formats = [r for r in books.refused if r[1] == "30"]
    assert formats == [], "the host did not take a message"


def play(*, seed, faults=(), crash_at=None, crashes=1, **payment):
    """One payment and as many deaths as `crashes`, the first at step `crash_at`."""
    world = World(bomb=Bomb(crash_at), seed=seed)
    till = Till(world)
    world.host.script(*faults)

    async def scenario():
        going = till.pay("r", **payment)
        left = crashes
        while True:
            try:
                await going
            except Crash:
                left -= 1
                world.bomb.at = None if left <= 0 else world.bomb.steps + 1 + seed % 7
                world.restart()
                going = resumed(till, **payment)
            else:
                return

    asyncio.run(scenario())
    check(world, till)
    return world, till


async def resumed(till, *, extend_to=None, total_minor):
    """The next boot: what was wanted is asked for again."""
    what, _ = till.doing["r"]
    end = ("capture", total_minor) if total_minor else ("reverse", 0)
    plan = {"preauthorize": [*([("extend", extend_to)] if extend_to else []), end], "extend": [end]}.get(
        what, []
    )
    await till.go_on("r", plan)


STORIES = {
    "captured": {"total_minor": 1234},
    "captured whole": {"total_minor": HOLD},
    "given back": {"total_minor": 0},
    "grown and captured": {"extend_to": 9000, "total_minor": 8000},
    "grown and given back": {"extend_to": 9000, "total_minor": 0},
}


@pytest.mark.parametrize("story", STORIES)
def test_a_death_at_every_step_with_every_fault(story):
    runs = 0
    for on in TYPES:
        for kind in (None, *KINDS):
            faults = () if kind is None else (Fault(kind, on=on, seconds=25.0),)
            world, _ = play(seed=1, faults=faults, **STORIES[story])
            for step in range(1, world.bomb.steps + 1):
                play(seed=step, faults=faults, crash_at=step, crashes=1 + step % 3, **STORIES[story])
                runs += 1
    assert runs > 300


@pytest.mark.parametrize("block", range(4))
def test_chance_finds_no_way_to_lose_or_double_a_hold(block):
    for seed in range(block * 150, (block + 1) * 150):
        draw = random.Random(seed)
        faults = [
            Fault(draw.choice(KINDS), on=draw.choice(TYPES), code=draw.choice(("05", "91", "96")),
                  seconds=draw.choice((1.0, 15.0, 25.0, 60.0)))
            for _ in range(draw.randrange(6))
        ]  # fmt: skip
        story = draw.choice(tuple(STORIES.values()))
        crash_at = draw.choice((None, draw.randrange(1, 30)))
        play(seed=seed, faults=faults, crash_at=crash_at, crashes=draw.randrange(1, 5), **story)


def test_a_till_without_faults_gets_what_it_asked_for():
    for story in STORIES.values():
        _, till = play(seed=3, **story)
        total_minor = story["total_minor"]
        assert till.ends["r"] == (
            Captured(ref="r", amount_minor=total_minor) if total_minor else Reversed(ref="r")
        )
