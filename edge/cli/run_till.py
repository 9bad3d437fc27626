"""The daemon from its files. Whoever calls it may have read a command line, or not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path


def run_till(config_file: Path, database: Path | None) -> None:
    """Run the till until SIGTERM; `database` instead of the configured one. Raises TillError."""
    from edge import log
    from edge.app import Till
    from edge.inventory import load

    _share_one_heap()
    config = load(config_file)
    if database is not None:
        config = replace(config, database=database)
    log.setup(config.log.format)

    async def main() -> None:
        await Till(config).run()

    asyncio.run(main())


#: mallopt(3): how many heaps glibc may make for threads
_M_ARENA_MAX = -8


def _share_one_heap() -> None:
    """A dozen threads that allocate little would each keep a half-empty heap of their own: 3 MB on a Pi."""
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # only glibc has it
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
