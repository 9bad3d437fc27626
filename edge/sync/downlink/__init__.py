"""What the back office orders, on its way down."""

from edge.sync.downlink.lists import Lists
from edge.sync.downlink.service import Downlink

__all__ = ["Downlink", "Lists"]
