"""From answers to a till: keys, tariff, lists, configuration, and the request to the back office."""

from __future__ import annotations

import asyncio
import json
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from edge import __version__, inventory
from edge.domain.tariffs import freeze, require_lawful
from edge.errors import CallError, ConfigError
from edge.ports import Clock
from edge.provision import files, finding_meters, toml_text
from edge.provision.answers import Answers, EvseAnswers, TariffAnswers
from edge.provision.enrollment import check, request, tls_key
from edge.provision.orders_keys import orders_keys_of, with_orders_keys
from edge.provision.retire import lay_aside_handed_over
from edge.store.epochs import Owner
from edge.store.keys import load_or_make
from edge.store.reopening import reopen
from edge.sync.contract.enrollment import Enrolled
from edge.sync.contract.topics import peer
from hw.meters.scan import Found

#: What stands above each section, for whoever opens the file in a year.
_COMMENTS: Final = {
    "device": "Who this till is, and where it remembers.",
    "clock": 'Invoices wait until the kernel\'s clock is synchronized ("ntp"); "always" believes it as it is.',
    "seller": "Who sells, as every invoice says.",
    "site": "Where the charger stands.",
    "tariff": "What is on sale: an OCPI or OCPP tariff; `chargetill tariff lint` says what is wrong with it.",
    "tariff.hold_minor": "what one session may cost at most, in the smallest unit of the currency",
    "membership": "Who charges on account. The key is the operator's, the same on every charger.",
    "mqtt": "The way to the back office.",
    "kiosk": "The driver's screen, on this machine only.",
    "reader": "A card reader.",
    "terminal": "A payment terminal; captures are handed in once a day.",
    "evse": "One charging point: its meter and its charge point.",
}

#: The key of a renewal whose certificate is not there yet.
_NEXT_KEY: Final = "tls.next.key"

_MEMBERS: Final = """# [[member]]
# account = "A-1001"
# uid = "04A1B2C3D4E5F6"
# limit_minor = 6000
"""


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything goes."""

    config: Path
    state: Path

    def at(self, state: Path) -> Layout:
        """The same with another folder for what is remembered."""
        return Layout(config=self.config, state=state)

    @property
    def folder(self) -> Path:
        return self.config.parent

    def named(self, name: str) -> Path:
        return self.folder / name


class Provisioned(msgspec.Struct, frozen=True, kw_only=True):
    """What was made. `kept` is the copy of a configuration that was there before."""

    config: str
    enrollment: str | None
    ledger_public_key: str
    kept: str | None
    made_operator_key: bool


def provision(answers: Answers, layout: Layout, *, base: Path, clock: Clock, force: bool) -> Provisioned:
    """Make everything; the configuration comes last, and only if it passes `config check`.

    File names in the answers start at `base`. Keys that are there stay: a second call changes no identity.
    Raises Exists, NotWritten, ConfigError, HardwareError.
    """
    if layout.config.exists() and not force:
        raise files.Exists(f"{layout.config} exists")
    _seen(answers, base)
    evses = _evses(answers, clock)
    files.folder(layout.folder, mode=0o750, mine=False)
    files.folder(layout.state, mode=0o700, mine=True)
    ledger = load_or_make(layout.state / "ledger.key")
    files.give(layout.state / "ledger.key", whole=True)
    made = _operator_key(answers, layout, base)
    _members(answers, layout, base)
    files.write(layout.named("tariff.json"), _tariff_text(answers.tariff, base), mode=0o644)
    enrollment = None
    if answers.mqtt is not None and answers.mqtt.tls:
        enrollment = request_enrollment(answers.device.site, answers.device.name, layout)
    kept = files.set_aside(layout.config, force=force)
    _install(layout, config_text(answers, layout, evses))
    owner = Owner(site=answers.device.site, device=answers.device.name)
    lay_aside_handed_over(layout.state / "till.db", key_id=ledger.key_id)
    reopen(layout.state / "till.db", key=ledger, owner=owner, at=clock.now())
    return Provisioned(
        config=str(layout.config),
        enrollment=None if enrollment is None else str(enrollment),
        ledger_public_key=ledger.public_hex,
        kept=None if kept is None else str(kept),
        made_operator_key=made,
    )


def request_enrollment(site: str, device: str, layout: Layout, *, renewed: bool = False) -> Path:
    """The TLS key, made here, and the file that the back office enrolls this device with.

    A renewed key waits beside the one in use until the answer to it is taken in. Only the newest request counts.
    """
    who = peer(site, device)
    place = layout.named(_NEXT_KEY if renewed else "tls.key")
    layout.named(_NEXT_KEY).unlink(missing_ok=True)
    key = tls_key(place)
    files.give(place, whole=True)
    ledger = load_or_make(layout.state / "ledger.key")
    found = request(who, key, ledger, __version__)
    path = layout.named(f"enrollment-{site}.{device}.json")
    files.write(path, json.dumps(msgspec.to_builtins(found), indent=2) + "\n", mode=0o644)
    return path


class NotAnAnswer(CallError):
    code = "provision.answer"
    hint = "give the file that `backoffice device enroll` wrote"


class TakenIn(msgspec.Struct, frozen=True):
    """Where the certificates are now, and whose orders the device obeys from its next start on, if that was said."""

    ca: Path
    certificate: Path
    orders_keys: tuple[str, ...]


def take_in(answer: Path, site: str, device: str, layout: Layout) -> TakenIn:
    """The back office's answer: its CA and our certificate, if they fit our key.

    Raises NotAnAnswer, EnrollmentFailed.
    """
    try:
        enrolled = msgspec.json.decode(answer.read_bytes(), type=Enrolled)
    except (OSError, msgspec.DecodeError) as e:
        reason = (isinstance(e, OSError) and e.strerror) or e
        raise NotAnAnswer(f"{answer}: {reason}") from e
    key, following = layout.named("tls.key"), layout.named(_NEXT_KEY)
    if following.exists():
        check(enrolled, peer(site, device), following)
    else:
        check(enrolled, peer(site, device), key)
    if enrolled.orders_keys:
        text = layout.config.read_text(encoding="utf-8")
        if (obeying := with_orders_keys(text, enrolled.orders_keys)) != text:
            _install(layout, obeying)
    made = TakenIn(
        ca=layout.named("ca.pem"), certificate=layout.named("tls.pem"), orders_keys=enrolled.orders_keys
    )
    files.write(made.ca, enrolled.ca, mode=0o644)
    if following.exists():
        following.replace(key)
    files.write(made.certificate, enrolled.certificate, mode=0o644)
    return made


def config_text(answers: Answers, layout: Layout, evses: list[dict[str, Any]]) -> str:
    """The configuration, with a word above each section."""
    device: dict[str, Any] = msgspec.to_builtins(answers.device)
    table: dict[str, Any] = {
        "device": {
            **device,
            "database": str(layout.state / "till.db"),
            "key": str(layout.state / "ledger.key"),
        },
        "clock": msgspec.to_builtins(answers.clock),
        "seller": msgspec.to_builtins(answers.seller),
        "site": msgspec.to_builtins(answers.site),
        "tariff": {
            "file": "tariff.json",
            "hold_minor": answers.tariff.hold_minor,
            "profile": answers.tariff.profile,
        },
        "membership": {
            "list": "members.toml",
            "key": "operator.key",
            "key_id": answers.membership.key_id,
        },
    }
    if answers.mqtt is not None:
        obeyed = answers.mqtt.orders_keys or orders_keys_of(layout.config)
        table["mqtt"] = {"brokers": answers.mqtt.brokers, "orders_keys": obeyed or None}
        if answers.mqtt.tls:
            named = {"ca": "ca.pem", "cert": "tls.pem", "key": "tls.key"}
            table["mqtt"]["tls"] = {k: str(layout.named(v)) for k, v in named.items()}
    if answers.kiosk is not None:
        table["kiosk"] = answers.kiosk
    table["log"] = {"format": "journald"}
    if answers.reader:
        table["reader"] = answers.reader
    if answers.terminal:
        table["terminal"] = answers.terminal
    table["evse"] = evses
    head = f"# Written by `chargetill provision` on {datetime.now(UTC):%Y-%m-%d}; README.md has every key.\n"
    return head + toml_text.document(table, _COMMENTS)


def _install(layout: Layout, text: str) -> None:
    """Check the configuration where it will stand, then put it in its place. Raises ConfigError."""
    draft = layout.named(f".{layout.config.name}.draft")
    files.write(draft, text, mode=0o640)
    try:
        inventory.check(draft)
    except ConfigError as e:
        said = tuple(p.replace(str(draft), str(layout.config)) for p in e.problems)
        raise ConfigError(said, hint="correct the answers and try again; nothing was replaced") from e
    finally:
        draft.unlink(missing_ok=True)
    files.write(layout.config, text, mode=0o640)


def _seen(answers: Answers, base: Path) -> None:
    """Every file that the answers name is there, and the tariff may be sold: asked before anything is made."""
    problems = []
    for name, key in (
        (answers.membership.key_from, "membership.key_from"),
        (answers.membership.members_from, "membership.members_from"),
    ):
        if name is not None and not (base / name).is_file():
            problems.append(f"{key}: {base / name} is not there")
    try:
        frozen = freeze(_tariff_text(answers.tariff, base).encode())
        require_lawful(frozen.tariff, profile=answers.tariff.profile)
    except CallError as e:
        problems.append(f"tariff: {e.message}")
    if problems:
        raise ConfigError(tuple(problems), hint="correct the answers and try again")


def _tariff_text(answer: TariffAnswers, base: Path) -> str:
    """The tariff's document: as it is in its file, or one price per kWh as OCPI 2.2.1 has it."""
    if answer.file is not None:
        try:
            return (base / answer.file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as e:
            raise ConfigError((f"tariff.file: {base / answer.file}: {e}",)) from e
    assert answer.price_per_kwh is not None
    gross = format(answer.price_per_kwh.normalize(), "f")
    vat = format(answer.vat_percent.normalize(), "f")
    component = f'{{"type": "ENERGY", "price": {gross}, "vat": {vat}, "step_size": 1}}'
    return (
        '{"country_code": "XX", "party_id": "CHT", "id": "KWH", "currency": "' + answer.currency + '",\n'
        ' "tax_included": "YES",\n'
        f' "elements": [{{"price_components": [{component}]}}],\n'
        f' "last_updated": "{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}}\n'
    )


def _operator_key(answers: Answers, layout: Layout, base: Path) -> bool:
    """Copy the operator's key, keep the one that is here, or make the first one. True when it was made."""
    path, source = layout.named("operator.key"), answers.membership.key_from
    if source is not None:
        files.write(path, (base / source).read_text("ascii").strip() + "\n", mode=0o600, mine=True)
        return False
    if path.exists():
        return False
    files.write(path, secrets.token_hex(32) + "\n", mode=0o600, mine=True)
    return True


def _members(answers: Answers, layout: Layout, base: Path) -> None:
    path, source = layout.named("members.toml"), answers.membership.members_from
    if source is not None:
        files.write(path, (base / source).read_text("utf-8"), mode=0o640, mine=False)
    elif not path.exists():
        files.write(path, _MEMBERS, mode=0o640, mine=False)


def _evses(answers: Answers, clock: Clock) -> list[dict[str, Any]]:
    """The sections of the EVSEs, with meters looked for where the answers leave their model open."""
    open_ports = dict.fromkeys(
        str(e.meter.get("port", "")) for e in answers.evse if not {"profile", "driver"} & set(e.meter)
    )
    if "" in open_ports:
        raise ConfigError(("evse.meter.port: missing",), hint="name the line: /dev/meter0 or tcp://host:port")
    found = asyncio.run(_scan(list(open_ports), clock))
    taken: set[tuple[str, int]] = set()
    sections = []
    for evse in answers.evse:
        meter = evse.meter
        if "profile" in meter or "driver" in meter:
            meter = {"driver": "register", **meter}
        else:
            meter = finding_meters.complete(meter, found[str(meter["port"])], taken)
        sections.append(_section(evse, answers.device.name, meter))
    return sections


async def _scan(ports: list[str], clock: Clock) -> dict[str, list[Found]]:
    return {port: await finding_meters.meters_on(port, clock=clock) for port in ports}


def _section(evse: EvseAnswers, name: str, meter: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": evse.id.replace("{name}", name),
        "label": evse.label,
        "kind": evse.kind,
        "max_current_a": evse.max_current_a,
        "meter": meter,
        "charge_point": evse.charge_point,
    }
