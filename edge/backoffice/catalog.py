"""What the back office itself has told its devices: who the members are, and what their plans cost."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime

import msgspec

from edge.domain.buyer import BuyerRecord, ZeroTax
from edge.domain.plan import Fee, Plan, load_plan
from edge.domain.tariffs import Tariff, load_tariff
from edge.sync.contract.orders import ListedMember, PublishPlans, PublishTariff


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """An account over all its cards and sites."""

    currency: str
    groups: frozenset[str]
    sites: frozenset[str]
    buyer: BuyerRecord | None
    zero_tax: ZeroTax | None


class Catalog:
    """The member lists, plans and tariffs of every site as they stand."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._holders = self._read_holders()
        self._plans = list(self._read_plans())

    def accounts(self) -> set[str]:
        """Accounts that may charge somewhere."""
        return set(self._holders)

    def holder(self, account: str) -> Holder | None:
        return self._holders.get(account)

    def fees(self, account: str, begin: datetime, end: datetime) -> Iterator[tuple[Plan, Fee, str, bool]]:
        """Each plan of an account that is in force at some time in [begin, end) and has a fee: with its currency, and
        whether prices include tax. A plan that several sites have counts once.
        """
        holder = self._holders.get(account)
        if holder is None:
            return
        seen = set()
        for site, plan in self._plans:
            fee = plan.fee
            held = any(plan.holds(account=account, group=group) for group in holder.groups | {""})
            if fee is None or not fee.price or not held or site not in holder.sites or plan.id in seen:
                continue
            in_force = (plan.valid_from is None or plan.valid_from < end) and (
                plan.valid_until is None or plan.valid_until > begin
            )
            if in_force:
                seen.add(plan.id)
                tariff = plan.tariff or self._tariff(site)
                included = tariff is not None and tariff.tax_included == "YES"
                yield plan, fee, plan.currency or holder.currency, included

    def _read_holders(self) -> dict[str, Holder]:
        found: dict[str, Holder] = {}
        rows = self._db.execute("SELECT site, listed FROM member WHERE NOT removed ORDER BY site, token")
        for site, listed in rows.fetchall():
            member = msgspec.json.decode(listed, type=ListedMember)
            if member.account is None:
                continue
            known = found.get(member.account)
            groups = {member.group} if member.group else set()
            found[member.account] = Holder(
                currency=known.currency if known else member.currency,
                groups=frozenset(groups | (known.groups if known else frozenset())),
                sites=frozenset({site} | (known.sites if known else frozenset())),
                buyer=(known.buyer if known else None) or member.buyer,
                zero_tax=(known.zero_tax if known else None) or member.zero_tax,
            )
        return found

    def _read_plans(self) -> Iterator[tuple[str, Plan]]:
        rows = self._db.execute(
            "SELECT site, body FROM orders o WHERE stream = 'plans' AND version = "
            "(SELECT max(version) FROM orders WHERE stream = 'plans' AND site = o.site) ORDER BY site"
        )
        for site, body in rows.fetchall():
            document = msgspec.json.decode(body, type=PublishPlans).document
            for plan in msgspec.json.decode(document):
                yield site, load_plan(plan)

    def _tariff(self, site: str) -> Tariff | None:
        """The tariff that the site sells by: as ordered, else as its devices froze it last."""
        ordered = self._db.execute(
            "SELECT body FROM orders WHERE stream = 'tariff' AND site = ? ORDER BY version DESC LIMIT 1",
            (site,),
        ).fetchone()
        if ordered is not None:
            return load_tariff(msgspec.json.decode(ordered[0], type=PublishTariff).document.encode())
        frozen = self._db.execute(
            "SELECT document FROM tariff JOIN session ON hash = tariff_hash JOIN device USING (device_id) "
            "WHERE site = ? ORDER BY opened_at DESC LIMIT 1",
            (site,),
        ).fetchone()
        return None if frozen is None else load_tariff(frozen[0].encode())
