"""The journal's way up."""

from edge.sync.uplink.sender import RolledBack
from edge.sync.uplink.service import Uplink
from edge.sync.uplink.status import UplinkStatus

__all__ = ["RolledBack", "Uplink", "UplinkStatus"]
