"""The computer itself: its clock, its disk, its power, its services."""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from edge import inventory
from edge.config import Config
from edge.doctor.finding import Finding, fail, ok, warn
from edge.doctor.machine import Account, Machine, may
from edge.domain.ledger.envelope import open_envelope
from edge.domain.tariffs import depends_on_time
from edge.errors import ConfigError, HardwareError, StoreError
from edge.runtime.clock import SystemClock
from edge.store.boots import recall
from edge.store.connection import open_reader, translated

#: No till runs before the software was written: an older clock is one that has lost the time.
_OLDEST: Final = datetime(2026, 1, 1, tzinfo=UTC)

#: Certificates live for years, clocks that are further ahead than this are wrong.
_YEARS_AHEAD: Final = timedelta(days=20 * 365)

#: A clock that is behind what the journal has seen by more than this was set back.
_SET_BACK: Final = timedelta(minutes=2)

_MB: Final = 1_000_000
#: A year of sessions takes some 100 MB; a log and an upgrade need the rest.
_FREE_WARN: Final = 500 * _MB
_FREE_FAIL: Final = 50 * _MB

#: Each step of a session waits for one fsync. An SD card takes 5 to 50 ms; beyond a second drivers wait.
_FSYNC_WARN_S: Final = 0.2
_FSYNC_FAIL_S: Final = 2.0
_FSYNC_TRIES: Final = 5

#: `systemctl show` answers in milliseconds, or not at all.
_SYSTEMCTL_S: Final = 5

#: Raspberry Pi firmware, get_throttled: under-voltage now, and since boot.
_UNDERVOLTAGE_NOW: Final = 0x1
_UNDERVOLTAGE_SEEN: Final = 0x10000
_THROTTLED: Final = "sys/devices/platform/soc/soc:firmware/get_throttled"

UNIT: Final = "chargetill.service"


def clock(config: Config, machine: Machine, *, now: datetime) -> Iterator[Finding]:
    """Is the time right, and does the till believe it?"""
    seen = _journal_time(config.database)
    if now < _OLDEST or now > _OLDEST + _YEARS_AHEAD or (seen is not None and now < seen - _SET_BACK):
        known = f", the journal ends at {seen:%Y-%m-%d %H:%M} UTC" if seen is not None and now < seen else ""
        yield fail(
            "clock",
            f"wrong time: it reads {now:%Y-%m-%d %H:%M} UTC{known}",
            "let NTP set it (`timedatectl`), or by hand with `date -s`; a battery for the RTC keeps it in power cuts",
        )
        return
    if config.lab is not None or config.clock.trust == "always":
        yield ok("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC, believed because clock.trust says so")
        return
    if _sells_by_time_only(config):
        yield warn(
            "clock and tariff",
            "the price depends on the time: nothing is sold after a power cut until the time is known",
            "name a tariff for that case in tariff.fallback_file",
        )
    try:
        trusted = SystemClock(trust="ntp").trusted()
    except HardwareError as e:
        yield fail("clock", e.message, e.hint)
        return
    if trusted:
        yield ok("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC, synchronized")
        return
    source = machine.runs("systemd-timesyn", "chronyd", "ntpd")
    todo = f"wait, or ask {source} why (`timedatectl timesync-status`)" if source else (
        'install systemd-timesyncd or chrony; without a network use a clock with a battery and trust = "always"'
    )  # fmt: skip
    yield warn("clock", "not synchronized: sessions run, invoices wait until the time is known", todo)
    if not any((machine.root / "sys/class/rtc").glob("rtc*")):
        yield warn(
            "clock battery", "no real-time clock", "after a power cut the time is wrong until NTP answers"
        )


def _sells_by_time_only(config: Config) -> bool:
    """Whether the price in the file needs a time, and none stands in for it; a file that cannot be read is told of by
    `config check`.
    """
    with contextlib.suppress(ConfigError):
        return config.fallback_file is None and depends_on_time(inventory.load_tariff(config).tariff)
    return False


def _journal_time(database: Path) -> datetime | None:
    """The latest time that the journal knows; without any, that of its newest entry, by the clock of then."""
    with contextlib.suppress(StoreError, ValueError, TypeError), translated("read", database):
        db = open_reader(database)
        try:
            row = db.execute("SELECT raw FROM entry ORDER BY id DESC LIMIT 1").fetchone()
            known = recall(db).known()
        finally:
            db.close()
        if known is not None:
            return known
        if row is not None:
            return open_envelope(bytes(row[0])).time
    return None


def disk(config: Config, who: Account) -> Iterator[Finding]:
    """Room, rights and speed where the ledger lies."""
    folder = config.database.parent
    what = f"disk {folder}"
    if not folder.is_dir():
        yield fail(
            what, "the folder does not exist", "`systemd-tmpfiles --create` makes it, or `scripts/install`"
        )
        return
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        yield fail(
            what,
            "the file system is read-only",
            "`dmesg` says why: usually an SD card at its end; back up the ledger, replace the card",
        )
        return
    if not may(who, folder, write=True):
        yield fail(
            what, f"{who.name} may not write here", f"chown {who.name}: {folder} && chmod 700 {folder}"
        )
        return
    free = shutil.disk_usage(folder).free
    room = f"{free / _MB:,.0f} MB free"
    if free < _FREE_FAIL:
        yield fail(what, room, "free some space: the till stops selling when it cannot write")
    elif free < _FREE_WARN:
        yield warn(what, room, "free some space: logs and old backups first")
    else:
        yield ok(what, room)
    yield _speed(folder)


def _speed(folder: Path) -> Finding:
    what = f"disk {folder}: fsync"
    times = []
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            for _ in range(_FSYNC_TRIES):
                file.write(bytes(4096))
                file.flush()
                began = time.monotonic()
                os.fsync(file.fileno())
                times.append(time.monotonic() - began)
    except OSError as e:
        return fail(what, str(e.strerror), "check the rights of the folder, the mount and the SD card")
    median_s = statistics.median(times)
    found = f"{1000 * median_s:.1f} ms"
    todo = "the card is worn out, or too slow: use an industrial card or eMMC"
    if median_s > _FSYNC_FAIL_S:
        return fail(what, found, todo)
    return warn(what, found, todo) if median_s > _FSYNC_WARN_S else ok(what, found)


def power(machine: Machine) -> Iterator[Finding]:
    """Under-voltage, where the computer can tell (Raspberry Pi)."""
    text = machine.text(_THROTTLED)
    if text is None:
        return
    with contextlib.suppress(ValueError):
        bits = int(text, 16)
        if bits & _UNDERVOLTAGE_NOW:
            yield fail("power", "under-voltage now", "use a stronger 5 V supply and a shorter cable")
        elif bits & _UNDERVOLTAGE_SEEN:
            yield warn("power", "under-voltage since boot", "use a stronger 5 V supply and a shorter cable")
        else:
            yield ok("power", "the supply holds")


def services(config: Config, machine: Machine) -> Iterator[Finding]:
    """What else runs here and takes devices away, and what has to run."""
    ports = [str(getattr(d.options, "port", "")) for e in config.evses for d in (e.meter, e.charge_point)]
    if any(p.startswith("/dev/") for p in ports) and config.lab is None:
        thief = machine.runs("ModemManager", "brltty")
        if thief is not None:
            yield warn(
                "serial adapters",
                f"{thief} runs: it opens serial adapters when they are plugged in",
                f"apt-get purge {thief.lower()} (systemd/60-chargetill.rules keeps ModemManager away)",
            )
    kinds = {r.name for r in config.readers}
    if "nfc" in kinds:
        yield from _kernel(machine)
    if "pcsc" in kinds:
        yield from _pcscd(machine)


def _kernel(machine: Machine) -> Iterator[Finding]:
    taken = sorted(machine.modules() & {"pn533_usb", "pn533", "port100"})
    if taken:
        yield fail(
            "kernel modules",
            f"{', '.join(taken)} took the reader",
            f"rmmod {' '.join(taken)}; systemd/chargetill-modprobe.conf keeps them out for good",
        )
    if machine.runs("pcscd"):
        yield warn(
            "pcscd",
            "runs beside a reader that nfcpy drives; both cannot share one",
            "systemctl disable --now pcscd.socket, or use the driver pcsc",
        )


def _pcscd(machine: Machine) -> Iterator[Finding]:
    if not (machine.root / "run/pcscd/pcscd.comm").exists():
        yield fail("pcscd", "not running", "apt-get install pcscd && systemctl enable --now pcscd.socket")
    if (machine.root / "usr/share/polkit-1/actions/org.debian.pcsc-lite.policy").exists() and not any(
        (machine.root / "etc/polkit-1/rules.d").glob("*chargetill*")
    ):
        yield fail(
            "polkit",
            "no rule lets the service use the reader",
            "install systemd/50-chargetill-pcscd.rules to /etc/polkit-1/rules.d/",
        )


def unit(machine: Machine) -> Iterator[Finding]:
    """How systemd sees the daemon."""
    if not (machine.root / "run/systemd/system").is_dir():
        yield warn("systemd", "does not run here", "nothing starts the till again when it fails")
        return
    found = _show()
    if found is None:
        yield warn("systemd", "does not answer", "`systemctl status chargetill`")
        return
    if found.get("LoadState") != "loaded":
        yield warn(UNIT, "not installed", "`scripts/install` puts it there")
        return
    state, restarts = found.get("ActiveState", ""), found.get("NRestarts", "0")
    if state != "active":
        yield fail(UNIT, f"{state}, {found.get('Result', '')}", "`journalctl -u chargetill -n 50` says why")
    elif restarts not in {"", "0"}:
        yield warn(
            UNIT, f"active after {restarts} restarts", "`journalctl -u chargetill -p warning` says why"
        )
    else:
        yield ok(UNIT, "active")
    if found.get("WatchdogUSec", "0") in {"", "0", "infinity"}:
        yield fail(f"{UNIT} watchdog", "off", "a till that hangs would stay so: use the unit as shipped")
    if found.get("UnitFileState") != "enabled":
        yield warn(UNIT, "not enabled", "systemctl enable chargetill: nobody starts it after a power cut")


def _show() -> dict[str, str] | None:
    properties = "LoadState,ActiveState,Result,NRestarts,WatchdogUSec,UnitFileState"
    try:
        done = subprocess.run(  # noqa: S603
            ["systemctl", "show", UNIT, f"--property={properties}"],  # noqa: S607  (as PATH has it)
            capture_output=True,
            text=True,
            timeout=_SYSTEMCTL_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
