"""Weeks of a till in seconds: what is old goes, and nothing else grows. `scripts/faults year` plays the whole year."""

from __future__ import annotations


def test_weeks_of_sessions_leave_memory_files_and_the_database_within_their_bounds():
    from year import play

    weeks = []
    found = play(days=33, sessions=1, told=weeks.append)
    assert found.problems == ()
    assert found.sessions == found.invoices == 33
    assert found.sessions_kept <= found.kept_max == 32
    assert found.entries_kept < 150
    assert found.fine
    assert [week.day for week in weeks] == [1, 7, 14, 21, 28, 33]
