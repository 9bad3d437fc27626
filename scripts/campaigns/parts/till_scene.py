"""What there is at any moment of a trial: its site, the till's present life, and what ails its disk.

In eventful trials contactors weld and invoices are taken back, too. Which these are, their numbers say: what the others
do is what tests and tables say of them.
"""

from __future__ import annotations

from typing import Final

from parts.till_life import Life
from parts.till_site import Site

from edge.runtime.controller import EvseController
from hw.virtual.disk import DiskFault

#: Last digits of the numbers of eventful trials.
_EVENTFUL: Final = frozenset((3, 6, 7, 8))


class Scene:
    """See the module. `disk_fault` is that of whatever life there is, and of the next one; `resting`: the drivers and
    the troubles are over.
    """

    def __init__(self, seed: int, site: Site) -> None:
        self.seed = seed
        self.eventful = seed % 10 in _EVENTFUL
        self.resting = False
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
