"""Listens for screens, on loopback unless told otherwise."""

from __future__ import annotations

from edge import web
from edge.errors import TillError
from edge.kiosk.actions import Actions
from edge.kiosk.board import Board
from edge.kiosk.options import KioskOptions
from edge.kiosk.pages import Pages


class KioskNotServed(TillError):
    """The address of the driver's screen cannot be had."""

    code = "kiosk.not_served"
    hint = "another program has this port, or no interface this address: change host or port in [kiosk]"


async def serve(
    board: Board,
    options: KioskOptions,
    *,
    actions: Actions | None = None,
    reader: bool = True,
    bound: web.Bound | None = None,
) -> None:
    """Serve the driver's screen until cancelled. Raises KioskNotServed when the address cannot be bound.

    `bound(host, port)` is called once the page can be opened. Without `actions` the page has nothing to press
    but its languages; without a `reader` it asks for cards at the terminal only.
    """
    app = web.Web()
    Pages(board, options, actions, reader=reader).register(app)
    try:
        await web.serve(app, options.host, options.port, bound=bound)
    except OSError as e:
        where = f"{options.host}:{options.port}"
        raise KioskNotServed(f"cannot listen on {where}: {e.strerror or e}") from e
