"""The pages around a receipt: that it is not here yet, that it is gone, that it is not final."""

from __future__ import annotations

from html import escape

import msgspec

from edge.documents.words import words_in
from edge.receipts.receipt import Provisional

_STYLE = """
:root{color-scheme:light dark}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;box-sizing:border-box;
font:18px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;background:#eef1f4;color:#14181d}
main{max-width:26rem;text-align:center}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 .75rem}
p{margin:0 0 .75rem}
.sum{font-size:2.6rem;font-weight:700;line-height:1.1;font-variant-numeric:tabular-nums}
.soft{color:#5c6670}
@media (prefers-color-scheme:dark){body{background:#101418;color:#eef1f4}.soft{color:#9aa5b1}}
""".strip()


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """The words of one language."""

    not_here: str
    not_here_why: str
    running: str
    running_why: str
    free: str
    free_why: str
    gone: str
    gone_why: str
    many: str
    many_why: str
    trouble: str
    trouble_why: str
    provisional: str
    provisional_why: str
    pdf: str
    einvoice: str
    other: str


_SAID = {
    "en": Said(
        not_here="Your receipt is not here yet",
        not_here_why="It comes as soon as the charging station is online. This page tries again by itself.",
        running="Still charging",
        running_why="Your receipt appears here when the session has ended. This page tries again by itself.",
        free="Nothing to pay",
        free_why="This session cost nothing, so there is no invoice.",
        gone="This receipt is no longer online",
        gone_why="Receipts are kept here for {days} days. The operator can still send you the invoice.",
        many="Too many tries",
        many_why="Wait a minute, then open the address from the screen once more.",
        trouble="Your receipt cannot be shown now",
        trouble_why="Nothing is lost. Try again in a few minutes.",
        provisional="Provisional receipt",
        provisional_why="The invoice with its number follows under this address.",
        pdf="Save as PDF",
        einvoice="E-invoice (XML)",
        other="Also here: {title}",
    ),
    "de": Said(
        not_here="Ihr Beleg ist noch nicht da",
        not_here_why="Er kommt, sobald die Ladestation online ist. Diese Seite versucht es von selbst noch einmal.",
        running="Der Ladevorgang läuft noch",
        running_why="Nach dem Laden erscheint hier Ihr Beleg. Diese Seite versucht es von selbst noch einmal.",
        free="Nichts zu zahlen",
        free_why="Dieser Ladevorgang war kostenlos, deshalb gibt es keine Rechnung.",
        gone="Dieser Beleg ist nicht mehr online",
        gone_why="Belege stehen hier {days} Tage lang. Der Betreiber kann Ihnen die Rechnung weiterhin senden.",
        many="Zu viele Versuche",
        many_why="Warten Sie eine Minute und öffnen Sie dann die Adresse vom Bildschirm noch einmal.",
        trouble="Ihr Beleg kann gerade nicht gezeigt werden",
        trouble_why="Es ist nichts verloren. Versuchen Sie es in einigen Minuten noch einmal.",
        provisional="Vorläufiger Beleg",
        provisional_why="Die Rechnung mit ihrer Nummer folgt unter dieser Adresse.",
        pdf="Als PDF sichern",
        einvoice="E-Rechnung (XML)",
        other="Auch hier: {title}",
    ),
}


def said_in(language: str) -> Said:
    """The words of a language; an unknown one reads English."""
    return _SAID.get(language, _SAID["en"])


def message(title: str, why: str, language: str, *, again_s: int | None = None) -> str:
    """A page that says one thing; with `again_s` it loads itself again after that."""
    return _page(title, f'<h1>{escape(title)}</h1><p class="soft">{escape(why)}</p>', language, again_s)


def provisional(receipt: Provisional, language: str, *, again_s: int) -> str:
    """What is known before the invoice is sealed."""
    words, said = words_in(language), said_in(language)
    from edge.documents.sheet import Numbers  # noqa: PLC0415  (3 MB of calendars: not before a driver asks)

    told = Numbers(words, currency=receipt.currency, time_zone=receipt.time_zone or "UTC")
    rows = [receipt.evse_id]
    if receipt.energy_wh is not None:
        rows.append(words.kwh(receipt.energy_wh))
    if receipt.time_zone is not None and receipt.began_at is not None and receipt.ended_at is not None:
        rows += [told.moment(receipt.began_at), told.moment(receipt.ended_at)]
    body = (
        f'<h1>{escape(said.provisional)}</h1><p class="sum">{escape(told.money(receipt.payable_minor))}</p>'
        f"<p>{'<br>'.join(escape(row) for row in rows)}</p>"
        f'<p class="soft">{escape(said.provisional_why)}</p>'
    )
    return _page(said.provisional, body, language, again_s)


def _page(title: str, body: str, language: str, again_s: int | None) -> str:
    again = f'<meta http-equiv="refresh" content="{again_s}">' if again_s is not None else ""
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta name="robots" content="noindex">{again}<title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )
