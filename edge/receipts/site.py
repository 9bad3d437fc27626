"""Receipts on the web, by an address that only the driver's screen showed: `/r/{token}`. No list, no login, no index.

    /r/{token}            the newest document as HTML
    /r/{token}/{n}        document n of the session, from 0: an invoice, its credit notes, what took its place
    /r/{token}/{n}.pdf    as PDF, with the e-invoice inside
    /r/{token}/{n}.xml    as UBL

An unknown token is "not here yet" (404 with Retry-After) and costs a try; a document that was sealed too long ago is
gone (410).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
from microdot import Microdot, Request, Response

from edge import web
from edge.documents.formats import format_named, render
from edge.documents.sale import NotExpressible, Sale
from edge.documents.words import LANGUAGES
from edge.errors import TillError
from edge.receipts import pages
from edge.receipts.limit import Limits, Misses
from edge.receipts.receipt import NothingToPay, Provisional, Ready, Receipt, Receipts, Running, token_hash

#: A page that waits asks again after this.
AGAIN_S = 60

#: PDFs that are made at once; each costs a core for a tenth of a second.
_RENDERING_MAX = 2

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the address itself is the key to the receipt
    "Cache-Control": "private, no-store",
    "X-Robots-Tag": "noindex, nofollow",
}
_HTML = "text/html; charset=utf-8"


class SiteOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`keep_days`: how long a document can be had. `proxied`: a proxy stands before us and says who asks
    (X-Forwarded-For).
    """

    keep_days: int = 90
    proxied: bool = False
    limits: Limits = Limits()


class ReceiptsNotServed(TillError):
    code = "receipt.not_served"
    hint = "another program has this port, or no interface this address: choose another one to listen on"


class Site:
    """The routes: `Site(receipts, options).application()`. `now` is the wall clock, `clock` a monotonic one."""

    def __init__(
        self,
        receipts: Receipts,
        options: SiteOptions,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._receipts = receipts
        self._options = options
        self._now = now
        self._clock = clock
        self._misses = Misses(options.limits)
        self._rendering = asyncio.Semaphore(_RENDERING_MAX)

    def application(self) -> web.Web:
        """Ready to be served."""
        app = web.Web()
        self.register(app)
        return app

    def register(self, app: Microdot) -> None:
        """Put the receipts' routes on an application."""
        Request.max_content_length = 1024
        app.get("/robots.txt")(_robots)
        app.get("/r/<token>")(self._newest)
        app.get("/r/<token>/<name>")(self._one)

    async def _newest(self, request: Request, token: str) -> Response:
        return await self._answered(request, token, None)

    async def _one(self, request: Request, token: str, name: str) -> Response:
        return await self._answered(request, token, name)

    async def _answered(self, request: Request, token: str, name: str | None) -> Response:
        language = language_of(request)
        said = pages.said_in(language)
        address, now = self._address(request), self._clock()
        if (wait_s := self._misses.wait_s(address, now)) > 0:
            return _said(pages.message(said.many, said.many_why, language), 429, again_s=int(wait_s) + 1)
        hashed = token_hash(token)
        try:
            found = None if hashed is None else self._receipts.find(hashed)
            return await self._shown(request, found, name, language, address)
        except TillError:
            text = pages.message(said.trouble, said.trouble_why, language, again_s=AGAIN_S)
            return _said(text, 503, again_s=AGAIN_S)

    async def _shown(
        self, request: Request, found: Receipt | None, name: str | None, language: str, address: str
    ) -> Response:
        said = pages.said_in(language)
        match found:
            case Running():
                text = pages.message(said.running, said.running_why, language, again_s=AGAIN_S)
                return _said(text, 404, again_s=AGAIN_S)
            case NothingToPay():
                return _said(pages.message(said.free, said.free_why, language), 200)
            case Provisional():
                return _said(pages.provisional(found, language, again_s=AGAIN_S), 200)
            case Ready() if self._kept(found):
                shown = await self._document(request, found, name, language)
                if shown is not None:
                    return shown
            case Ready():
                why = said.gone_why.format(days=self._options.keep_days)
                return _said(pages.message(said.gone, why, language), 410)
            case None:
                pass
        self._misses.missed(address, self._clock())
        text = pages.message(said.not_here, said.not_here_why, language, again_s=AGAIN_S)
        return _said(text, 404, again_s=AGAIN_S)

    def _kept(self, found: Ready) -> bool:
        newest = max(sale.invoice.issued_at for sale in found.documents)
        return self._now() - newest < timedelta(days=self._options.keep_days)

    async def _document(
        self, request: Request, found: Ready, name: str | None, language: str
    ) -> Response | None:
        """A document of the session in the form that its name asks for; None where there is none."""
        text, _, suffix = (name or "").partition(".")
        number = len(found.documents) - 1 if name is None else int(text) if _is_number(text) else -1
        if not 0 <= number < len(found.documents):
            return None
        sale = found.documents[number]
        match suffix:
            case "":
                return self._page(request.path, found, number, language)
            case "pdf":
                return await self._rendered(sale, "pdf", language)
            case "xml":
                return await self._rendered(sale, "ubl", language)
            case _:
                return None

    def _page(self, path: str, found: Ready, number: int, language: str) -> Response:
        from edge.documents import html  # noqa: PLC0415  (3 MB of calendars and languages: not before a driver asks)
        from edge.documents.sheet import sheet  # noqa: PLC0415

        said = pages.said_in(language)
        base = "/".join(path.split("/")[:3])
        links = [(said.pdf, f"{base}/{number}.pdf?lang={language}")]
        if found.documents[number].kind != "statement":
            links.append((said.einvoice, f"{base}/{number}.xml?lang={language}"))
        links += [
            (said.other.format(title=sheet(other, language).title), f"{base}/{n}?lang={language}")
            for n, other in enumerate(found.documents)
            if n != number
        ]
        document = html.written(sheet(found.documents[number], language), tuple(links))
        return Response(document, 200, {**_HEADERS, "Content-Type": _HTML})

    async def _rendered(self, sale: Sale, name: str, language: str) -> Response | None:
        form = format_named(name)
        try:
            async with self._rendering:
                document = await asyncio.to_thread(render, form, sale, language=language)
        except NotExpressible:
            return None
        file = f"{sale.invoice.number.replace('/', '-')}.{form.suffix}"
        headers = {"Content-Type": form.media_type, "Content-Disposition": f'inline; filename="{file}"'}
        return Response(document, 200, {**_HEADERS, **headers})

    def _address(self, request: Request) -> str:
        """Who asks. A proxy's word counts only where one stands before us; the last address is the one it saw."""
        if self._options.proxied:
            forwarded = str(request.headers.get("X-Forwarded-For", "")).rpartition(",")[2].strip()
            if forwarded:
                return forwarded[:64]
        return str(request.client_addr[0]) if request.client_addr else ""


async def serve(site: Site, host: str, port: int, *, bound: web.Bound | None = None) -> None:
    """Until cancelled. Raises ReceiptsNotServed."""
    try:
        await web.serve(site.application(), host, port, bound=bound)
    except OSError as e:
        raise ReceiptsNotServed(f"cannot listen on {host}:{port}: {e.strerror or e}") from e


def language_of(request: Request) -> str:
    """`?lang=`, else the first language of the browser that there are words for, else English."""
    asked = str(request.args.get("lang", ""))
    if asked in LANGUAGES:
        return asked
    accepted = str(request.headers.get("Accept-Language", ""))[:200]
    for part in accepted.split(","):
        language = part.partition(";")[0].strip()[:2].lower()
        if language in LANGUAGES:
            return language
    return "en"


async def _robots(_request: Request) -> Response:
    return Response("User-agent: *\nDisallow: /\n", 200, {"Content-Type": "text/plain"})


def _said(text: str, status: int, *, again_s: int | None = None) -> Response:
    headers = {**_HEADERS, "Content-Type": _HTML}
    if again_s is not None:
        headers["Retry-After"] = str(again_s)
    return Response(text, status, headers)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 3
