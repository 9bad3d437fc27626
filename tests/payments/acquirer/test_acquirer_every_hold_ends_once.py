"""Whatever is lost, and wherever the till dies: what the acquirer holds and booked is what the answers said (I2).

The till here is the least that there can be: it commits what it wants before it asks, asks again after a doubt and
after a restart, and commits the answer. Messages are real, time is virtual.
"""

from __future__ import annotations

import random

import pytest

from edge.domain.payment import Authorized, Captured, Declined, Expired, InDoubt, Refunded, Reversed
from edge.errors import HardwareError
from hw.virtual.acquirer_host import Fault

from .conftest import Bomb, Crash, World, card, run

HOLD = 5000
KINDS = ("lost_request", "lost_reply", "silent", "ignored", "late_reply", "late_request", "duplicate_reply",
         "decline", "partial", "garbage", "expire")  # fmt: skip
TYPES = ("0100", "0220", "0420", "0200")

#: Asks for one payment, doubts and refusals included, after which it goes round in circles.
ASKS_MAX = 120

STORIES = {
    "captured": (("capture", 1234),),
    "captured whole": (("capture", HOLD),),
    "given back": (("reverse", 0),),
    "grown and captured": (("extend", 9000), ("capture", 8000)),
    "grown and given back": (("extend", 9000), ("reverse", 0)),
    "captured and refunded": (("capture", 4000), ("refund", 150)),
}


class Till:
    """Everything here is durable: what each payment wants, in order, what it was told, and how it ended."""

    def __init__(self, world, stories):
        self.world = world
        self.wanted = {f"r{n}": [("preauthorize", HOLD), *story] for n, story in enumerate(stories)}
        self.held = {}
        self.ends = {}
        self.refunded = {}
        self.asks = 0
        for ref in self.wanted:
            world.journal.begin(ref, HOLD)

    def tap(self):
        """Cards are held to the reader before the first life of the till; the next lives know none of them."""
        for ref in self.wanted:
            self.world.pay.offer(ref, card())

    async def live(self, draw):
        """Ask for one payment after the other, in any order, until all have ended."""
        while any(self.wanted.values()):
            ref = draw.choice([r for r, wanted in self.wanted.items() if wanted])
            self.asks += 1
            assert self.asks < ASKS_MAX * len(self.wanted), f"{ref} goes round in circles: {self.wanted[ref]}"
            try:
                answer = await self._ask(ref, *self.wanted[ref][0])
            except HardwareError:
                answer = None
            self.world.bomb.step()
            self._commit(ref, answer)
            self.world.bomb.step()
            if isinstance(answer, InDoubt | None):
                await self.world.time.sleep(5)

    async def _ask(self, ref, what, amount_minor):
        match what:
            case "preauthorize":
                return await self.world.preauthorize(ref, amount_minor, with_card=False)
            case "extend":
                return await self.world.extend(max(amount_minor, self.held[ref]), ref)
            case "capture":
                return await self.world.capture(min(amount_minor, self.held[ref]), ref)
            case "reverse":
                return await self.world.pay.reverse(ref)
            case "refund":
                return await self.world.refund(min(amount_minor, self.ends[ref].amount_minor), f"{ref}x", ref)

    def _commit(self, ref, answer):
        """One commit: the answer, and what is wanted next."""
        wanted = self.wanted[ref]
        what, _ = wanted[0]
        match answer:
            case None | InDoubt():
                pass
            case Authorized(hold_minor=hold_minor):
                self.held[ref] = hold_minor
                del wanted[0]
            case Declined() if what == "extend":
                del wanted[0]
            case Declined(reason=reason) if what in {"capture", "reverse", "refund"}:
                assert reason not in {"amount_refused", "no_hold", "reversing", "capturing", "not_captured"}
                if what == "capture" and reason == "card_declined":  # given up: the driver's luck
                    wanted[:] = [("reverse", 0)]
            case Refunded(amount_minor=amount_minor):
                self.refunded[ref] = amount_minor
                del wanted[0]
            case Captured():
                self._end(ref, answer)
                del wanted[0]
            case Declined() | Reversed() | Expired():
                self._end(ref, answer)
                wanted.clear()

    def _end(self, ref, answer):
        assert ref not in self.ends
        self.ends[ref] = answer
        self.world.journal.end(ref)


def check(world, till):
    """Both books, side by side."""
    books = world.books
    assert books.open == (), "a hold was forgotten"
    ends = [e.rrn for e in books.entries if e.what in {"capture", "reverse", "expire"}]
    assert len(ends) == len(set(ends)) == len(books.holds()), "a hold ended twice"
    told = sorted(a.amount_minor for a in till.ends.values() if isinstance(a, Captured))
    assert sorted(h.captured_minor for h in books.holds() if h.state == "captured") == told
    assert books.refunded_minor == sum(till.refunded.values())
    for hold in books.holds():
        assert (hold.captured_minor or 0) <= hold.amount_minor
    expired = sum(isinstance(a, Expired) for a in till.ends.values())
    assert expired <= sum(h.state == "expired" for h in books.holds())
    assert [r for r in books.refused if r[1] == "30"] == [], "the host did not take a message"
    assert set(till.ends) == set(till.wanted)


def play(*stories, seed, faults=(), crash_at=None, crashes=1):
    """Payments side by side, and as many deaths as `crashes`, the first at step `crash_at`."""
    world = World(bomb=Bomb(crash_at), seed=seed)
    till = Till(world, stories)
    world.host.script(*faults)
    draw = random.Random(seed)
    till.tap()
    left = crashes
    while True:
        try:
            run(till.live(draw))
        except Crash:
            left -= 1
            world.bomb.at = None if left <= 0 else world.bomb.steps + 1 + seed % 7
            world.restart()
        else:
            break
    check(world, till)
    return world, till


@pytest.mark.parametrize("story", STORIES)
def test_a_death_at_every_step_with_every_fault(story):
    runs = 0
    for on in TYPES:
        for kind in (None, *KINDS):
            faults = () if kind is None else (Fault(kind, on=on, seconds=25.0),)
            world, _ = play(STORIES[story], seed=1, faults=faults)
            if world.host.waiting:
                continue  # there is no such message in this story
            for step in range(1, world.bomb.steps + 1):
                play(STORIES[story], seed=step, faults=faults, crash_at=step, crashes=1 + step % 3)
                runs += 1
    assert runs > 150


@pytest.mark.parametrize("block", range(4))
def test_chance_finds_no_way_to_lose_or_double_a_hold(block):
    for seed in range(block * 100, (block + 1) * 100):
        draw = random.Random(seed)
        faults = [
            Fault(draw.choice(KINDS), on=draw.choice(TYPES), code=draw.choice(("05", "91", "96")),
                  seconds=draw.choice((1.0, 15.0, 25.0, 60.0)))
            for _ in range(draw.randrange(9))
        ]  # fmt: skip
        stories = draw.choices(tuple(STORIES.values()), k=draw.randrange(1, 4))
        crash_at = draw.choice((None, draw.randrange(1, 40)))
        play(*stories, seed=seed, faults=faults, crash_at=crash_at, crashes=draw.randrange(1, 5))


def test_a_till_without_faults_gets_what_it_asked_for():
    _, till = play(*STORIES.values(), seed=3)
    assert till.ends == {
        "r0": Captured(ref="r0", amount_minor=1234),
        "r1": Captured(ref="r1", amount_minor=HOLD),
        "r2": Reversed(ref="r2"),
        "r3": Captured(ref="r3", amount_minor=8000),
        "r4": Reversed(ref="r4"),
        "r5": Captured(ref="r5", amount_minor=4000),
    }
    assert till.refunded == {"r5": 150}
