"""What a way to pay remembers of its payments, kept in the journal with everything else."""

from __future__ import annotations

from edge.domain.ledger.facts import PaymentNoted
from edge.domain.payment import Method, OpenPayment
from edge.errors import LedgerError
from edge.ports import Clock
from edge.store import payments
from edge.store.store import Store
from edge.store.transaction import Tx

#: What a note may hold: a few numbers and their names. Whatever is longer is no name of a hold.
_HANDLE_MAX = 2000


class StoredPayments:
    """Implements edge.ports.PaymentJournal on the till's own store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def note(self, ref: str, handle: str) -> None:
        if len(handle) > _HANDLE_MAX:
            raise ValueError(f"a note of {len(handle)} characters; {_HANDLE_MAX} are the most")
        at = self._clock.now()

        def kept(tx: Tx) -> None:
            session_id = payments.session_of(tx.connection, ref)
            if session_id is None:
                raise LedgerError(f"payment {ref} was never requested")
            tx.append(PaymentNoted(session_id=session_id, payment_ref=ref, handle=handle), at)

        await self._store.tx(kept)

    async def find(self, ref: str) -> OpenPayment | None:
        return await self._store.tx(lambda tx: payments.find_open(tx.connection, ref))

    async def noted(self, ref: str) -> str | None:
        return await self._store.tx(lambda tx: payments.noted(tx.connection, ref))

    async def open(self, method: Method) -> tuple[OpenPayment, ...]:
        return await self._store.tx(lambda tx: payments.list_open(tx.connection, method))
