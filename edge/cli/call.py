"""How every command takes its options and gives its answers: exit codes, error lines, JSON."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn, TextIO

import click
import msgspec

from edge.emv.scrub import scrub
from edge.errors import TillError

CONFIG_DEFAULT = Path("/etc/chargetill/config.toml")

NO = 1
WRONG_CALL = 2


@dataclasses.dataclass(slots=True)
class Call:
    """The options that every command shares."""

    config: Path | None
    db: Path | None
    json: bool

    def say(self, value: Any, text: str | None = None) -> None:
        """One answer: `value` as a line of JSON with --json (or where there is no text), else the text."""
        self.line(text if text is not None and not self.json else encode(value))

    def line(self, text: str | bytes, *, nl: bool = True) -> bool:
        """One line of an answer, or bytes of it; False where the reader went away.

        What the exit code says is true whether or not anybody reads why: a command with a verdict goes on to it,
        and its further lines are nobody's. Only a stream, which may have no end, ends there.
        """
        try:
            click.echo(text, nl=nl)
        except BrokenPipeError:
            write_to_nobody()
            return False
        return True


_encoder = msgspec.json.Encoder(decimal_format="number")


def encode(value: Any) -> str:
    """One line of JSON; Decimals as numbers with all their digits, datetimes in ISO 8601."""
    return _encoder.encode(value).decode()


def command(run: Callable[..., None]) -> Callable[..., None]:
    """Gives a command `--json` of its own and passes it the shared Call."""

    @click.option("--json", "json_here", is_flag=True, help="machine-readable output and errors")
    @click.pass_context
    @wraps(run)
    def with_call(ctx: click.Context, /, *args: Any, json_here: bool, **kwargs: Any) -> None:
        call: Call = ctx.obj
        call.json = call.json or json_here
        run(call, *args, **kwargs)

    return with_call


def write_to_nobody(stream: TextIO | None = None) -> None:
    """Nobody reads on (default: standard output): what is still buffered must not raise again at the process's end."""
    nobody = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nobody, (stream or sys.stdout).fileno())
    os.close(nobody)


def note(text: str) -> None:
    """A line on stderr, beside the answer; whether it can be read changes neither what is done nor the exit code."""
    try:
        click.echo(text, err=True)
    except OSError:
        write_to_nobody(sys.stderr)


def fail(error: TillError, *, as_json: bool) -> NoReturn:
    """End the process with the error on stderr, scrubbed, in the form that was asked for, and its exit code."""
    if as_json:
        text = encode({"error": {name: _readable(value) for name, value in error.as_json().items()}})
    else:
        text = _readable(str(error))
    note(scrub(text))
    try:
        sys.stdout.flush()
    except OSError:
        write_to_nobody()
    sys.exit(error.exit_code)


def _readable(text: str) -> str:
    """A file's name or an argument may hold bytes that are no text."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def table(
    rows: Iterable[Mapping[str, object]], columns: Sequence[str], *, right: Collection[str] = ()
) -> str:
    """Rows as aligned columns with a heading; numbers, and the columns `right`, to the right; unknown is a dash."""
    cells = [[_cell(row.get(c), right=c in right) for c in columns] for row in rows]
    widths = [max(len(c), *(len(r[i][0]) for r in cells)) if cells else len(c) for i, c in enumerate(columns)]
    heads = ((c.replace("_", " "), w, c in right) for c, w in zip(columns, widths, strict=True))
    lines = ["  ".join(h.rjust(w) if to_right else h.ljust(w) for h, w, to_right in heads).rstrip()]
    for row in cells:
        padded = (
            text.rjust(w) if right else text.ljust(w) for (text, right), w in zip(row, widths, strict=True)
        )
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _cell(value: object, *, right: bool) -> tuple[str, bool]:
    match value:
        case None:
            return "-", right
        case bool():
            return ("yes" if value else "no"), right
        case int():
            return str(value), True
        case _:
            return str(value), right
