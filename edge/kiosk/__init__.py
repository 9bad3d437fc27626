"""The driver's screen: one small page, served on the charger and live over server-sent events.

`board = Board()`, `board.show(view)` at each change, and `await serve(board, KioskOptions())` of edge.kiosk.server in a
task; a till without a screen never loads that.
"""

from __future__ import annotations

from edge.kiosk.actions import Actions, Answer
from edge.kiosk.board import Board
from edge.kiosk.options import KioskOptions

__all__ = ["Actions", "Answer", "Board", "KioskOptions"]
