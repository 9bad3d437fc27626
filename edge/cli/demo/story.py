"""Stories: what happens at the charger, and how it has to end. One TOML file that a driver and an accountant can read.

name = "Power cut while charging: nothing lost, nothing billed twice"
tariff = "0.49/kWh, VAT 19 %"
when = [
{ at_s = 0, tap = "card A" },
{ at_s = 10, plug = "car that takes 11 kW" },
{ at_s = 1200, cut_power_for_s = 180 },
{ at_s = 2400, unplug = true },
]
[then]
sessions = 1
energy = "meter end minus meter begin"
invoices = 1
back_office = "has the same invoice"
ledger = "verifies"
"""

from __future__ import annotations

import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge import strict
from edge.domain.plan import load_plan
from edge.errors import CallError
from hw.virtual.world import LAB, MeterKind, TerminalFault

#: A story lasts a day at most (virtual seconds), so that no typing error makes a demo run for ever.
_AT_MAX_S = 86_400

#: Faster than this, what a busy computer needs for a tap becomes minutes of the story.
_PACE_MIN, _PACE_MAX, _PLAY_S = 60, 120, 30

_Seconds = Annotated[int, Meta(ge=0, le=_AT_MAX_S)]


class StoryInvalid(CallError):
    code = "story.invalid"
    hint = "edge/cli/demo/README.md shows what a story may say"


class Scene(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that happens `at_s` virtual seconds after the charger is ready; exactly one of the others is set."""

    at_s: _Seconds
    tap: (
        Literal[
            "card A",
            "card B",
            "card C",
            "sun card",
            "stranger",
            "phone",
            "bank card",
            "phone wallet",
            "declined card",
            "lab card",
            "lab mastercard",
            "lab phone",
        ]
        | None
    ) = None
    plug: str | Literal[True] | None = None
    unplug: Literal[True] | None = None
    suspend: bool | None = None
    cut_power_for_s: _Seconds | None = None
    cut_network_for_s: _Seconds | None = None
    kill_daemon_for_s: _Seconds | None = None
    stop_daemon_for_s: _Seconds | None = None
    meter_silent_for_s: _Seconds | None = None
    terminal: TerminalFault | None = None
    cut_power_in_capture_for_s: _Seconds | None = None

    def __post_init__(self) -> None:
        happens = [n for n in self.__struct_fields__ if n != "at_s" and getattr(self, n) is not None]
        if len(happens) != 1:
            raise ValueError(f"at_s = {self.at_s}: exactly one thing happens in a scene, not {len(happens)}")


class Then(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How it has to end. What is left out is not checked beyond what every story has to hold."""

    sessions: int | None = None
    invoices: int | None = None
    energy: Literal["meter end minus meter begin"] = "meter end minus meter begin"
    back_office: Literal["has the same invoice", "has the same invoices"] = "has the same invoices"
    ledger: Literal["verifies"] = "verifies"


class Story(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`tariff` is in short words, or a whole OCPI tariff as a table. `plan` is that of card A, as a table.
    `meter` chooses one that signs (`em580`, `wm3m4`, `bsm`).

    `speed` is virtual seconds per second; without it a story of an hour passes within about half a minute.
    """

    name: str
    tariff: str | dict[str, Any] = "0.49/kWh, VAT 19 %"
    plan: dict[str, Any] | None = None
    meter: MeterKind = "eastron_sdm630"
    hold_minor: Annotated[int, Meta(ge=1, le=1_000_000)] = 6000
    speed: Annotated[int, Meta(ge=1, le=200)] | None = None
    when: tuple[Scene, ...]
    then: Then = Then()

    @property
    def lab(self) -> bool:
        """Whether bank cards pay at the plain reader."""
        return any(scene.tap in LAB for scene in self.when)

    @property
    def pace(self) -> int:
        """The speed that it is played at."""
        if self.speed is not None:
            return self.speed
        length_s = max((scene.at_s for scene in self.when), default=0)
        return min(_PACE_MAX, max(_PACE_MIN, length_s // _PLAY_S))


def load(path: Path) -> Story:
    """The story in a file. Raises StoryInvalid with everything that is wrong in it."""
    try:
        table = tomllib.loads(path.read_text())
    except OSError as e:
        raise StoryInvalid(f"{path}: {e.strerror}") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise StoryInvalid(f"{path}: {e}") from e
    story, problems = strict.decode(Story, table)
    if story is None:
        raise StoryInvalid(f"{path}: " + "; ".join(problems))
    for scene in story.when:
        if isinstance(scene.plug, str):
            car(scene.plug)
    tariff(story)
    if story.plan is not None:
        try:
            load_plan(story.plan)
        except CallError as e:
            raise StoryInvalid(f"{path}: {e.message}") from e
    return story


_POWER = re.compile(r"(\d+(?:\.\d+)?)\s*kW\b(?!h)")
_WANTS = re.compile(r"(\d+(?:\.\d+)?)\s*kWh\b")


def car(words: str | Literal[True]) -> tuple[int, int | None]:
    """`car that takes 11 kW`, `car that takes 3.7 kW and wants 2 kWh`: power in W, wish in Wh or None."""
    if words is True:
        return 11_000, None
    power = _POWER.search(words)
    if power is None:
        raise StoryInvalid(f"plug = {words!r}: say how much power the car takes, such as `11 kW`")
    wants = _WANTS.search(words)
    return int(Decimal(power[1]) * 1000), None if wants is None else int(Decimal(wants[1]) * 1000)


_PRICE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(kWh|min|h|session)|(plus )?VAT\s*(\d+(?:\.\d+)?)\s*%")


def tariff(story: Story) -> dict[str, Any]:
    """The story's tariff as an OCPI document: `0.49/kWh, 0.05/min, 0.35/session, VAT 19 %`.

    Prices are what a driver pays, VAT included, unless it says `plus VAT 19 %`.
    """
    if isinstance(story.tariff, dict):
        return story.tariff
    vat: Decimal | None = None
    included = True
    components: list[dict[str, Any]] = []
    for part in story.tariff.split(","):
        found = _PRICE.fullmatch(part.strip())
        if found is None:
            raise StoryInvalid(
                f"tariff: {part.strip()!r} is not a price",
                hint="such as `0.49/kWh, 0.05/min, 0.35/session, VAT 19 %`",
            )
        if found[4] is not None:
            vat, included = Decimal(found[4]), found[3] is None
            continue
        price, unit = Decimal(found[1]), found[2]
        kind = {"kWh": "ENERGY", "min": "TIME", "h": "TIME", "session": "FLAT"}[unit]
        components.append({"type": kind, "price": price * 60 if unit == "min" else price, "step_size": 1})
    for component in components:
        if vat is not None:
            component["vat"] = vat
    return {
        "country_code": "DE",
        "party_id": "CHT",
        "id": "DEMO",
        "currency": "EUR",
        "tax_included": ("YES" if included else "NO") if vat is not None else "N/A",
        "elements": [{"price_components": components}],
        "last_updated": "2026-01-01T00:00:00Z",
    }


BUILT_IN = Story(
    name="Members, a bank card, a phone, and all that can go wrong with them",
    tariff="0.49/kWh, 0.35/session, VAT 19 %",
    when=(
        Scene(at_s=0, tap="card C"),
        Scene(at_s=15, tap="card A"),
        Scene(at_s=30, plug="car that takes 11 kW"),
        Scene(at_s=240, tap="stranger"),
        Scene(at_s=300, tap="card A"),
        Scene(at_s=315, unplug=True),
        Scene(at_s=330, cut_network_for_s=300),
        Scene(at_s=345, plug="car that takes 3.7 kW"),
        Scene(at_s=360, tap="card B"),
        Scene(at_s=600, unplug=True),
        Scene(at_s=660, tap="card A"),
        Scene(at_s=675, plug="car that takes 11 kW"),
        Scene(at_s=850, cut_power_for_s=120),
        Scene(at_s=1150, unplug=True),
        # the terminal: declined, a lost reply that proves to be a yes, a phone, a power cut in the capture
        Scene(at_s=1240, tap="declined card"),
        Scene(at_s=1360, terminal="loses the reply to a reservation"),
        Scene(at_s=1365, plug="car that takes 11 kW"),
        Scene(at_s=1380, tap="bank card"),
        Scene(at_s=1700, tap="bank card"),
        Scene(at_s=1760, unplug=True),
        Scene(at_s=1840, plug="car that takes 11 kW"),
        Scene(at_s=1860, tap="phone wallet"),
        Scene(at_s=2160, cut_power_in_capture_for_s=120),
    ),
    then=Then(sessions=6, invoices=5),
)
