"""A device's journal as bytes, and the books that take it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.backoffice.books import Books
from edge.domain.instant import Instant
from edge.domain.ledger.envelope import Entry, Head, wrap
from edge.domain.ledger.facts import (
    CaptureRequested,
    DeviceStopped,
    Fact,
    LedgerCheckpoint,
    LedgerOpened,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentRequested,
)
from edge.domain.ledger.signature import checkpoint_message
from edge.store.keys import LedgerKey, load_or_make

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


class Journal:
    """Entries of one epoch, written without a database."""

    def __init__(
        self, key: LedgerKey, *, epoch: str = "EPOCH1", site: str = "s1", device: str = "d1"
    ) -> None:
        self.key, self.site, self.device = key, site, device
        self.head = Head(epoch=epoch)
        self.entries: list[Entry] = []
        self.add(
            LedgerOpened(
                site=site,
                device=device,
                reason="provisioned",
                key_id=key.key_id,
                public_key=key.public_hex,
            )
        )

    def add(self, *facts: Fact) -> None:
        for fact in facts:
            at = Instant(utc=NOON, boot_id="boot-1", monotonic_ns=len(self.entries))
            source = f"/till/{self.site}/{self.device}"
            entry = wrap(fact, head=self.head, at=at, source=source, key_id=self.key.key_id)
            self.entries.append(entry)
            self.head = Head(epoch=entry.epoch, seq=entry.seq, hash=entry.hash)

    def fill(self, count: int) -> None:
        self.add(*(DeviceStopped(reason=f"entry {n}") for n in range(count)))

    def sign(self) -> None:
        head = self.head
        message = checkpoint_message(epoch=head.epoch, upto=head.seq, head=head.hash)
        self.add(LedgerCheckpoint(upto=head.seq, head=head.hash, signature=self.key.sign(message)))

    def pay(self, session_id: str, ref: str, amount_minor: int) -> None:
        self.add(
            PaymentRequested(
                session_id=session_id, payment_ref=ref, method="account", amount_minor=5000, currency="EUR"
            ),
            PaymentAuthorized(session_id=session_id, payment_ref=ref, hold_minor=5000),
            CaptureRequested(session_id=session_id, payment_ref=ref, amount_minor=amount_minor),
            PaymentCaptured(session_id=session_id, payment_ref=ref, amount_minor=amount_minor),
        )

    @property
    def raws(self) -> list[bytes]:
        return [entry.raw for entry in self.entries]


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> LedgerKey:
    return load_or_make(tmp_path_factory.mktemp("key") / "ledger.key")


@pytest.fixture
def journal(key: LedgerKey) -> Journal:
    return Journal(key)


@pytest.fixture
def make_journal(key: LedgerKey) -> Callable[..., Journal]:
    return lambda **named: Journal(key, **named)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "books.db"


@pytest.fixture
def books(database: Path) -> Iterator[Books]:
    opened = Books(database)
    yield opened
    opened.close()


@pytest.fixture
def filled() -> Callable[..., Any]:
    """A fact with the fields that a test is about; the others get the simplest value of their type."""

    def simplest(kind: msgspec.inspect.Type) -> Any:
        match kind:
            case msgspec.inspect.NoneType():
                return None
            case msgspec.inspect.UnionType(types=types):
                return None if kind.includes_none else simplest(types[0])
            case msgspec.inspect.LiteralType(values=values):
                return values[0]
            case msgspec.inspect.StrType():
                return "x"
            case msgspec.inspect.BoolType():
                return False
            case msgspec.inspect.IntType():
                return 1
            case msgspec.inspect.DateTimeType():
                return NOON
            case msgspec.inspect.StructType(cls=cls):
                return fill(cls)
        raise NotImplementedError(kind)

    def fill(cls: type, **given: Any) -> Any:
        info = msgspec.inspect.type_info(cls)
        assert isinstance(info, msgspec.inspect.StructType)
        rest = {f.name: simplest(f.type) for f in info.fields if f.required and f.name not in given}
        return cls(**given, **rest)

    return fill
