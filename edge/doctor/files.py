"""The database, and the keys and certificates on disk."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from edge import inventory
from edge.config import Config
from edge.doctor.finding import Finding, fail, ok, warn
from edge.doctor.machine import Account, Holder, Machine, may
from edge.errors import StoreError, TillError
from edge.store.connection import open_reader, translated
from edge.store.keys import load_or_make
from edge.sync.options import TlsOptions, UplinkOptions

#: Time enough to order a new certificate and to drive there.
_EXPIRES_SOON: Final = timedelta(days=30)


def daemon(config: Config, machine: Machine) -> Holder | None:
    """The till that runs on this database, by the lock that it holds."""
    return machine.holder(config.database.with_name(config.database.name + ".lock"))


def database(config: Config, who: Account) -> Iterator[Finding]:
    """Is the ledger's file whole, and can the service use it?"""
    path, what = config.database, f"database {config.database}"
    if not path.exists():
        yield ok(what, "none yet: the first start makes it")
        return
    if not may(who, path, write=True):
        yield fail(what, f"{who.name} may not write it", f"chown {who.name}: {path}*")
    if path.stat().st_mode & 0o077:
        yield warn(what, "readable by others: it says who charged where", f"chmod 600 {path}")
    try:
        db = open_reader(path)
        try:
            with translated("read", path):
                (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
                (mode,) = db.execute("PRAGMA journal_mode").fetchone()
        finally:
            db.close()
    except StoreError as e:
        yield fail(what, e.message, e.hint)
        return
    if found != "ok":
        yield fail(
            what,
            f"damaged: {str(found).splitlines()[0]}",
            "keep the file, `chargetill ledger restore` a backup",
        )
    elif mode != "wal":
        yield fail(
            what,
            f"journal mode {mode} instead of wal",
            "who changed it? Start the till once: it sets WAL again",
        )
    else:
        yield ok(what, "whole, write-ahead log on; `chargetill ledger verify` checks the books in it")


def keys(config: Config, who: Account, now: datetime) -> Iterator[Finding]:
    """The ledger's key, the operator's, the cards', and those of [mqtt.tls]."""
    if config.key.exists():
        yield _checked(f"ledger key {config.key}", who, config.key, lambda: load_or_make(config.key))
    else:
        yield ok(f"ledger key {config.key}", "none yet: `chargetill provision` or the first start makes it")
    yield _checked(
        f"operator's key {config.members_key_file}",
        who,
        config.members_key_file,
        lambda: inventory.load_operator_key(config.members_key_file),
    )
    if config.sun_keys_file is not None:
        path = config.sun_keys_file
        yield _checked(f"card keys {path}", who, path, lambda: inventory.load_sun_keys(path))
    tls = cast("UplinkOptions", config.mqtt).tls if config.mqtt is not None else None
    if tls is not None:
        yield from certificates(tls, who, now)


def _checked(what: str, who: Account, path: Path, load: Callable[[], object]) -> Finding:
    try:
        load()
    except TillError as e:
        return fail(what, e.message, e.hint)
    if not may(who, path):
        return fail(what, f"{who.name} may not read it", f"chown {who.name}: {path} && chmod 600 {path}")
    return ok(what, "usable, for its owner only")


def certificates(tls: TlsOptions, who: Account, now: datetime) -> Iterator[Finding]:
    """Dates of the CA and of our certificate, and that our key is its key."""
    for name, file in (("CA", tls.ca), ("certificate", tls.cert)):
        if file is not None:
            yield _dated(f"{name} {file}", Path(file), who, now)
    if tls.key is None or tls.cert is None:
        return
    path = Path(tls.key)
    what = f"TLS key {path}"
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
        ours = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (OSError, ValueError, TypeError) as e:
        yield fail(what, _short(e), "`chargetill provision` makes it, on the device")
        return
    known = "usable, and no certificate is there for it"
    with contextlib.suppress(OSError, ValueError):
        theirs = x509.load_pem_x509_certificate(Path(tls.cert).read_bytes()).public_key()
        known = "belongs to the certificate"
        if theirs.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != ours:
            yield fail(
                what, f"not the key of {tls.cert}", "enroll again: `backoffice device enroll --request F`"
            )
            return
    if path.stat().st_mode & 0o077:
        yield fail(what, "readable by others", f"chmod 600 {path}")
    elif not may(who, path):
        yield fail(what, f"{who.name} may not read it", f"chown {who.name}: {path}")
    else:
        yield ok(what, f"{known}, for its owner only")


def _dated(what: str, path: Path, who: Account, now: datetime) -> Finding:
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as e:
        return fail(what, _short(e), "the back office hands it out: `backoffice device enroll`")
    if not may(who, path):
        return fail(what, f"{who.name} may not read it", f"chmod 644 {path}, and x for its folder")
    return dated(what, found, now)


def dated(what: str, certificate: x509.Certificate, now: datetime) -> Finding:
    """A certificate against the time."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begins:
        return fail(
            what,
            f"valid from {begins:%Y-%m-%d} on, and it is {now:%Y-%m-%d} here",
            "this clock is behind: set the time first",
        )
    if now > ends:
        return fail(what, f"expired on {ends:%Y-%m-%d}", "`chargetill provision --renew`, then enroll again")
    days = (ends - now).days
    if ends - now < _EXPIRES_SOON:
        return warn(what, f"expires in {days} day(s)", "`chargetill provision --renew`, then enroll again")
    return ok(what, f"valid until {ends:%Y-%m-%d} ({days} days)")


def _short(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or "not in PEM form"
