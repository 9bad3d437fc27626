"""What can go wrong with a reader; what goes wrong with a card is in edge.errors."""

from __future__ import annotations

from edge.errors import HardwareError


class ReaderGone(HardwareError):
    """The reader is not there, or not any more."""

    code = "reader.gone"
    hint = "check the reader's cable and the driver's options; the till tries again by itself"
