"""The words of every document, by language. A new language is one more entry at the end of this file."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from edge.domain.invoice import InvoiceDraft


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """The phrases of one language; `locale` is the one whose numbers and dates go with it."""

    language: str
    locale: str
    point: str
    title: str
    number: str
    issued: str
    seller: str
    place: str
    begin: str
    end: str
    duration: str
    energy: str
    estimated: str
    undated: str
    meter: str
    signed: str
    unsigned: str
    signing_key: str
    unknown: str
    tariff: str
    fallback: str
    plan: str
    account: str
    driver: str
    session: str
    included: str
    untaxed: str
    description: str
    quantity: str
    unit_price: str
    vat: str
    amount: str
    net: str
    with_tax: str
    without_tax: str
    tax_of: str
    rounding: str
    total: str
    paid: str
    due: str
    held: str
    hours: str
    each: str
    page: str
    footer: str
    tax_id: str
    buyer: str
    credit_note: str
    corrects: str
    reason: str
    credited_part: str
    refund: str
    statement: str
    no_invoice: str
    replaces: str
    lost: str
    reverse_charge: str
    outside_tax: str
    small_amount: str
    collective: str
    collective_part: str
    sessions: str
    fee: str
    month: str
    due_later: str
    tax_names: dict[str, str]
    dimensions: dict[str, str]
    reasons: dict[str, str]
    methods: dict[str, str]

    def local(self, at: datetime, draft: InvoiceDraft) -> datetime:
        """Whole seconds in the place's own time, with its offset."""
        return at.astimezone(ZoneInfo(draft.place.time_zone)).replace(microsecond=0)

    def kwh(self, energy_wh: int) -> str:
        """Wh as kWh with three places: 12345 as 12.345 kWh."""
        return f"{energy_wh // 1000}{self.point}{energy_wh % 1000:03d} kWh"

    def tax_name(self, name: str) -> str:
        return self.tax_names.get(name, name)


_ENGLISH = Words(
    language="en",
    locale="en",
    point=".",
    title="Invoice",
    number="Invoice number",
    issued="Date of issue",
    seller="Seller",
    place="Charging station",
    begin="Begin",
    end="End",
    duration="Duration",
    energy="Energy",
    estimated="estimated",
    undated="Begin and end are from a clock that was not confirmed",
    meter="Meter",
    signed="Meter values are signed by the meter",
    unsigned="Meter values are not signed by the meter (no Eichrecht record)",
    signing_key="The meter's public key, for the S.A.F.E. transparency software",
    unknown="without serial number",
    tariff="Price shown before the start",
    fallback="The station's clock was not set: the price for this case applied",
    plan="Membership",
    account="Account",
    driver="Driver at the charging station",
    session="Charging session",
    included="included in your membership",
    untaxed="No VAT applies to this price",
    description="Description",
    quantity="Quantity",
    unit_price="Unit price",
    vat="VAT",
    amount="Net amount",
    net="Net total",
    with_tax="incl. VAT",
    without_tax="excl. VAT",
    tax_of="{name} {percent} on {base}",
    rounding="Rounding",
    total="Total",
    paid="Paid",
    due="Still to pay",
    held="Amount held before charging: {amount}; the rest was released",
    hours="h",
    each="each",
    page="Page {page} of {pages}",
    footer="Tariff {hash}",
    tax_id="Tax ID",
    buyer="Buyer",
    credit_note="Credit note",
    corrects="For invoice {number} of {day}",
    reason="Reason",
    credited_part="Part of the invoice that is taken back",
    refund="Goes back the way it was paid",
    statement="Charging statement",
    no_invoice="This is not an invoice: the session is billed with the account's monthly invoice",
    replaces="Replaces invoice {number}, which was credited",
    lost="Could not be collected; nothing is left to pay",
    reverse_charge="Reverse charge: the buyer owes the VAT",
    outside_tax="Outside the scope of VAT",
    small_amount="Small-amount invoice (section 33 UStDV)",
    collective="Collective invoice",
    collective_part="Charging on account",
    sessions="Charging sessions",
    fee="Membership fee {name}, {period}",
    month="Month",
    due_later="Charged to your account",
    tax_names={"VAT": "VAT"},
    dimensions={
        "ENERGY": "Energy",
        "TIME": "Charging time",
        "PARKING_TIME": "Parking after charging",
        "FLAT": "Session fee",
    },
    reasons={
        "minimum price": "Minimum price",
        "maximum price": "Maximum price reached",
        "amount held": "Waived: above the amount held",
    },
    methods={
        "account": "Charged to your account",
        "terminal": "Paid by card",
        "card": "Paid by card",
        "upstream": "Settled by your provider",
    },
)

_GERMAN = Words(
    language="de",
    locale="de",
    point=",",
    title="Rechnung",
    number="Rechnungsnummer",
    issued="Rechnungsdatum",
    seller="Verkäufer",
    place="Ladestation",
    begin="Beginn",
    end="Ende",
    duration="Dauer",
    energy="Energie",
    estimated="geschätzt",
    undated="Beginn und Ende stammen von einer nicht bestätigten Uhr",
    meter="Zähler",
    signed="Die Messwerte sind vom Zähler signiert",
    unsigned="Die Messwerte sind nicht vom Zähler signiert (kein Eichrecht-Datensatz)",
    signing_key="Öffentlicher Schlüssel des Zählers für die Transparenzsoftware (S.A.F.E.)",
    unknown="ohne Seriennummer",
    tariff="Preis, der vor dem Start angezeigt wurde",
    fallback="Die Uhr der Ladestation war nicht gestellt: Es galt der Preis für diesen Fall",
    plan="Mitgliedschaft",
    account="Konto",
    driver="Fahrer an der Ladestation",
    session="Ladevorgang",
    included="in Ihrer Mitgliedschaft enthalten",
    untaxed="Auf diesen Preis fällt keine Umsatzsteuer an",
    description="Leistung",
    quantity="Menge",
    unit_price="Einzelpreis",
    vat="USt.",
    amount="Nettobetrag",
    net="Summe netto",
    with_tax="inkl. USt.",
    without_tax="zzgl. USt.",
    tax_of="{name} {percent} auf {base}",
    rounding="Rundung",
    total="Gesamtbetrag",
    paid="Bezahlt",
    due="Noch zu zahlen",
    held="Vor dem Laden reserviert: {amount}; der Rest wurde freigegeben",
    hours="Std.",
    each="einmal",
    page="Seite {page} von {pages}",
    footer="Tarif {hash}",
    tax_id="USt-IdNr./Steuernr.",
    buyer="Käufer",
    credit_note="Rechnungskorrektur",
    corrects="Zur Rechnung {number} vom {day}",
    reason="Grund",
    credited_part="Zurückgenommener Teil der Rechnung",
    refund="Wird auf dem Weg der Zahlung erstattet",
    statement="Ladebeleg",
    no_invoice="Dies ist keine Rechnung: Der Ladevorgang wird mit der Monatsrechnung des Kontos abgerechnet",
    replaces="Ersetzt die Rechnung {number}, die zurückgenommen wurde",
    lost="Konnte nicht eingezogen werden; es ist nichts mehr zu zahlen",
    reverse_charge="Steuerschuldnerschaft des Leistungsempfängers",
    outside_tax="Nicht steuerbar",
    small_amount="Kleinbetragsrechnung nach § 33 UStDV",
    collective="Sammelrechnung",
    collective_part="Laden auf Konto",
    sessions="Ladevorgänge",
    fee="Mitgliedsbeitrag {name}, {period}",
    month="Monat",
    due_later="Ihrem Konto belastet",
    tax_names={"VAT": "USt."},
    dimensions={
        "ENERGY": "Energie",
        "TIME": "Ladezeit",
        "PARKING_TIME": "Standzeit nach dem Laden",
        "FLAT": "Grundgebühr",
    },
    reasons={
        "minimum price": "Mindestpreis",
        "maximum price": "Höchstpreis erreicht",
        "amount held": "Erlassen: über der Reservierung",
    },
    methods={
        "account": "Ihrem Konto belastet",
        "terminal": "Mit Karte bezahlt",
        "card": "Mit Karte bezahlt",
        "upstream": "Über Ihren Anbieter abgerechnet",
    },
)

LANGUAGES = {words.language: words for words in (_ENGLISH, _GERMAN)}


def words_in(language: str) -> Words:
    """The words of a language; an unknown one reads English."""
    return LANGUAGES.get(language, _ENGLISH)
