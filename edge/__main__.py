"""Entry point: runs a command and turns every error into one line and an exit code."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

import click

from edge.cli.call import WRONG_CALL, fail
from edge.cli.root import root
from edge.errors import CallError, TillError


class _UsageError(CallError):
    code = "call.usage"


class _Interrupted(TillError):
    code = "call.interrupted"
    hint = "call it again"


class _Crashed(TillError):
    code = "till.crashed"
    hint = "this is a mistake of ours: please report it with the lines above"


def main(args: list[str] | None = None) -> None:
    """Run `chargetill ARGS`. Exit 0 fine, 1 the answer is no, 2 the call was wrong, 3 it could not be done."""
    argv = sys.argv[1:] if args is None else args
    as_json = "--json" in argv
    try:
        # without its standalone mode click returns the code of an Exit instead of raising it
        sys.exit(root.main(argv, prog_name="chargetill", standalone_mode=False) or 0)
    except click.UsageError as e:
        where = e.ctx.command_path if e.ctx else "chargetill"
        fail(_UsageError(e.format_message(), hint=f"`{where} --help` shows the options"), as_json=as_json)
    except click.Abort:
        fail(_Interrupted("stopped before it was done"), as_json=as_json)
    except TillError as e:
        fail(e, as_json=as_json)
    except BrokenPipeError:
        _close_quietly()
        sys.exit(WRONG_CALL)
    except Exception as e:  # noqa: BLE001  (what nobody expected still goes through the scrubber)
        _crashed(e, as_json=as_json)


def _crashed(e: Exception, *, as_json: bool) -> NoReturn:
    from edge import log  # noqa: PLC0415  (needed only here, and every command starts here)
    from edge.emv.scrub import scrub  # noqa: PLC0415

    if not logging.getLogger().handlers:
        log.setup()
    log.error("till.crashed", error=e)
    fail(_Crashed(scrub(f"{type(e).__name__}: {e}")), as_json=as_json)


def _close_quietly() -> None:
    """Nobody reads on: what is still buffered must not raise again at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
