"""The driver's receipt as one HTML file that needs nothing else: for a phone first, light and dark, and for paper."""

from __future__ import annotations

from html import escape

from edge.documents.sale import Sale
from edge.documents.sheet import Item, Row, Sheet, sheet

_STYLE = """
:root{color-scheme:light dark;--ink:#14181d;--soft:#5c6670;--line:#dfe3e8;
--paper:#fff;--ground:#eef1f4;--mark:#0a7a4b}
@media (prefers-color-scheme:dark){:root{--ink:#eef1f4;--soft:#9aa5b1;--line:#313942;
--paper:#1b2026;--ground:#101418;--mark:#4fd39a}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
font:16px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;-webkit-text-size-adjust:100%}
main{max-width:40rem;margin:0 auto;padding:1.25rem;background:var(--paper);min-height:100vh}
header{display:flex;flex-wrap:wrap;justify-content:space-between;gap:.25rem 1.5rem;align-items:baseline}
h1{font-size:1.05rem;margin:0;font-weight:600}
h2{font-size:.8rem;margin:1.75rem 0 .35rem;font-weight:600;color:var(--soft);letter-spacing:.02em}
.sum{font-size:2.6rem;line-height:1.1;font-weight:700;margin:1.1rem 0 .1rem;font-variant-numeric:tabular-nums}
.how{color:var(--mark);font-weight:600;margin:0}
.soft{color:var(--soft);margin:0}
dl,ul{margin:0;padding:0}
dl>div,li{display:flex;justify-content:space-between;gap:1rem;padding:.45rem 0;border-bottom:1px solid var(--line)}
dl>div:last-child,li:last-child{border-bottom:0}
dt{color:var(--soft)}
dd{margin:0;text-align:right;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
li b{font-weight:600;display:block}
li small{color:var(--soft);font-size:.875rem;display:block}
li span:last-child{white-space:nowrap;font-variant-numeric:tabular-nums}
.sums dd{white-space:nowrap}
.total dt,.total dd{color:var(--ink);font-weight:700;font-size:1.15rem}
address{font-style:normal}
a{color:inherit}
.link{margin:.6rem 0 0}
footer{margin-top:1.75rem;padding-top:.9rem;border-top:1px solid var(--line);
color:var(--soft);font-size:.82rem;overflow-wrap:anywhere}
footer p{margin:.3rem 0}
@media (min-width:42rem){main{padding:2.25rem 2.5rem;min-height:0;margin:2rem auto;border-radius:.75rem}
.two{display:grid;grid-template-columns:1fr 1fr;gap:0 2rem}}
@media print{.link{display:none}:root{--ink:#000;--soft:#444;--line:#bbb;--paper:#fff;--ground:#fff;--mark:#000}
@page{size:A4;margin:14mm}
html{font-size:12px}body{font-size:1rem}
dl>div,li{padding:.25rem 0}h2{margin-top:1rem}main{max-width:none;padding:0;margin:0;border-radius:0}
.two{display:grid;grid-template-columns:1fr 1fr;gap:0 2rem}dl>div,li,section{break-inside:avoid}}
""".strip()


def html(sale: Sale, language: str = "en") -> bytes:
    """The receipt. No script, no font, no picture is fetched from anywhere."""
    return written(sheet(sale, language))


def written(told: Sheet, links: tuple[tuple[str, str], ...] = ()) -> bytes:
    """A sheet as HTML; `links` (words and address) stand below it, and not on paper."""
    words = told.words
    parts = [
        f'<!doctype html><html lang="{words.language}"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        '<meta name="robots" content="noindex"><meta name="color-scheme" content="light dark">',
        f"<title>{escape(told.title)}</title><style>{_STYLE}</style></head><body><main>",
        f"<header><h1>{escape(told.seller[0])}</h1>",
        f'<p class="soft">{escape(told.title)}<br>{escape(told.issued)}</p></header>',
        f'<p class="sum">{escape(told.total.value)}</p>',
        f'<p class="how">{escape(told.payment[0].label)}</p>',
        "".join(f'<p class="link"><a href="{escape(to)}">{escape(said)}</a></p>' for said, to in links),
        f"<section><h2>{escape(told.subject)}</h2>{_rows(told.facts)}</section>",
        _bill(told),
        '<div class="two">',
        _block(words.place, told.place),
        _block(words.buyer, told.buyer),
        _block(words.seller, told.seller),
        "</div><footer>",
        *(f"<p>{escape(remark)}</p>" for remark in (*told.remarks, told.footer)),
        "</footer></main></body></html>\n",
    ]
    return "".join(parts).encode()


def _rows(rows: tuple[Row, ...], kind: str = "") -> str:
    mark = f' class="{kind}"' if kind else ""
    cells = "".join(
        f"<div{mark}><dt>{escape(row.label)}</dt><dd>{escape(row.value)}</dd></div>" for row in rows
    )
    return f"<dl>{cells}</dl>" if cells else ""


def _bill(told: Sheet) -> str:
    words = told.words
    items = "".join(_item(item) for item in told.items)
    sums = (*told.adjustments, told.net, *told.taxes, *((told.rounding,) if told.rounding else ()))
    return (
        f"<section><h2>{escape(words.amount)}</h2><ul>{items}</ul></section>"
        f"<section>{_rows(sums, 'sums')}{_rows((told.total,), 'sums total')}{_rows(told.payment, 'sums')}</section>"
    )


def _item(item: Item) -> str:
    detail = f"{item.quantity} \u00d7 {item.price}{item.terms}"
    note = f" · {item.note}" if item.note else ""
    return (
        f"<li><span><b>{escape(item.name)}</b><small>{escape(detail + note)}</small></span>"
        f"<span>{escape(item.amount)}</span></li>"
    )


def _block(title: str, lines: tuple[str, ...]) -> str:
    if not lines:
        return ""
    shown = "<br>".join(escape(line) for line in lines)
    return f"<section><h2>{escape(title)}</h2><address>{shown}</address></section>"
