"""What a step may rely on beside state and event: the frozen price, the seller, and the limits of the house."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

import msgspec

from edge.domain.buyer import ZeroTax
from edge.domain.invoice import Place, Seller
from edge.domain.payment import Method
from edge.domain.plan import FrozenPlan, PlanBalance
from edge.domain.pricing import CompiledTariff
from edge.domain.tariffs import EvseKind
from edge.domain.view import PriceLine


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits in seconds, with why each is what it is. The section `[session]` of the configuration."""

    #: From the tap to the answer of whoever holds the money: a PIN, a network and a look into the books fit in.
    answer_timeout_s: Annotated[int, msgspec.Meta(ge=30, le=600)] = 120
    #: From the accepted card to the cable; a hold that nobody uses is given back after it.
    plug_timeout_s: Annotated[int, msgspec.Meta(ge=30, le=1800)] = 300
    #: From the cable to the confirmed begin reading, before the session is given up.
    prepare_timeout_s: Annotated[int, msgspec.Meta(ge=5, le=300)] = 60
    #: A reading older than this opens the contactor: a time-out, a quarantine and two retries fit in.
    stale_s: Annotated[int, msgspec.Meta(ge=3, le=60)] = 10
    #: A meter that stays silent longer ends the session at its last good value.
    silence_max_s: Annotated[int, msgspec.Meta(ge=10, le=3600)] = 120
    #: Between two commits of a running session; SD cards wear out, and time since the last is not billed.
    checkpoint_s: Annotated[int, msgspec.Meta(ge=10, le=3600)] = 900
    #: How much sooner than the hold is used up the session stops: contactor, tax and idle time still to come.
    tail_s: Annotated[int, msgspec.Meta(ge=0, le=600)] = 10
    #: A session interrupted for longer than this is closed instead of resumed; 0 never resumes.
    resume_max_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 3600
    #: How long vehicle, meter and clock may take to answer after a restart before the session is closed.
    resume_wait_s: Annotated[int, msgspec.Meta(ge=5, le=600)] = 90
    #: How long the screen shows the end of a session.
    show_end_s: Annotated[int, msgspec.Meta(ge=10, le=600)] = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is on sale now, to the member who taps; for a session, the tariff and plan frozen at its tap (I3).

    `price` is what the screen says now, by language; the first one is the invoice's. `balance` is what the account
    has left of the plan. `rated_power_w` is the most that the meter can measure, `own_power_w` what the station
    itself draws. `refusal` is a code that says why nothing new is sold, or None. `methods` are the ways to pay that
    are offered; a hold by one of `extending` may grow up to `hold_max_minor`. `receipt_url` is what a receipt's token
    is appended to; `zero_tax` why prices without tax have none. `fallback`: this tariff is sold because the time that
    another one needs is not known. `known_at`: while the clock is not trusted, the latest time that has certainly
    come.
    """

    tariff_hash: str
    tariff_document: str
    compiled: CompiledTariff
    price: Mapping[str, tuple[PriceLine, ...]]
    currency: str
    hold_minor: int
    seller: Seller
    place: Place
    clock_trusted: bool
    rated_power_w: int
    evse_kind: EvseKind
    own_power_w: int = 0
    plan: FrozenPlan | None = None
    balance: PlanBalance | None = None
    refusal: str | None = None
    methods: frozenset[Method] = frozenset({"account"})
    extending: frozenset[Method] = frozenset()
    hold_max_minor: int = 0
    receipt_url: str | None = None
    zero_tax: ZeroTax | None = None
    fallback: bool = False
    known_at: datetime | None = None
    rules: Rules = field(default_factory=Rules)

    @property
    def price_text(self) -> str:
        """The price as the screen shows it, on one line."""
        lines = next(iter(self.price.values()), ())
        return "; ".join(
            f"{line.label} {line.amount}" + (f" ({line.note})" if line.note else "") for line in lines
        )
