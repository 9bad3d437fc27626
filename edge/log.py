"""The log: events with fields, one line each, behind the scrubber.

    log.event("session.ended", session_id=session.id, energy_wh=12_345)
    log.warning("reader.gone", error=error, retry_s=5)

The lines are plain text, JSON, or what journald takes from a service's standard error. Whatever other
libraries log goes through the same handler, and so do exceptions that nobody caught. A field whose name says
that its value is a secret is never printed, whatever it holds.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections import deque
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

import msgspec

from edge import journal
from edge.emv.scrub import scrub
from edge.errors import TillError

Format = Literal["plain", "json", "journald"]
Level = Literal["debug", "info", "warning", "error"]

#: A line longer than this is a dump, which journald and people alike cut.
LINE_MAX: Final = 8_192

#: A field longer than this is cut; an error's text fits.
VALUE_MAX: Final = 1_024

#: The newest lines are kept for whoever asks from afar: half a megabyte at most.
RECENT_MAX: Final = 500

#: Fields with these names, or ending in one of them after `_`, are never printed.
SECRET_FIELDS: Final = frozenset(
    ("apdu", "cvv", "key", "pan", "password", "pin", "secret", "track", "track1", "track2", "uid")
)

#: Integers under these units are quantities; a number with the digits of a card among them is chance.
_UNITS: Final = frozenset(("wh", "w", "ma", "mv", "s", "ms", "us", "ns", "minor", "bytes", "seq"))

#: What stands before each line of the form `journald`.
_PRIORITY: Final = re.compile(r"^<[0-7]>")

_HIDDEN: Final = "****"
_LOGGER: Final = logging.getLogger("chargetill")
_RECENT: Final[deque[str]] = deque(maxlen=RECENT_MAX)

#: sd-daemon(3): the priority that journald takes from the start of a line.
_PRIORITIES: Final = (("<3>", logging.ERROR), ("<4>", logging.WARNING), ("<6>", logging.INFO))


def event(name: str, /, **fields: object) -> None:
    """Something happened that belongs to the story of this till."""
    _LOGGER.info(name, extra={"fields": fields})


def debug(name: str, /, **fields: object) -> None:
    """A detail for whoever looks for a fault."""
    if _LOGGER.isEnabledFor(logging.DEBUG):
        _LOGGER.debug(name, extra={"fields": fields})


def warning(name: str, /, **fields: object) -> None:
    """Something that the till copes with, and that somebody should look at."""
    _LOGGER.warning(name, extra={"fields": fields})


def error(name: str, /, *, error: BaseException | None = None, **fields: object) -> None:
    """Something that the till does not cope with. A foreign exception is printed with its trace."""
    trace = error if error is not None and not isinstance(error, TillError) else None
    if error is not None:
        fields["error"] = error
    _LOGGER.error(name, extra={"fields": fields}, exc_info=trace)


def setup(form: Format = "plain", level: Level = "info", *, stream: TextIO | None = None) -> None:
    """Send every log line of the process to `stream` (standard error) in this form, scrubbed."""
    native = form == "journald" and stream is None and journal.is_ours()
    handler = _ToJournal() if native else _Remembering(stream)
    handler.setFormatter(_Lines(form))
    handler.addFilter(_not_of_nfcpy)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    _LOGGER.setLevel(level.upper())
    # nfcpy tells of every misread; the driver raises what matters.
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def recent() -> list[str]:
    """The newest lines of this process, scrubbed as they were printed, oldest first. Any thread."""
    return list(_RECENT)


class _Remembering(logging.StreamHandler[TextIO]):
    """Keeps what it prints for a while; a line that is a dump is cut."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        _RECENT.append(_cut(line, VALUE_MAX))
        return line


class _ToJournal(_Remembering):
    """Each line as an entry of journald with its fields; on standard error where journald does not take it."""

    def __init__(self) -> None:
        super().__init__()
        self._journal = journal.Journal()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
            message = "\n".join(_PRIORITY.sub("", part) for part in line.split("\n"))
            fields = record.__dict__["shown"]
            sent = self._journal.send(journal.entry(message, record.levelno, scrub(str(record.msg)), fields))
            if not sent:
                self.stream.write(line + self.terminator)
                self.flush()
        except Exception:  # noqa: BLE001  (as every handler of the standard library does it)
            self.handleError(record)


def _not_of_nfcpy(record: logging.LogRecord) -> bool:
    """It tells of every misread and sets its loggers' levels itself; the driver raises what matters."""
    return not record.name.startswith("nfc.")


class _Lines(logging.Formatter):
    def __init__(self, form: Format) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        fields = record.__dict__.get("fields")
        shown = _shown(fields) if isinstance(fields, dict) else {}
        name = scrub(str(record.msg) if isinstance(fields, dict) else record.getMessage())
        if fields is None:
            shown["logger"] = record.name
        if record.exc_info:
            shown["trace"] = scrub(self.formatException(record.exc_info))
        record.shown = dict(shown)
        return _cut(getattr(self, f"_{self._form}")(record, name, shown), LINE_MAX)

    def _json(self, record: logging.LogRecord, name: str, shown: dict[str, object]) -> str:
        line = {"at": _at(record), "level": record.levelname.lower(), "event": name, **shown}
        text = msgspec.json.encode(line).decode()
        if len(text) > LINE_MAX:
            line = {"at": _at(record), "level": record.levelname.lower(), "event": _cut(name, VALUE_MAX)}
            text = msgspec.json.encode({**line, "cut": True}).decode()
        return text

    def _plain(self, record: logging.LogRecord, name: str, shown: dict[str, object]) -> str:
        return f"{_at(record)} {record.levelname.lower():7} {_sentence(name, shown)}"

    def _journald(self, record: logging.LogRecord, name: str, shown: dict[str, object]) -> str:
        priority = next((text for text, level in _PRIORITIES if record.levelno >= level), "<7>")
        return priority + _sentence(name, shown).replace("\n", "\n" + priority)


def _at(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _sentence(name: str, shown: dict[str, object]) -> str:
    trace = shown.pop("trace", None)
    words = [name]
    for key, value in shown.items():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        if not text.isprintable() or any(c in text for c in ' ="'):
            text = msgspec.json.encode(text).decode()  # a value can neither end the line nor pose as a field
        words.append(f"{key}={text}")
    return " ".join(words) + (f"\n{trace}" if trace else "")


def _shown(fields: dict[str, object]) -> dict[str, object]:
    return {key: _value(key, value) for key, value in fields.items()}


def _value(key: str, value: object) -> object:
    last = key.lower().rpartition("_")[2]
    if key.lower() in SECRET_FIELDS or last in SECRET_FIELDS:
        return _HIDDEN
    match value:
        case None | bool() | float():
            return value
        case int():
            text = str(value)
            return value if last in _UNITS or scrub(text) == text else scrub(text)
        case bytes():
            return f"{len(value)} bytes"
        case BaseException():
            text = str(value) if isinstance(value, TillError) else f"{type(value).__name__}: {value}"
        case list() | tuple() | dict() | msgspec.Struct():
            text = msgspec.json.encode(value, enc_hook=str).decode()
        case _:
            text = str(value)
    return _cut(scrub(text[:LINE_MAX]), VALUE_MAX)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _uncaught(kind: type[BaseException], e: BaseException, trace: object) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    _LOGGER.critical("till.crashed", extra={"fields": {"error": e}}, exc_info=(kind, e, e.__traceback__))
    del trace


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
