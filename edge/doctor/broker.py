"""The way to the back office, step by step: name, connection, TLS, login, and what the access rules allow."""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final, Literal, assert_never

import msgspec
from cryptography import x509

from edge.doctor.files import dated
from edge.doctor.finding import Finding, fail, ok
from edge.errors import SyncError
from edge.sync.contract.topics import Peer
from edge.sync.link import (
    CONNECT_TIMEOUT_S,
    HANDSHAKE_TIMEOUT_S,
    Arrived,
    Connected,
    Identity,
    Link,
    LinkEvent,
    Lost,
    NotSubscribed,
    ProtocolUnknown,
    Refused,
    Subscribed,
)
from edge.sync.options import UplinkOptions, host_port

_KEEPALIVE_S: Final = 30


def broker(address: str, options: UplinkOptions, peer: Peer, now: datetime) -> Iterator[Finding]:
    """Every step to one broker; the first that fails is the last."""
    what = f"broker {address}"
    host, port = host_port(address)
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as e:
        yield fail(
            f"{what}: name", f"{host}: {e.strerror}", "check the name, DNS, and that this computer is online"
        )
        return
    try:
        with socket.create_connection((host, port), CONNECT_TIMEOUT_S) as raw:
            theirs = _presented(raw, host) if options.tls is not None else None
    except TimeoutError:
        yield fail(
            what, "no answer", "a firewall drops it, or the address is wrong: check host, port and route"
        )
        return
    except OSError as e:
        todo = "is the broker running, and on this port? 8883 is usual with TLS, 1883 without"
        yield fail(what, e.strerror or str(e), todo)
        return
    if theirs is not None:
        yield dated(f"{what}: its certificate", theirs, now)
    yield from _login(what, address, options, peer)


def _presented(raw: socket.socket, host: str) -> x509.Certificate | None:
    """The certificate that the broker shows, whoever signed it; None where it does not speak TLS."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only looked at here; the login below verifies it
    try:
        with context.wrap_socket(raw, server_hostname=host) as secured:
            der = secured.getpeercert(binary_form=True)
    except OSError:
        return None
    return None if der is None else x509.load_der_x509_certificate(der)


class _Told(msgspec.Struct):
    """What a visit brought."""

    connected: bool = False
    subscribed: bool = False
    refused: str | None = None
    lost: SyncError | None = None


def _login(what: str, address: str, options: UplinkOptions, peer: Peer) -> Iterator[Finding]:
    told = _Told()
    protocols: tuple[Literal["5", "3.1.1"], ...] = (
        ("5", "3.1.1") if options.protocol == "auto" else (options.protocol,)
    )
    protocol = protocols[0]
    for protocol in protocols:
        told = _visit(address, options, peer, protocol)
        if not isinstance(told.lost, ProtocolUnknown):
            break
    if told.lost is not None and not told.connected:
        yield fail(f"{what}: login", told.lost.message, told.lost.hint)
        return
    if not told.connected:
        yield fail(f"{what}: login", "does not speak MQTT", "another program listens there: check the port")
        return
    secured = ", TLS" if options.tls is not None else ""
    yield ok(what, f"resolved, connected{secured}, logged in with MQTT {protocol}")
    rules = f"{what}: access rules"
    if told.lost is not None or not told.subscribed:
        reason = told.lost.message if told.lost is not None else "the subscription was not answered"
        yield fail(rules, reason, f"let this device read {peer.topic('ack')}: `backoffice device enroll`")
    elif told.refused is not None:
        yield fail(
            rules, told.refused, f"let this device write {peer.topic('tx')}: `backoffice device enroll`"
        )
    elif protocol == "5":
        yield ok(rules, f"may write {peer.topic('tx')} and read {peer.topic('ack')}")
    else:
        yield ok(rules, f"may read {peer.topic('ack')}; MQTT 3.1.1 never says whether writing was refused")


def _visit(address: str, options: UplinkOptions, peer: Peer, protocol: Literal["5", "3.1.1"]) -> _Told:
    """Log in under a name of our own, so that a till that runs keeps its connection; send a message of no lines."""
    identity = Identity(
        client_id=f"doctor-{peer.site}-{peer.device}",
        keepalive_s=_KEEPALIVE_S,
        tls=options.tls,
        username=options.username,
        password_file=options.password_file,
    )
    told = _Told()
    try:
        link = Link(address, identity, protocol=protocol)
    except SyncError as e:
        told.lost = e
        return told
    try:
        link.open()
        _until(link, told, lambda: told.connected)
        if told.connected:
            link.subscribe([peer.topic("ack")])
            _until(link, told, lambda: told.subscribed)
        if told.subscribed:
            link.publish(peer.topic("tx"), b"\n")
            _until(link, told, lambda: link.in_flight == 0)
    except SyncError as e:
        told.lost = e
    finally:
        link.close()
    return told


def _until(link: Link, told: _Told, done: Callable[[], bool]) -> None:
    """Serve the connection until `done`, it is lost, or it has taken too long."""
    ends = time.monotonic() + HANDSHAKE_TIMEOUT_S
    while not done() and told.lost is None and (left := ends - time.monotonic()) > 0:
        fd = link.fileno()
        if fd < 0:
            return
        writers = [fd] if link.want_write() else []
        readable, writable, _ = select.select([fd], writers, [], min(left, 0.2))
        link.service(readable=bool(readable), writable=bool(writable))
        for event in link.events():
            _hear(told, event)


def _hear(told: _Told, event: LinkEvent) -> None:
    match event:
        case Connected():
            told.connected = True
        case Subscribed():
            told.subscribed = True
        case Refused(reason=reason):
            told.refused = reason
        case Lost(error=error):
            told.lost = error
        case Arrived() | NotSubscribed():
            pass  # an acknowledgement that was meant for the till
        case _:
            assert_never(event)
