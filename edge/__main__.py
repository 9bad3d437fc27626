"""Entry point: runs a command and turns every error into one line and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import NoReturn

from edge.errors import CallError, TillError


class _UsageError(CallError):
    code = "call.usage"


class _Interrupted(TillError):
    code = "call.interrupted"
    hint = "call it again"


class _NoSpace(TillError):
    code = "output.no_space"
    hint = "make room on the disk that the output goes to, or write it to another one"


class _Crashed(TillError):
    code = "till.crashed"
    hint = "this is a mistake of ours: please report it with the lines above"


def main(args: list[str] | None = None) -> None:
    """Run `chargetill ARGS`. Exit 0 fine, 1 the answer is no, 2 the call was wrong, 3 it could not be done."""
    _open_what_is_closed()
    argv = sys.argv[1:] if args is None else args
    as_json = "--json" in argv
    try:
        service = _as_a_service(argv)
        if service is None:
            sys.exit(_command(argv, as_json=as_json))
        _till(*service)
        sys.exit(0)
    except KeyboardInterrupt:
        _fail(_Interrupted("stopped before it was done"), as_json=as_json)
    except TillError as e:
        _fail(e, as_json=as_json)
    except BrokenPipeError:
        _write_to_nobody()  # whoever reads has what he wanted, as `| head` has
        sys.exit(0)
    except UnicodeEncodeError as e:
        if all(map(_is_text, argv)):
            _crashed(e, as_json=as_json)
        _fail(
            _UsageError("an argument is not UTF-8", hint="set a UTF-8 locale, such as LANG=C.UTF-8"),
            as_json=as_json,
        )
    except OSError as e:
        if e.errno not in {errno.ENOSPC, errno.EDQUOT}:
            _crashed(e, as_json=as_json)
        _write_to_nobody()
        _fail(_NoSpace(str(e.strerror)), as_json=as_json)
    except Exception as e:  # noqa: BLE001  (what nobody expected still goes through the scrubber)
        _crashed(e, as_json=as_json)


def _as_a_service(argv: list[str]) -> tuple[Path, Path | None] | None:
    """Configuration and database of the plain call `--config F [--db F] run`; None for anything else.

    The till stays for years; the reader of command lines would stay with it, 2 MB of a small computer.
    """
    *options, last = argv or [""]
    given = dict(zip(options[::2], options[1::2], strict=False))
    plain = last == "run" and len(options) == 2 * len(given) and given.keys() <= {"--config", "--db"}
    if not plain or "--config" not in given or any(value.startswith("-") for value in given.values()):
        return None
    return Path(given["--config"]), Path(given["--db"]) if "--db" in given else None


def _till(config: Path, database: Path | None) -> None:
    from edge.cli.run_till import run_till  # noqa: PLC0415

    run_till(config, database)


def _command(argv: list[str], *, as_json: bool) -> int:
    import click  # noqa: PLC0415

    from edge.cli.root import root  # noqa: PLC0415

    try:
        # not by root.main(), which ends the process with 1, "the answer is no", when nobody reads on
        with root.make_context("chargetill", list(argv)) as context:
            root.invoke(context)
    except click.exceptions.Exit as e:
        return e.exit_code
    except click.UsageError as e:
        where = e.ctx.command_path if e.ctx else "chargetill"
        _fail(_UsageError(e.format_message(), hint=f"`{where} --help` shows the options"), as_json=as_json)
    except click.Abort:
        _fail(_Interrupted("stopped before it was done"), as_json=as_json)
    return 0


def _fail(e: TillError, *, as_json: bool) -> NoReturn:
    from edge.cli.call import fail  # noqa: PLC0415

    fail(e, as_json=as_json)


def _write_to_nobody() -> None:
    from edge.cli.call import write_to_nobody  # noqa: PLC0415

    write_to_nobody()


def _crashed(e: Exception, *, as_json: bool) -> NoReturn:
    import logging  # noqa: PLC0415  (needed only here, and every command starts here)

    from edge import log  # noqa: PLC0415
    from edge.emv.scrub import scrub  # noqa: PLC0415

    if not logging.getLogger().handlers:
        log.setup()
    log.error("till.crashed", error=e)
    _fail(_Crashed(scrub(f"{type(e).__name__}: {e}")), as_json=as_json)


def _open_what_is_closed() -> None:
    """A caller may close standard streams (`<&-`): nothing is read then, and what is written is nobody's.

    Their numbers must not be given to a database either.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, number, inheritable=True)
            if nothing != number:
                os.close(nothing)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


def _is_text(argument: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in argument)


if __name__ == "__main__":
    main()
