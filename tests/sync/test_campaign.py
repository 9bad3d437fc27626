"""A short, seeded campaign of everything that dies at once; the long one is `scripts/faults sync`."""

from __future__ import annotations

import random
import time

import pytest

from edge.backoffice.verify import verify
from hw.virtual.broker import EmbeddedBroker, Mosquitto


@pytest.mark.parametrize(("seed", "kinds"), [(1, (Mosquitto, Mosquitto)), (2, (EmbeddedBroker,))])
def test_through_kills_of_everything_each_entry_is_booked_exactly_once(
    seed, kinds, make_till, start_process, wait, books, count_booked
) -> None:
    rng = random.Random(seed)
    brokers = [kind.start() for kind in kinds]
    addresses = [broker.address for broker in brokers]
    till = make_till(window=50, batch=7)
    till.connect(*addresses)
    office = start_process(books, *addresses)
    for _ in range(6):
        till.write(rng.randint(1, 120))
        match rng.choice(["broker", "receiver", "till"]):
            case "broker":
                broker = rng.choice(brokers)
                broker.kill()
                till.write(rng.randint(0, 30))
                broker.restart()
            case "receiver":
                office.kill()
                till.write(rng.randint(0, 30))
                office = start_process(books, *addresses)
            case _:
                till.disconnect()
                till.store.close()
                till.open()
                till.connect(*addresses)
        time.sleep(rng.uniform(0, 0.15))
    wait(lambda: count_booked(books) == till.written, "convergence")
    wait(lambda: till.uplink.status().waiting == 0, "acknowledgement")
    assert till.rolled_back == []
    assert office.stop() == 0
    found = verify(books)
    assert (found.problems, found.entries) == ((), till.written)
    for broker in brokers:
        broker.stop()
