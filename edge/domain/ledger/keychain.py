"""The keys of one ledger: each names its successor, and everything that is signed is signed by the one in force.

A key that is given from elsewhere has to be one of them. What follows it has to be signed by it or by its successors;
what precedes it is covered by the chain that it signs.
"""

from __future__ import annotations

from collections.abc import Callable

from edge.domain.ledger import facts
from edge.domain.ledger.anchor import SignedAnchor, anchor_message
from edge.domain.ledger.envelope import Envelope
from edge.domain.ledger.signature import checkpoint_message, key_id_of, succession_message, verifies


class Keychain:
    """Feed it openings, successions and checkpoints in order. `say` takes each problem."""

    def __init__(self, say: Callable[[str], None], *, given: str | None = None) -> None:
        self._say = say
        self._given = given
        self._reached = False
        self._keys: dict[str, str] = {}
        self._current: str | None = None
        self._superseded: set[str] = set()

    @property
    def current(self) -> str | None:
        """The public key in force, hex."""
        return None if self._current is None else self._keys[self._current]

    def opened(self, where: str, fact: facts.LedgerOpened) -> None:
        """An epoch begins with the key in force, or with a new one where the device lost its key."""
        if not self._is_named(where, fact.key_id, fact.public_key):
            return
        known = fact.key_id in self._keys
        if self._reached and not known:
            self._say(
                f"{where}: the epoch is signed by another key than the given one, which did not name it"
            )
        if fact.key_id in self._superseded:
            self._say(f"{where}: the epoch is signed by key {fact.key_id}, which has a successor")
        self._enter(fact.key_id, fact.public_key)

    def succeeded(self, where: str, envelope: Envelope, fact: facts.LedgerKeySucceeded) -> None:
        """The key in force names the next one."""
        if not self._is_named(where, fact.key_id, fact.public_key):
            return
        message = succession_message(
            epoch=envelope.epoch, seq=int(envelope.seq), key_id=envelope.keyid, public_key=fact.public_key
        )
        current = self.current
        if current is None or not verifies(current, fact.signature, message):
            self._say(f"{where}: the new key is not signed by the one before it")
            return
        if self._current is not None:
            self._superseded.add(self._current)
        self._enter(fact.key_id, fact.public_key)

    def names(self, where: str, envelope: Envelope) -> None:
        """Every entry names the key in force."""
        if self._current is not None and envelope.keyid != self._current:
            self._say(f"{where}: names key {envelope.keyid}, in force is {self._current}")

    def checkpoint(self, where: str, envelope: Envelope, fact: facts.LedgerCheckpoint) -> None:
        """A checkpoint signs exactly what stands before it."""
        key = self._keys.get(envelope.keyid)
        message = checkpoint_message(epoch=envelope.epoch, upto=fact.upto, head=fact.head)
        if key is None:
            self._say(f"{where}: signed by key {envelope.keyid}, which is not known")
        elif not verifies(key, fact.signature, message):
            self._say(f"{where}: the signature is not valid")
        if fact.upto != int(envelope.seq) - 1 or fact.head != envelope.prevhash:
            self._say(f"{where}: signs another chain than the one before it")

    def anchor(self, signed: SignedAnchor) -> None:
        """After the last entry: an anchor may be signed by a key that came into force later than its place."""
        key = self._keys.get(signed.key_id)
        if key is None:
            self._say(f"anchor: signed by key {signed.key_id}, which is not known")
        elif not verifies(key, signed.signature, anchor_message(signed.data)):
            self._say("anchor: the signature is not valid")

    def report(self) -> None:
        """After the last entry."""
        if self._given is not None and not self._reached:
            self._say(
                "the ledger is signed by another key than the given one: no signature is the given key's"
            )

    def _is_named(self, where: str, key_id: str, public_key: str) -> bool:
        try:
            named = key_id_of(public_key) == key_id
        except ValueError:
            named = False
        if not named:
            self._say(f"{where}: the public key is not the one that its id names")
        return named

    def _enter(self, key_id: str, public_key: str) -> None:
        self._keys[key_id] = public_key
        self._current = key_id
        self._reached = self._reached or public_key == self._given
