"""Weeks of a till in seconds: what is old goes, and nothing else grows. `scripts/faults year` plays the whole year."""

from __future__ import annotations


def test_weeks_of_sessions_leave_memory_files_and_the_database_within_their_bounds():
    from year import play

    found = play(days=38, sessions=1)
    assert found.problems == ()
    assert found.sessions == found.invoices == 38
    assert found.entries_kept < 150
    assert found.fine
