"""What the back office orders, on its way down."""

from edge.sync.downlink.lists import Lists, open_lists
from edge.sync.downlink.service import SETTINGS, Downlink

__all__ = ["SETTINGS", "Downlink", "Lists", "open_lists"]
