"""One MQTT connection, driven by the thread that owns it: no thread, queue or reconnecting of its own.

    link = Link(broker, identity); link.open()
    poll on link.fileno(); link.service(readable=True, writable=link.want_write()); for event in link.events()

paho keeps nothing for us: a connection that ended is thrown away with everything in it, and the journal is
what the next one sends from. A PUBACK only frees room; it never means that anything was booked.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
import ssl
import struct
import termios
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from edge.errors import SyncError
from edge.sync.credentials import CertificateRefused, LinkRefused, password, reason_of, tls_context
from edge.sync.options import TlsOptions, host_port
from edge.sync.paho import (
    CallbackAPIVersion,
    Client,
    MQTTErrorCode,
    MQTTMessage,
    MQTTProtocolVersion,
    PacketTypes,
    Properties,
    ReasonCode,
)

#: A broker that does not take a connection within this is down for us; the next one is tried.
CONNECT_TIMEOUT_S = 3.0

#: A CONNECT without CONNACK, or a subscription without SUBACK, for so long: the same.
HANDSHAKE_TIMEOUT_S = 4.0

#: What a broker takes at once when it does not say (MQTT 5, 3.2.2.3.3).
UNLIMITED = 65_535

#: The largest message of the contract (1 MiB) with its topic; what is larger ends the connection.
PACKET_BYTES_MAX = 1_048_576 + 1024

#: The kernel gives a connection up when what it sent stays unconfirmed for so long: the next broker has its first
#: acknowledgement within 5 s of the silence.
SILENT_LINK_MS = 4000

#: A broker that has heard the goodbye hangs up at once; one that has not is not waited for longer.
_GOODBYE_MAX_S = 1.0

#: Reason codes from here on say no (MQTT 5, 2.4).
_FAILURE = 0x80

#: What paho calls an end without a reason (MQTT 5, 2.4).
_UNSPECIFIED = 0x80


class LinkFailed(SyncError):
    code = "sync.unreachable"
    hint = "is the broker running and the address right? The till goes on and keeps trying"


class ProtocolUnknown(LinkFailed):
    """The broker hung up on our CONNECT: it may know only the other version of MQTT."""

    code = "sync.protocol"
    hint = "set `protocol` to what the broker speaks"


class Connected(msgspec.Struct, frozen=True):
    """The broker took the connection; what it takes at once (MQTT 5 says so, 3.1.1 does not)."""

    messages_max: int | None
    bytes_max: int | None


class Subscribed(msgspec.Struct, frozen=True):
    """The broker took the subscription."""


class NotSubscribed(msgspec.Struct, frozen=True):
    """The broker refused a subscription that we can do without."""

    reason: str


class Arrived(msgspec.Struct, frozen=True):
    """A message came. It is owed a PUBACK (`Link.acknowledge`) when `qos` is 1."""

    topic: str
    payload: bytes
    mid: int
    qos: int
    retained: bool


class Refused(msgspec.Struct, frozen=True):
    """The broker (MQTT 5) would not take a message."""

    reason: str


class Lost(msgspec.Struct, frozen=True):
    """The connection is over."""

    error: SyncError


LinkEvent = Connected | Subscribed | NotSubscribed | Arrived | Refused | Lost


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """How we introduce ourselves. `will`: topic and payload that the broker publishes, retained, if we vanish."""

    client_id: str
    keepalive_s: int
    tls: TlsOptions | None = None
    username: str | None = None
    password_file: str | None = None
    will: tuple[str, bytes] | None = None
    #: messages that the broker may send without our PUBACK (MQTT 5)
    receive_max: int = 100


class Link:
    """See the module. `protocol` is 5 or 4 (3.1.1)."""

    def __init__(self, broker: str, identity: Identity, *, protocol: Literal["5", "3.1.1"]) -> None:
        self.broker = broker
        self.protocol: Literal["5", "3.1.1"] = protocol
        self._identity = identity
        self._events: deque[LinkEvent] = deque()
        self._log = _LastError()
        self._optional: set[int] = set()
        self._in_flight: set[int] = set()
        self._limit = UNLIMITED
        #: how many PUBACKs there were
        self.taken = 0
        self._over = False
        self._answered = False
        self._client = self._make()

    def _make(self) -> Client:
        five = self.protocol == "5"
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._identity.client_id,
            clean_session=None if five else True,
            protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.max_inflight_messages_set(0)
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        client.enable_logger(self._log)
        client.on_socket_register_write = lambda *_: None
        if self._identity.will is not None:
            topic, payload = self._identity.will
            client.will_set(topic, payload, qos=1, retain=True)
        if self._identity.username is not None:
            client.username_pw_set(self._identity.username, password(self._identity.password_file))
        if self._identity.tls is not None:
            client.tls_set_context(tls_context(self._identity.tls))
        return client

    def open(self) -> None:
        """Connect, blocking for at most CONNECT_TIMEOUT_S a step. `Connected` follows as an event.

        Raises LinkFailed, CertificateRefused.
        """
        host, port = host_port(self.broker)
        properties = None
        if self.protocol == "5":
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's has no annotation
            properties.SessionExpiryInterval = 0
            properties.ReceiveMaximum = self._identity.receive_max
            properties.MaximumPacketSize = PACKET_BYTES_MAX
        try:
            if properties is not None:
                self._client.connect(
                    host, port, self._identity.keepalive_s, clean_start=True, properties=properties
                )
            else:
                self._client.connect(host, port, self._identity.keepalive_s)
        except ssl.SSLCertVerificationError as e:
            raise CertificateRefused(f"{self.broker}: its certificate: {e.verify_message}") from e
        except ssl.SSLError as e:
            raise CertificateRefused(f"{self.broker}: TLS: {e.reason or e}") from e
        except (OSError, ValueError) as e:
            raise LinkFailed(f"{self.broker}: {reason_of(e)}") from e
        raw = self._client.socket()
        if isinstance(raw, socket.socket):  # ssl.SSLSocket is one too
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_LINK_MS)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fileno(self) -> int:
        """The socket to poll on; -1 when it is closed."""
        sock = self._client.socket()
        return -1 if sock is None else sock.fileno()

    def want_write(self) -> bool:
        return self._client.want_write()

    def service(self, *, readable: bool, writable: bool) -> None:
        """Read what came, write what waits, keep alive. Never blocks."""
        if readable:
            self._read()
            while self._pending() and not self._over:
                self._read()
        if (writable or self.want_write()) and not self._over:
            self._check(self._client.loop_write())
        if not self._over:
            self._check(self._client.loop_misc())

    def unsent_bytes(self) -> int:
        """What the kernel holds that the other side has not confirmed: 0 means that the link itself is alive."""
        fd = self.fileno()
        if fd < 0:
            return 0
        with contextlib.suppress(OSError):
            return int(struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)))[0])
        return 0

    def events(self) -> Iterator[LinkEvent]:
        """What happened since the last call, in order."""
        while self._events:
            yield self._events.popleft()

    def subscribe(self, topics: list[str], *, required: bool = True) -> None:
        """QoS 1. `Subscribed` or `Lost` follows; `NotSubscribed` when it is not `required` and was refused."""
        _, mid = self._client.subscribe([(topic, 1) for topic in topics])
        if not required and mid is not None:
            self._optional.add(mid)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand a message over with QoS 1; it is `in_flight` until the broker's PUBACK, which promises nothing."""
        self._in_flight.add(self._client.publish(topic, payload, qos=1, retain=retain).mid)

    @property
    def in_flight(self) -> int:
        """Messages without PUBACK."""
        return len(self._in_flight)

    @property
    def full(self) -> bool:
        """The broker takes nothing more before it has answered: another message could end the connection."""
        return len(self._in_flight) >= self._limit

    def acknowledge(self, arrived: Arrived) -> None:
        """PUBACK: this message need not come again."""
        if arrived.qos:
            self._client.ack(arrived.mid, arrived.qos)

    def close(self) -> None:
        """Say goodbye where that is possible, and let go of the socket within a second; the last will stays unsaid."""
        if not self._over:
            self._over = True
            self._say_goodbye()
        self._drop()

    def abort(self) -> None:
        """Let go of the socket without a word; the broker publishes the last will."""
        self._over = True
        self._drop()

    def _say_goodbye(self) -> None:
        """Nothing may lie unread when a socket is closed: the kernel would reset the connection (RFC 1122, 4.2.2.13),
        the goodbye would be lost, and the broker publish the last will. paho closes the socket; this is another handle.
        """
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self.fileno())) as line:
            self._client.disconnect()
            self._client.loop_write()
            line.shutdown(socket.SHUT_WR)
            ends = time.monotonic() + _GOODBYE_MAX_S
            while (left_s := ends - time.monotonic()) > 0:
                line.settimeout(left_s)
                if not line.recv(65_536):
                    return

    def _drop(self) -> None:
        sock = self._client.socket()
        if sock is not None:
            sock.close()

    def _pending(self) -> bool:
        sock = self._client.socket()
        return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0

    def _read(self) -> None:
        self._check(self._client.loop_read())
        # MQTT 3.1.1 has no word for what we take, and a broker may ignore it: paho would keep up to 256 MB
        announced = self._client._in_packet["remaining_length"]  # noqa: SLF001
        if announced > PACKET_BYTES_MAX:
            self._lost(LinkFailed(f"{self.broker} sends {announced} bytes at once, more than is taken"))

    def _check(self, code: MQTTErrorCode) -> None:
        if code not in {MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN}:
            self._lost(LinkFailed(f"{self.broker}: {self._log.text or 'the connection ended'}"))

    def _lost(self, error: SyncError) -> None:
        if self._over:
            return
        self._over = True
        if "alert" in self._log.text.lower() or "certificate" in self._log.text.lower():
            error = CertificateRefused(f"{self.broker}: {self._log.text}")
        elif not self._answered:
            error = ProtocolUnknown(f"{self.broker} hangs up on MQTT {self.protocol}")
        self._events.append(Lost(error))

    def _on_connect(self, _client: Client, _data: Any, _flags: Any, code: ReasonCode, props: Any) -> None:
        if code.is_failure:
            name = str(code)
            self._answered = name != "Unsupported protocol version"
            self._lost(LinkRefused(f"{self.broker} refuses the connection: {name}"))
            return
        self._answered = True
        limits = props if isinstance(props, Properties) else None
        self._limit = getattr(limits, "ReceiveMaximum", UNLIMITED)
        self._events.append(
            Connected(
                messages_max=getattr(limits, "ReceiveMaximum", None),
                bytes_max=getattr(limits, "MaximumPacketSize", None),
            )
        )

    def _on_subscribe(
        self, _client: Client, _data: Any, mid: int, codes: list[ReasonCode], _props: Any
    ) -> None:
        refused = [str(code) for code in codes if code.is_failure]
        if not refused:
            self._events.append(Subscribed())
        elif mid in self._optional:
            self._events.append(NotSubscribed(refused[0]))
        else:
            self._lost(LinkRefused(f"{self.broker} refuses the subscription: {refused[0]}"))

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        self._events.append(Arrived(topic, bytes(message.payload), message.mid, message.qos, message.retain))

    def _on_publish(self, _client: Client, _data: Any, mid: int, code: ReasonCode, _props: Any) -> None:
        self._in_flight.discard(mid)
        self.taken += 1
        if code.value >= _FAILURE:
            self._events.append(Refused(str(code)))

    def _on_disconnect(self, _client: Client, _data: Any, _flags: Any, code: ReasonCode, _props: Any) -> None:
        text = self._log.text or (str(code) if code.value != _UNSPECIFIED else "the connection ended")
        self._lost(LinkFailed(f"{self.broker}: {text}"))


class _LastError(logging.Logger):
    """Where paho says why a socket failed; its callbacks do not. Belongs to one link, and prints nothing."""

    def __init__(self) -> None:
        super().__init__("paho", logging.ERROR)
        self.text = ""
        handler = logging.Handler()
        handler.emit = self._keep  # type: ignore[method-assign]
        self.addHandler(handler)

    def _keep(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self.text = text.partition(": ")[2] or text
