"""A commit that falls into the moment in which the uplink wakes is not slept through, nor is any after it."""

from __future__ import annotations

from types import SimpleNamespace

from edge.sync.uplink.service import Uplink


class Bell:
    """Takes every ring at once; `meanwhile` happens just before it does."""

    def __init__(self, meanwhile):
        self.rings, self.meanwhile = 0, meanwhile

    def send(self, _data):
        self.rings += 1

    def recv(self, _size):
        self.meanwhile()
        self.rings = 0


def test_a_ring_at_the_moment_of_waking_silences_no_later_one():
    uplink = object.__new__(Uplink)
    uplink._rung = False
    uplink._bell = uplink._ringer = Bell(uplink.wake)
    refreshed = []
    uplink.wake()
    uplink._hear_bell(SimpleNamespace(refresh=lambda: refreshed.append(True)))

    uplink.wake()

    assert refreshed == [True]
    assert uplink._bell.rings == 1
