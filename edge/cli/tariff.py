"""`chargetill tariff`: check a tariff, and read it as a driver would."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from edge.cli.call import NO, Call, command
from edge.domain.tariffs import freeze, words
from edge.domain.tariffs.languages import LANGUAGES
from edge.domain.tariffs.lint import PROFILES, Profile, lint_document
from edge.domain.tariffs.loading import DOCUMENT_BYTES_MAX
from edge.domain.tariffs.wall import YEARS
from edge.errors import CallError, InputError


@click.group()
def tariff() -> None:
    """Check a tariff, and read it as a driver would."""


@tariff.command("lint")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--profile", type=click.Choice(PROFILES), default="none", help="what the law asks of the place")
@command
def lint_(call: Call, file: Path, profile: str) -> None:
    """Every problem of a tariff with its place and reason; exit 1 if it may not be sold."""
    problems = lint_document(_read(file), profile=cast("Profile", profile))
    refused = any(problem.severity == "error" for problem in problems)
    text = "\n".join(f"{problem.severity}: {problem}" for problem in problems) or "no problems"
    call.say({"ok": not refused, "problems": problems}, text)
    if refused:
        sys.exit(NO)


@tariff.command("show")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--at", metavar="T", help="local or ISO 8601 time; default: now")
@click.option("--time-zone", default="UTC", metavar="Z", help="IANA name of the charger's zone; default: UTC")
@click.option("--lang", type=click.Choice(sorted(LANGUAGES)), default="en", help="language of the texts")
@command
def show(call: Call, file: Path, at: str | None, time_zone: str, lang: str) -> None:
    """The price as a driver would read it: now, and what follows within a day."""
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as e:
        raise CallError(
            f"{time_zone[:60]!r} is no time zone", hint="use an IANA name such as Europe/Berlin"
        ) from e
    moment = _moment(at, zone)
    frozen = freeze(_read(file))
    sections = words(frozen.tariff, at=moment, time_zone=time_zone, language=lang)
    lines = []
    for section in sections:
        lines.append(f"{section.heading}:")
        lines += [f"  {x.label}: {x.amount}" + (f" ({x.note})" if x.note else "") for x in section.lines]
    lines += [text.text for text in frozen.tariff.alt_text if text.language in ("", lang)]
    call.say({"id": frozen.tariff.id, "hash": frozen.hash, "prices": sections}, "\n".join(lines))


def _moment(text: str | None, zone: tzinfo) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        at = datetime.fromisoformat(text)
    except ValueError as e:
        raise CallError(f"{text[:40]!r} is no time", hint="such as 2026-12-24T18:00") from e
    if at.year not in YEARS:
        raise CallError(f"no price can be told for the year {at.year}")
    return at if at.tzinfo else at.replace(tzinfo=zone)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(DOCUMENT_BYTES_MAX + 1)
    except OSError as e:
        raise InputError(f"cannot read {file}: {e.strerror}") from e
