import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.domain.view import View
from edge.kiosk import Board
from edge.kiosk.board import CURVE_POINTS_MAX, EVSES_MAX, TooManyEvses


def view(kind: Any = "idle", evse_id: str = "E1", label: str = "A", **more: Any) -> View:
    return View(evse_id=evse_id, label=label, kind=kind, **more)


def charging(seconds: int | None, power_w: int | None = 11_000, **more: Any) -> View:
    return view("charging", began="2026-05-04T08:00:00+02:00", seconds=seconds, power_w=power_w, **more)


def panels(board: Board) -> list[dict[str, Any]]:
    decoded: dict[str, Any] = msgspec.json.decode(board.snapshot())
    return decoded["panels"]


def curve(board: Board) -> list[list[int | None]]:
    points: list[list[int | None]] = panels(board)[0]["curve"]
    return points


def test_each_evse_shows_its_newest_view_in_the_order_of_the_labels() -> None:
    board = Board()
    board.show(view(evse_id="E2", label="B"))
    board.show(view(evse_id="E1", label="A"))
    board.show(view("plug_in", evse_id="E2", label="B", seconds_left=60))
    assert [(p["view"]["label"], p["view"]["kind"]) for p in panels(board)] == [
        ("A", "idle"),
        ("B", "plug_in"),
    ]


def test_what_is_unknown_stays_null_on_the_wire() -> None:
    board = Board()
    board.show(charging(seconds=None, power_w=None))
    shown = panels(board)[0]["view"]
    assert [shown[name] for name in ("energy_wh", "seconds", "power_w", "cost_minor")] == [None] * 4


def test_a_change_wakes_every_watcher_and_a_repetition_wakes_none() -> None:
    async def story() -> None:
        board = Board()
        with board.watch() as first, board.watch() as second:
            board.show(view())
            assert first.is_set()
            assert second.is_set()
            first.clear()
            board.show(view())
            assert not first.is_set()
            assert board.watchers == 2
        assert board.watchers == 0

    asyncio.run(story())


def test_the_curve_has_a_gap_where_the_meter_did_not_say() -> None:
    board = Board()
    for seconds, power_w in ((0, 0), (1, None), (2, 7_400)):
        board.show(charging(seconds, power_w))
    assert curve(board) == [[0, 0], [1, None], [2, 7_400]]


def test_the_curve_goes_on_while_the_car_pauses_and_the_session_stops() -> None:
    board = Board()
    board.show(charging(10))
    board.show(msgspec.structs.replace(charging(20, 0), kind="suspended", by="ev"))
    board.show(msgspec.structs.replace(charging(30, 0), kind="stopping"))
    assert [s for s, _ in curve(board)] == [10, 20, 30]


@pytest.mark.parametrize("kind", ["paid", "ended", "idle", "out_of_order", "starting_up"])
def test_the_curve_does_not_outlive_its_session(kind: str) -> None:
    board = Board()
    board.show(charging(10))
    board.show(view(kind))
    assert curve(board) == []
    board.show(charging(11))
    assert curve(board) == [[11, 11_000]]


def test_another_session_begins_another_curve() -> None:
    board = Board()
    board.show(charging(500))
    board.show(msgspec.structs.replace(charging(600), began="2026-05-04T09:00:00+02:00"))
    assert curve(board) == [[600, 11_000]]
    board.show(msgspec.structs.replace(charging(5), began="2026-05-04T09:00:00+02:00"))
    assert curve(board) == [[5, 11_000]]


@given(st.lists(st.integers(min_value=0, max_value=600), min_size=1, max_size=400))
def test_a_curve_of_any_length_is_bounded_and_ends_with_the_newest_value(steps: list[int]) -> None:
    board = Board()
    seconds = 0
    for i, step in enumerate(steps):
        seconds += step
        board.show(charging(seconds, i))
    points = curve(board)
    times = [point[0] for point in points]
    assert len(points) <= CURVE_POINTS_MAX + 1
    assert times == sorted(set(times))
    assert points[0][0] == steps[0]
    assert times[-1] == seconds


def test_a_receipt_has_a_qr_code_and_an_address_that_is_too_long_has_none() -> None:
    board = Board()
    board.show(view("paid", receipt_url="https://pay.example/r/abc"))
    assert panels(board)[0]["qr"].startswith("data:image/svg+xml")
    board.show(view("paid", receipt_url="https://pay.example/" + "a" * 300))
    assert panels(board)[0]["qr"] is None
    board.show(view("paid"))
    assert panels(board)[0]["qr"] is None


def test_a_board_refuses_more_evses_than_it_can_hold() -> None:
    board = Board()
    for i in range(EVSES_MAX):
        board.show(view(evse_id=str(i)))
    board.show(view("plug_in", evse_id="0"))
    with pytest.raises(TooManyEvses):
        board.show(view(evse_id="one more"))
