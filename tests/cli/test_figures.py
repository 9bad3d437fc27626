"""Figures for people: right, and never a zero for what is not known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cli import figures
from edge.cli.call import table


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [(113, "EUR", "1.13 EUR"), (123_456_789, "EUR", "1,234,567.89 EUR"), (500, "JPY", "500 JPY"), (-5, "EUR", "-0.05 EUR"),
     (1, "KWD", "0.001 KWD"), (None, "EUR", None), (1, None, None)],
)  # fmt: skip
def test_amounts(minor, currency, text):
    assert figures.money(minor, currency) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 days")]
)
def test_ages(seconds, text):
    assert figures.age(seconds) == text


def test_durations_cross_midnight_and_summer_time():
    assert figures.duration("2026-03-28T23:59:00+00:00", "2026-03-29T01:04:59+00:00") == "1:05"
    assert figures.duration("2026-03-29T01:59:00+01:00", "2026-03-29T03:01:00+02:00") == "0:02"
    assert figures.duration(None, "2026-03-29T03:01:00+02:00") is None


def test_a_name_that_repeats_stands_once():
    assert figures.block([("a", "1"), ("a", "2"), ("long", "3")]) == "a     1\n      2\nlong  3"


@given(st.lists(st.tuples(st.text("ab ", max_size=5), st.integers()), max_size=5))
def test_columns_are_aligned_whatever_stands_in_them(rows):
    text = table(
        [{"name": n.strip() or None, "count": c} for n, c in rows], ("name", "count"), right=("count",)
    )
    lines = text.split("\n")
    assert len(lines) == len(rows) + 1
    assert len({len(line) for line in lines}) == 1, "the last column ends where its heading ends"
