"""The virtual clock of a laboratory, in one process after another."""

from hw.virtual.clock import VirtualClock


def test_a_process_that_is_started_again_counts_on():
    first = VirtualClock(speed=60, since_boot=True).now()
    second = VirtualClock(speed=60, since_boot=True).now()
    assert second.boot_id == first.boot_id
    assert second.seconds_since(first) >= 0
