"""The report as one HTML file: no script, nothing loaded from anywhere."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from edge.commission import sheet
from edge.commission.facts import Charged, Report
from edge.doctor.finding import Finding

_STYLE = """
:root{--ink:#14213d;--soft:#5b6577;--rule:#dde2ea;--ok:#0b7a4b;--warn:#9a6200;--fail:#b3261e;--accent:#0b5cad}
*{box-sizing:border-box}
body{margin:0;background:#eef1f5;color:var(--ink);font:15px/1.5 system-ui,"DejaVu Sans",sans-serif}
main{max-width:860px;margin:32px auto;background:#fff;border-radius:12px;box-shadow:0 1px 8px #0002;overflow:hidden}
header{padding:32px 40px 24px;border-top:6px solid var(--accent)}
h1{margin:0;font-size:28px;letter-spacing:-.01em} h2{margin:0 0 12px;font-size:19px}
header p{margin:4px 0 0;color:var(--soft)}
section{padding:24px 40px;border-top:1px solid var(--rule)}
.verdict{float:right;padding:8px 20px;border-radius:99px;font-weight:700;color:#fff;background:var(--ok)}
.verdict.no{background:var(--fail)}
dl{display:grid;grid-template-columns:150px 1fr;gap:4px 16px;margin:0}
dt{color:var(--soft)} dd{margin:0;overflow-wrap:anywhere}
.figures{display:flex;gap:12px;margin:16px 0}
.figures div{flex:1;padding:12px 16px;background:#f5f7fa;border-radius:8px}
.figures b{display:block;font-size:24px;font-variant-numeric:tabular-nums} .figures span{color:var(--soft)}
table{width:100%;border-collapse:collapse;margin-top:12px}
td,th{padding:7px 8px 7px 0;text-align:left;vertical-align:top;border-top:1px solid var(--rule)}
 th{color:var(--soft);font-weight:500;border:0} td.r{width:84px;font-weight:700}
.ok{color:var(--ok)} .warn{color:var(--warn)} .fail{color:var(--fail)} small{color:var(--soft);display:block}
svg{width:100%;height:auto;display:block;margin-top:8px} .sign{display:flex;gap:40px;padding-top:72px}
.sign div{flex:1;border-top:1px solid var(--ink);padding-top:6px;color:var(--soft)}
@media print{body{background:#fff} main{box-shadow:none;margin:0;max-width:none} section{break-inside:avoid}}
@media(max-width:600px){header,section{padding:20px} dl{grid-template-columns:1fr} .figures{flex-direction:column}}
"""


def html(report: Report) -> str:
    """The whole page."""
    verdict = (
        '<span class="verdict">passed</span>' if report.passed else '<span class="verdict no">FAILED</span>'
    )
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Commissioning report {escape(report.site)}/{escape(report.device)}</title>",
        f"<style>{_STYLE}</style></head><body><main>",
        f"<header>{verdict}<h1>Commissioning report</h1>",
        f"<p>{escape(report.seller)} · {escape(report.address)}</p></header>",
        f"<section>{_facts(sheet.facts(report))}</section>",
        *(_evse(charged) for charged in report.evses),
        f"<section><h2>Computer, keys, back office</h2>{_findings(report.doctor)}</section>",
        '<section><div class="sign"><div>Place, date</div><div>Installer</div><div>Operator</div></div></section>',
        "</main></body></html>\n",
    ]
    return "".join(parts)


def _evse(charged: Charged) -> str:
    figures = "".join(
        f"<div><b>{escape(v)}</b><span>{escape(k)}</span></div>" for k, v in sheet.figures(charged)
    )
    rows = "".join(
        f"<tr><td>{escape(p)}</td><td>{escape(v)}</td><td>{escape(a)}</td></tr>"
        for p, v, a in sheet.phases(charged)
    )
    phases = f"<table><tr><th>Phase</th><th>Voltage</th><th>Current</th></tr>{rows}</table>" if rows else ""
    return (
        f"<section><h2>Charging point {escape(charged.label)} · {escape(charged.evse_id)}</h2>"
        f"{_facts(sheet.evse_facts(charged))}"
        f'<div class="figures">{figures}</div>{_curve(charged)}{phases}{_findings(charged.findings)}</section>'
    )


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in rows) + "</dl>"


def _findings(findings: Iterable[Finding]) -> str:
    rows = []
    for f in findings:
        todo = f"<small>{escape(f.todo)}</small>" if f.todo else ""
        rows.append(
            f'<tr><td class="r {f.result}">{sheet.RESULTS[f.result]}</td>'
            f"<td>{escape(f.what)}</td><td>{escape(f.found)}{todo}</td></tr>"
        )
    return f"<table><tr><th>Result</th><th>Check</th><th>Found</th></tr>{''.join(rows)}</table>"


def _curve(charged: Charged) -> str:
    drawn = sheet.curve(charged)
    if drawn is None:
        return ""
    points = [(50 + 740 * x, 170 - 150 * y) for x, y in drawn.points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    area = f"50,170 {line} {points[-1][0]:.1f},170"
    return (
        '<svg viewBox="0 0 800 200" role="img" aria-label="Power while charging" font-size="12" fill="#5b6577">'
        '<path d="M50 20H790M50 95H790M50 170H790" stroke="#dde2ea"/>'
        f'<polygon points="{area}" fill="#0b5cad" opacity=".12"/>'
        f'<polyline points="{line}" fill="none" stroke="#0b5cad" stroke-width="2.5" stroke-linejoin="round"/>'
        f'<text x="44" y="24" text-anchor="end">{drawn.top_w / 1000:g} kW</text>'
        '<text x="44" y="174" text-anchor="end">0</text>'
        f'<text x="790" y="190" text-anchor="end">{drawn.seconds} s</text></svg>'
    )
