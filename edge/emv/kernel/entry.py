"""A tap from the first command on: EMV Contactless Book B (entry point), then kernel 2 or 3.

The conversation knows no reader: it yields commands and is sent answers; whoever carries it ends it when the card
leaves, at any command. Nothing that a card says raises: what EMV does not allow ends with EndApplication.

    talk = pay(terminal, purchase, keys)
    command = next(talk)
    while True:
        try:
            command = talk.send(await card.apdu(command))
        except StopIteration as end:
            return end.value
"""

from __future__ import annotations

from collections.abc import Generator

from edge.emv import apdu
from edge.emv.errors import CardDataInvalid
from edge.emv.kernel import three, two
from edge.emv.kernel.answers import add_options
from edge.emv.kernel.outcome import (
    CardRead,
    EndApplication,
    Outcome,
    SelectNext,
    TryAnotherInterface,
    Why,
)
from edge.emv.kernel.reading import Taken, card_of, processing_options, read_records, take
from edge.emv.kernel.selection import PPSE, Candidate, candidates
from edge.emv.kernel.terminal import Application, Purchase, Terminal
from edge.emv.objects import Objects
from edge.emv.oda.keys import CaKeys
from edge.errors import InputError


def pay(terminal: Terminal, purchase: Purchase, keys: CaKeys) -> Generator[bytes, bytes, Outcome]:
    """One purchase with the card in the field. `keys` as CaKeys.for_payment gives them."""
    answer = yield apdu.select(PPSE)
    try:
        found, last = _directory(answer, terminal, purchase)
    except InputError as e:
        return EndApplication(why="card_data", detail=e.message)
    for chosen in found:
        try:
            taken = yield from _select(chosen, terminal, purchase, keys)
            if isinstance(taken, SelectNext):
                last = taken
                continue
            run = two.run if chosen.application.kernel == 2 else three.run
            outcome = yield from run(taken)
        except InputError as e:
            return EndApplication(why="card_data", detail=e.message)
        if not isinstance(outcome, SelectNext):
            return outcome
        last = outcome
    if last.why == "limit" and terminal.other_interface:
        return TryAnotherInterface(why=last.why)
    return EndApplication(why=last.why, detail=last.detail)


def identify(terminal: Terminal, purchase: Purchase) -> Generator[bytes, bytes, CardRead | EndApplication]:
    """Who the card is, and no more: nothing is asked of the issuer, nothing is proven. Ends as soon as it is known.

    `purchase` should be the same kind of amount at each tap: a card may show other records for another one.
    """
    answer = yield apdu.select(PPSE)
    why: Why = "no_payment_card"
    try:
        found, _ = _directory(answer, terminal, None)
        for chosen in found:
            taken = yield from _select(chosen, terminal, purchase, CaKeys(()))
            if isinstance(taken, SelectNext):
                continue
            options = yield from processing_options(taken)
            if options.sw != apdu.OK:
                why = "not_accepted"
                continue
            add_options(options.data, taken.objects)
            if taken.objects.get("94"):
                yield from read_records(taken, until=_is_known)
            return card_of(taken)
    except InputError as e:
        return EndApplication(why="card_data", detail=e.message)
    return EndApplication(why=why)


def _is_known(objects: Objects) -> bool:
    """A payment account reference is the best name; there is nothing to gain from records after it."""
    return "9F24" in objects and ("57" in objects or {"5A", "5F24"} <= set(objects.values()))


def _directory(
    answer: bytes, terminal: Terminal, purchase: Purchase | None
) -> tuple[tuple[Candidate, ...], SelectNext]:
    """What may be tried, and why nothing was if it is nothing. Raises CardDataInvalid, TlvError."""
    directory = apdu.read_short(answer)
    if directory.sw != apdu.OK:
        return (), SelectNext(why="no_payment_card", detail=f"no directory: {directory.sw:04X}")
    listed = candidates(directory.data, terminal.applications)
    allowed = tuple(each for each in listed if purchase is None or _is_within(each.application, purchase))
    return allowed, SelectNext(why="limit" if listed and not allowed else "no_payment_card")


def _is_within(application: Application, purchase: Purchase) -> bool:
    """Kernel 3 refuses by amount before the card is spoken to (Book B, 3.1.1); kernel 2 once it knows the card."""
    limit = application.transaction_limit_minor
    return application.kernel == 2 or limit is None or purchase.amount_minor < limit


def _select(
    chosen: Candidate, terminal: Terminal, purchase: Purchase, keys: CaKeys
) -> Generator[bytes, bytes, Taken | SelectNext]:
    """Selects an application; one that answers with what is none is passed over (Book B, 3.3.3)."""
    answer = apdu.read_short((yield apdu.select(chosen.name + chosen.extended)))
    if answer.sw != apdu.OK:
        return SelectNext(why="not_accepted", detail=f"selection: {answer.sw:04X}")
    try:
        return take(answer.data, chosen, terminal, purchase, keys)
    except CardDataInvalid as e:
        return SelectNext(why="not_accepted", detail=e.message)
