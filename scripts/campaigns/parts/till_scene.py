"""What there is at any moment of a trial: its site, the till's present life, and what ails its disk."""

from __future__ import annotations

from parts.till_life import Life
from parts.till_site import Site

from edge.runtime.controller import EvseController
from hw.virtual.disk import DiskFault


class Scene:
    """See the module. `disk_fault` is that of whatever life there is, and of the next one."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.life: Life | None = None
        self.disk_fault: DiskFault | None = None

    def controller(self, number: int) -> EvseController | None:
        """The controller of an EVSE in the life that there is."""
        life = self.life
        if life is None or not life.alive:
            return None
        found = life.till._controllers  # noqa: SLF001
        return found[number] if number < len(found) else None
