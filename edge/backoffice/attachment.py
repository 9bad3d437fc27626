"""Being connected to one broker for as long as the receiver runs: opened aside, driven on the receiver's thread."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from typing import Literal

from edge import log
from edge.backoffice.options import BackofficeOptions
from edge.errors import SyncError
from edge.sync.contract.topics import everyone
from edge.sync.link import (
    HANDSHAKE_TIMEOUT_S,
    Arrived,
    Connected,
    Identity,
    Link,
    LinkFailed,
    Lost,
    ProtocolUnknown,
    Refused,
    Subscribed,
)
from edge.sync.retry import FullJitter

#: Messages that a broker may send ahead of our PUBACK (MQTT 5): one full transaction.
RECEIVE_MAX = 500


class Attachment:
    """`poll` drives it; `link` is there while messages can come and acknowledgements go."""

    def __init__(self, broker: str, options: BackofficeOptions) -> None:
        self.broker = broker
        self._options = options
        # two receivers with one name would push each other off the broker for ever
        self._client_id = f"backoffice-{secrets.token_hex(6)}"
        self._protocol: Literal["5", "3.1.1"] = "3.1.1" if options.protocol == "3.1.1" else "5"
        self._backoff = FullJitter(options.retry_s, options.retry_max_s)
        self._next_at = 0.0
        self._deadline = 0.0
        self._opening: threading.Thread | None = None
        self._opened: Link | SyncError | None = None
        self._raw: Link | None = None
        self._ready = False
        self._trouble = ""
        self._switched = False
        self._held: dict[str, tuple[str, bytes, bool]] = {}
        #: how many connections there were: each starts with nothing at the broker
        self.visits = 0

    @property
    def link(self) -> Link | None:
        """The connection, once the subscription stands."""
        return self._raw if self._ready else None

    @property
    def fileno(self) -> int:
        return -1 if self._raw is None else self._raw.fileno()

    @property
    def want_write(self) -> bool:
        return self._raw is not None and self._raw.want_write()

    @property
    def trouble(self) -> str:
        """Why there is no connection, in words."""
        return self._trouble

    def poll(self, now: float, *, readable: bool, writable: bool) -> Iterator[tuple[Link, Arrived]]:
        """Open, keep and reopen; gives what arrived, each with the connection that is owed the PUBACK."""
        if self._raw is None:
            self._open(now)
            return
        link = self._raw
        link.service(readable=readable, writable=writable)
        self._release(link)
        for event in link.events():
            match event:
                case Connected():
                    link.subscribe([everyone(c) for c in ("tx", "state", "reply", "authorize")])
                case Subscribed():
                    self._ready = True
                    self._held.clear()
                    self.visits += 1
                    self._trouble = ""
                    self._backoff.reset()
                    log.event("backoffice.connected", broker=self.broker, protocol=link.protocol)
                case Arrived():
                    yield link, event
                case Refused(reason):
                    log.error("backoffice.publish_refused", broker=self.broker, reason=reason)
                case Lost(error):
                    self._lose(error, now)
                    return
                case _:
                    pass
        if not self._ready and now >= self._deadline:
            self._lose(LinkFailed(f"{self.broker}: no answer to the connection"), now)

    def publish(self, topic: str, payload: bytes, *, key: str, retain: bool = False) -> None:
        """Where there is a connection; else it is lost, and whoever needs it asks again.

        While the broker takes nothing more it waits, and gives way to a newer message under the same `key`.
        """
        if self.link is None:
            return
        if self._held or self.link.full:
            self._held[key] = (topic, payload, retain)
        else:
            self.link.publish(topic, payload, retain=retain)

    def _release(self, link: Link) -> None:
        while self._held and not link.full:
            topic, payload, retain = self._held.pop(next(iter(self._held)))
            link.publish(topic, payload, retain=retain)

    @property
    def in_flight(self) -> int:
        """Messages that the broker has not taken yet."""
        return 0 if self.link is None else self.link.in_flight + len(self._held)

    def close(self) -> None:
        if self._raw is not None:
            self._raw.close()
        self._raw, self._ready = None, False

    def _open(self, now: float) -> None:
        """A blocking connect to a dead broker must not hold up the others: it runs on a thread of its own."""
        if self._opening is None:
            if now < self._next_at:
                return
            self._opened = None
            self._opening = threading.Thread(target=self._connect, name=f"open {self.broker}", daemon=True)
            self._opening.start()
            return
        if self._opening.is_alive():
            return
        self._opening = None
        match self._opened:
            case Link() as link:
                self._raw, self._deadline = link, now + HANDSHAKE_TIMEOUT_S
            case SyncError() as error:
                self._lose(error, now)
            case None:
                self._lose(LinkFailed(f"{self.broker}: opening it failed"), now)

    def _connect(self) -> None:
        options = self._options
        identity = Identity(
            client_id=self._client_id,
            keepalive_s=options.keepalive_s,
            tls=options.tls,
            username=options.username,
            password_file=options.password_file,
            receive_max=RECEIVE_MAX,
        )
        try:
            link = Link(self.broker, identity, protocol=self._protocol)
            link.open()
        except SyncError as e:
            self._opened = e
        else:
            self._opened = link

    def _lose(self, error: SyncError, now: float) -> None:
        link, self._raw = self._raw, None
        if link is not None:
            link.abort()
        if isinstance(error, ProtocolUnknown) and self._options.protocol == "auto" and not self._switched:
            self._switched = True
            self._protocol = "3.1.1" if self._protocol == "5" else "5"
            self._next_at = now
            return
        self._switched = False
        if self._ready or str(error) != self._trouble:
            log.warning("backoffice.disconnected", error=error)
        self._ready = False
        self._trouble = str(error)
        self._next_at = now + self._backoff.next_s()
