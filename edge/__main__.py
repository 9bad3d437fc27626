"""Entry point: runs a command and turns every error into one line and an exit code."""

from __future__ import annotations

import sys

import click

from edge.cli.call import NOT_DONE, WRONG_CALL, fail
from edge.cli.root import root
from edge.errors import CallError, TillError


class _UsageError(CallError):
    code = "call.usage"


def main(args: list[str] | None = None) -> None:
    """Run `chargetill ARGS`. Exit 0 fine, 1 the answer is no, 2 the call was wrong, 3 it could not be done."""
    argv = sys.argv[1:] if args is None else args
    as_json = "--json" in argv
    try:
        root.main(argv, prog_name="chargetill", standalone_mode=False)
    except click.exceptions.Exit as e:
        sys.exit(e.exit_code)
    except click.UsageError as e:
        where = e.ctx.command_path if e.ctx else "chargetill"
        fail(_UsageError(e.format_message(), hint=f"`{where} --help` shows the options"), as_json=as_json)
    except click.Abort:
        sys.exit(NOT_DONE)
    except TillError as e:
        fail(e, as_json=as_json)
    except BrokenPipeError:
        sys.exit(WRONG_CALL)


if __name__ == "__main__":
    main()
