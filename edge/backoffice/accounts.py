"""Accounts: one collective invoice a month for each member, and the fees of its plans, once (I4).

>>> accounts = Accounts(path, Billing(prefix="BO-{year}"))
>>> accounts.bill("2026-11", now)

What is billed stands in the same transaction as the number that bills it: a rerun finds nothing left to do, and a run
that dies goes on where it stopped. A session that arrives after its month was billed goes on the next invoice.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from edge.backoffice.account_books import AccountInvoiceUnknown, credit_notes, read_invoice
from edge.backoffice.catalog import Catalog, Holder
from edge.backoffice.schema import open_books
from edge.domain.buyer import BuyerRecord, ZeroTax
from edge.domain.collective import (
    BilledFee,
    BilledSession,
    Collective,
    CollectiveInvoice,
    fee,
    has_untaxed,
    taken_back,
    together,
)
from edge.domain.credit import amount_of, credit
from edge.domain.invoice import Correction, Seller, Statement
from edge.domain.plan import Fee, Plan
from edge.errors import CallError
from edge.store.connection import one_commit, translated

_MONTH = re.compile(r"^[0-9]{4}-(0[1-9]|1[0-2])$")


class Billing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section `[billing]` of the back office's configuration. Without a seller it is that of the sessions.

    `prefix` begins the numbers; with `BO-{year}` each year of issue has a series of its own. `terms` is what the
    invoice says of how it is paid.
    """

    seller: Seller | None = None
    prefix: Annotated[str, Meta(pattern=r"^[A-Z0-9]{1,8}(-\\{year\\})?$")] = "BO"
    time_zone: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    terms: Annotated[str, Meta(max_length=200)] = ""

    def __post_init__(self) -> None:
        if self.time_zone is not None:
            try:
                ZoneInfo(self.time_zone)
            except (KeyError, ValueError, OSError):
                raise ValueError(f"time_zone {self.time_zone!r} is no IANA time zone") from None


class MonthRefused(CallError):
    code = "account.month"


class SellerUnknown(CallError):
    code = "account.seller"
    hint = "name the seller in [billing] of the back office's configuration"


class TaxUnclear(CallError):
    code = "account.zero_tax"
    hint = (
        "sessions of one month without VAT need one reason: correct the member list, and bill them by month"
    )


class _Due(msgspec.Struct, frozen=True, kw_only=True):
    """What one account owes in one currency, and who it is."""

    account: str
    currency: str
    statements: tuple[_Stated, ...]
    fees: tuple[tuple[Plan, Fee, str, bool], ...]
    holder: Holder | None


class _Stated(msgspec.Struct, frozen=True, kw_only=True):
    device_id: int
    site: str
    device: str
    statement: Statement


class Accounts:
    """The billing of one database. One thread."""

    def __init__(self, path: Path, billing: Billing) -> None:
        self._path = path
        self._billing = billing
        self._db = open_books(path)

    def close(self) -> None:
        self._db.close()

    def bill(self, month: str, now: datetime, *, early: bool = False) -> list[CollectiveInvoice]:
        """Make the invoices of a month that are not made yet. Raises MonthRefused, SellerUnknown, TaxUnclear.

        A month that is not over is refused unless `early`: what comes later in it goes on the next invoice.
        """
        if not _MONTH.fullmatch(month):
            raise MonthRefused(f"{month[:20]!r} is no month", hint="such as 2026-11")
        with translated("read", self._path):
            catalog = Catalog(self._db)
            zone = self._zone()
            first, last = _days(month)
            begin = datetime(first.year, first.month, first.day, tzinfo=zone)
            end = datetime(last.year, last.month, last.day, tzinfo=zone) + timedelta(days=1)  # local midnight
            if now < begin:
                raise MonthRefused(f"{month} has not begun", hint="bill a month when it is over")
            if now < end and not early:
                raise MonthRefused(
                    f"{month} is not over", hint="--early bills it now; later sessions go on the next invoice"
                )
            accounts = self._accounts(catalog, end)
        made = []
        for account in accounts:
            with one_commit(self._db, self._path):
                made += list(self._bill_account(catalog, account, month, (first, last, end), now, zone))
        return made

    def credit(self, number: str, *, reason: str, amount: str | None, now: datetime) -> CollectiveInvoice:
        """Take a collective invoice back, or `amount` of it. Raises AccountInvoiceUnknown, CreditRefused."""
        with one_commit(self._db, self._path):
            invoice = read_invoice(self._db, number)
            if invoice.corrects is not None:
                raise AccountInvoiceUnknown(f"{number} is a credit note itself")
            content = invoice.content
            before = [n.content.figures for n in credit_notes(self._db, number)]
            wanted = None if amount is None else amount_of(amount, content.currency)
            given = credit(content.figures, before, amount_minor=wanted, currency=content.currency)
            corrects = Correction(
                number=number,
                issued_at=invoice.issued_at,
                reason=reason,
                full=given.full,
                whole=given.whole,
            )
            return self._seal(taken_back(invoice, given), now, corrects=corrects)

    def _accounts(self, catalog: Catalog, end: datetime) -> list[str]:
        rows = self._db.execute(
            "SELECT DISTINCT account FROM statement WHERE ended_at < ?", (end.astimezone(UTC).isoformat(),)
        )
        return sorted({account for (account,) in rows} | catalog.accounts())

    def _bill_account(
        self,
        catalog: Catalog,
        account: str,
        month: str,
        days: tuple[date, date, datetime],
        now: datetime,
        zone: ZoneInfo,
    ) -> Iterator[CollectiveInvoice]:
        first, last, end = days
        for due in self._due(catalog, account, month, first, end, zone):
            known = self._db.execute(
                "SELECT 1 FROM account_invoice WHERE account = ? AND month = ? AND currency = ? AND corrects IS NULL",
                (account, month, due.currency),
            ).fetchone()
            if known is not None:
                continue
            sessions = tuple(_billed(s) for s in due.statements)
            fees = tuple(
                fee(plan, price, period=period, currency=due.currency, tax_included=included)
                for plan, price, period, included in due.fees
            )
            record = due.holder.buyer if due.holder is not None else None
            if record is not None:
                self._keep(record)
            begin = min((s.begin.date() for s in sessions), default=first)
            content = Collective(
                account=account,
                month=month,
                begin=min(begin, first),
                end=last,
                currency=due.currency,
                seller=self._seller(due),
                time_zone=zone.key,
                figures=together(sessions, fees),
                sessions=sessions,
                fees=fees,
                terms=self._billing.terms,
                buyer=None if record is None else record.commitment,
                zero_tax=_zero_tax(due),
            )
            invoice = self._seal(content, now, corrects=None)
            self._book(invoice, due, fees)
            yield invoice

    def _due(
        self, catalog: Catalog, account: str, month: str, first: date, end: datetime, zone: ZoneInfo
    ) -> list[_Due]:
        statements: dict[str, list[_Stated]] = defaultdict(list)
        rows = self._db.execute(
            "SELECT device_id, site, device, document FROM statement JOIN device USING (device_id) "
            "WHERE account = ? AND ended_at < ? AND NOT EXISTS (SELECT 1 FROM account_session a "
            "WHERE a.device_id = statement.device_id AND a.session_id = statement.session_id) "
            "ORDER BY ended_at, device_id, session_id",
            (account, end.astimezone(UTC).isoformat()),
        ).fetchall()
        for device_id, site, device, document in rows:
            statement = msgspec.json.decode(document, type=Statement)
            statements[statement.draft.currency].append(
                _Stated(device_id=device_id, site=site, device=device, statement=statement)
            )
        begin = datetime(first.year, first.month, first.day, tzinfo=zone)
        fees: dict[str, list[tuple[Plan, Fee, str, bool]]] = defaultdict(list)
        for plan, price, currency, included in catalog.fees(account, begin, end):
            period = month if plan.period == "MONTH" else month[:4]
            billed = self._db.execute(
                "SELECT 1 FROM account_fee WHERE account = ? AND plan_id = ? AND period = ?",
                (account, plan.id, period),
            ).fetchone()
            if billed is None:
                fees[currency].append((plan, price, period, included))
        return [
            _Due(
                account=account,
                currency=currency,
                statements=tuple(statements[currency]),
                fees=tuple(fees[currency]),
                holder=catalog.holder(account),
            )
            for currency in sorted(statements.keys() | fees.keys())
        ]

    def _seller(self, due: _Due) -> Seller:
        if self._billing.seller is not None:
            return self._billing.seller
        sellers = {s.statement.draft.seller.tax_id: s.statement.draft.seller for s in due.statements}
        if len(sellers) != 1:
            raise SellerUnknown(f"{len(sellers) or 'no'} sellers are named in what {due.account} owes")
        return next(iter(sellers.values()))

    def _zone(self) -> ZoneInfo:
        """The time in which months begin and end: as configured, else that of the newest statement's place."""
        if self._billing.time_zone is not None:
            return ZoneInfo(self._billing.time_zone)
        row = self._db.execute("SELECT document FROM statement ORDER BY ended_at DESC LIMIT 1").fetchone()
        if row is None:
            return ZoneInfo("UTC")
        return ZoneInfo(msgspec.json.decode(row[0], type=Statement).draft.place.time_zone)

    def _seal(self, content: Collective, now: datetime, *, corrects: Correction | None) -> CollectiveInvoice:
        issued_at = now.astimezone(ZoneInfo(content.time_zone)).replace(microsecond=0)
        series = self._billing.prefix.replace("{year}", str(issued_at.year))
        series = f"{series}-CN" if corrects is not None else series
        (sequence,) = self._db.execute(
            "INSERT INTO series (series, last) VALUES (?, 1) "
            "ON CONFLICT (series) DO UPDATE SET last = last + 1 RETURNING last",
            (series,),
        ).fetchone()
        invoice = CollectiveInvoice(
            number=f"{series}-{sequence:06d}",
            series=series,
            sequence=sequence,
            issued_at=issued_at,
            content=content,
            corrects=corrects,
        )
        self._db.execute(
            "INSERT INTO account_invoice (number, series, sequence, account, month, currency, issued_at, "
            "payable_minor, corrects, document) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                invoice.number,
                series,
                sequence,
                content.account,
                content.month,
                content.currency,
                issued_at.isoformat(),
                content.figures.payable_minor,
                None if corrects is None else corrects.number,
                msgspec.json.encode(invoice).decode(),
            ),
        )
        return invoice

    def _book(self, invoice: CollectiveInvoice, due: _Due, fees: tuple[BilledFee, ...]) -> None:
        self._db.executemany(
            "INSERT INTO account_session (device_id, session_id, number) VALUES (?, ?, ?)",
            ((s.device_id, s.statement.draft.session_id, invoice.number) for s in due.statements),
        )
        self._db.executemany(
            "INSERT INTO account_fee (account, plan_id, period, number) VALUES (?, ?, ?, ?)",
            ((due.account, f.plan_id, f.period, invoice.number) for f in fees),
        )

    def _keep(self, record: BuyerRecord) -> None:
        self._db.execute(
            "INSERT INTO buyer (commitment, record) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (record.commitment, msgspec.json.encode(record).decode()),
        )


def _days(month: str) -> tuple[date, date]:
    """The first and the last day."""
    first = date(int(month[:4]), int(month[5:]), 1)
    return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def _billed(stated: _Stated) -> BilledSession:
    draft = stated.statement.draft
    zone = ZoneInfo(draft.place.time_zone)
    return BilledSession(
        site=stated.site,
        device=stated.device,
        session_id=draft.session_id,
        evse_id=draft.place.evse_id,
        begin=draft.begin.astimezone(zone).replace(microsecond=0),
        end=draft.end.astimezone(zone).replace(microsecond=0),
        energy_wh=draft.energy_wh,
        tax_included=draft.tax_included,
        figures=draft.figures,
    )


def _zero_tax(due: _Due) -> ZeroTax | None:
    """Why prices without VAT have none: as the sessions said, or for fees alone as the member list says."""
    drafts = [s.statement.draft for s in due.statements]
    said = {msgspec.json.encode(d.zero_tax): d.zero_tax for d in drafts if has_untaxed(d.figures)}
    if len(said) > 1:
        raise TaxUnclear(f"the sessions of {due.account} give {len(said)} reasons for having no VAT")
    if said:
        return next(iter(said.values()))
    return due.holder.zero_tax if due.holder is not None else None
