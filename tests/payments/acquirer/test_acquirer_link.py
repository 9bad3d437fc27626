"""The line itself, over real sockets: sign-on, TLS, frames, echoes, losses, and what comes back to whom."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import random
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge.domain.payment import Authorized, Captured, Declined, InDoubt, Reversed
from edge.errors import ConfigError
from edge.payments.acquirer import link as link_module
from edge.payments.acquirer.errors import AcquirerGarbled, AcquirerUnreachable
from edge.payments.acquirer.fields import MESSAGE_MAX, Codec
from edge.payments.acquirer.link import AcquirerLink, Backoff
from edge.payments.acquirer.messages import ECHO, SIGN_ON, Messages
from edge.payments.acquirer.options import Tls, Wire
from edge.payments.acquirer.payment import AcquirerPayment
from edge.runtime.clock import SystemClock
from hw.virtual.acquirer import VirtualAcquirer
from hw.virtual.acquirer_host import Fault, Host
from hw.virtual.acquirer_wire import Dialect

from .conftest import PAN, TOKEN, Journal, card, options

CLOCK = SystemClock(trust="always")
FAST = {"answer_s": 5, "ready_s": 20, "retry_s": 0.01, "retry_max_s": 0.05, "tries": 5}


@contextlib.asynccontextmanager
async def linked(acquirer, **changes):
    """A link that is being served, and what pays over it."""
    conf = options(**(FAST | {"port": acquirer.port} | changes))
    link = AcquirerLink(conf, clock=CLOCK, draw=random.Random(1))
    serving = asyncio.create_task(link.serve())
    try:
        yield link, AcquirerPayment(link, Journal(), options=conf, clock=CLOCK, draw=random.Random(2))
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def until(condition):
    while not condition():  # noqa: ASYNC110 - what is waited for is a counter
        await asyncio.sleep(0.005)


async def hold(pay, ref="r", amount_minor=5000):
    pay._journal.begin(ref, amount_minor)
    pay.offer(ref, card())
    return await pay.preauthorize(ref, amount_minor=amount_minor, currency="EUR", token=TOKEN)


@pytest.mark.parametrize(("bitmap", "icc"), [("binary", "binary"), ("hex", "hex"), ("hex", "binary")])
def test_a_payment_over_tcp_in_each_dialect(bitmap, icc):
    async def scenario():
        async with await VirtualAcquirer.start(Host(dialect=Dialect(bitmap, icc))) as acquirer:
            async with linked(acquirer, wire=Wire(bitmap=bitmap, icc=icc)) as (_, pay):
                assert await hold(pay) == Authorized(ref="r", hold_minor=5000)
                answer = await pay.capture("r", amount_minor=99, currency="EUR")
                assert answer == Captured(ref="r", amount_minor=99)
            assert acquirer.host.books.captured_minor == 99

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", ["lost_reply", "silent", "garbage", "lost_request"])
def test_each_loss_on_a_real_line_ends_in_an_end(kind):
    async def scenario():
        async with await VirtualAcquirer.start() as acquirer:
            acquirer.host.script(Fault(kind, on="0100"), Fault(kind, on="0420"))
            async with linked(acquirer, answer_s=0.6, echo_s=0.5) as (_, pay):
                answer = await hold(pay)
                while isinstance(answer, InDoubt):
                    await asyncio.sleep(0.1)
                    answer = await pay.preauthorize("r", amount_minor=5000, currency="EUR", token=TOKEN)
                assert answer == Declined(ref="r", reason="no_answer")
        assert acquirer.host.books.open == ()

    asyncio.run(scenario())


async def settle(pay, ref, total_minor):
    """From the tap to the end, asked again after every doubt. What was taken."""
    answer = await hold(pay, ref)
    while isinstance(answer, InDoubt):
        await asyncio.sleep(0.05)
        answer = await pay.preauthorize(ref, amount_minor=5000, currency="EUR", token=TOKEN)
    if isinstance(answer, Declined):
        return 0
    while True:
        with contextlib.suppress(AcquirerUnreachable):
            if total_minor:
                answer = await pay.capture(ref, amount_minor=total_minor, currency="EUR")
            else:
                answer = await pay.reverse(ref)
            if isinstance(answer, Captured | Reversed):
                return total_minor
        await asyncio.sleep(0.05)


def test_a_line_that_keeps_breaking_loses_and_doubles_nothing():
    draw = random.Random(5)
    kinds = (
        "lost_request",
        "lost_reply",
        "silent",
        "ignored",
        "late_reply",
        "late_request",
        "duplicate_reply",
        "garbage",
    )

    async def scenario():
        async with await VirtualAcquirer.start() as acquirer:
            faults = [
                Fault(draw.choice(kinds), on=draw.choice(("0100", "0220", "0420", "0800")), seconds=0.2)
                for _ in range(25)
            ]
            acquirer.host.script(*faults)
            async with linked(acquirer, answer_s=0.3, echo_s=0.2) as (_, pay):
                totals = [draw.choice((0, 1, 1234, 5000)) for _ in range(24)]
                taken = []
                for n in range(0, 24, 6):
                    some = [settle(pay, f"r{m}", totals[m]) for m in range(n, n + 6)]
                    taken += await asyncio.gather(*some)
            books = acquirer.host.books
            assert books.open == ()
            assert books.captured_minor == sum(taken)
            assert sum(taken) > 0
            ends = [e.rrn for e in books.entries if e.what in {"capture", "reverse"}]
            assert len(ends) == len(set(ends)) == len(books.holds())

    asyncio.run(asyncio.wait_for(scenario(), 120))


def test_many_payments_share_one_line_and_answers_find_their_questions():
    async def scenario():
        async with await VirtualAcquirer.start() as acquirer, linked(acquirer) as (link, pay):
            slow = [Fault("late_reply", seconds=0.05 * (n % 3)) for n in range(20)]
            acquirer.host.script(*slow)
            refs = [f"r{n}" for n in range(20)]
            for n, ref in enumerate(refs):
                pay._journal.begin(ref, 1000 + n)
            answers = []
            for some in (refs[:7], refs[7:14], refs[14:]):
                for ref in some:
                    pay.offer(ref, card())
                answers += await asyncio.gather(
                    *(
                        pay.preauthorize(
                            ref, amount_minor=1000 + refs.index(ref), currency="EUR", token=TOKEN
                        )
                        for ref in some
                    )
                )
            assert answers == [Authorized(ref=r, hold_minor=1000 + n) for n, r in enumerate(refs)]
            assert acquirer.connections == 1
            assert link.late == 0

    asyncio.run(scenario())


def test_late_and_double_answers_are_nobody_s():
    async def scenario():
        async with await VirtualAcquirer.start() as acquirer:
            acquirer.host.script(Fault("late_reply", seconds=1.2), Fault("duplicate_reply", on="0420"))
            async with linked(acquirer, answer_s=0.6) as (link, pay):
                assert isinstance(await hold(pay), Declined | InDoubt)
                acquirer.host.heal()
                await until(lambda: link.late >= 2)
                assert link.connected
        assert acquirer.host.books.open == ()

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_line_that_is_cut_comes_back_and_signs_on_again():
    async def scenario():
        async with await VirtualAcquirer.start() as acquirer, linked(acquirer) as (link, pay):
            await hold(pay)
            for n in range(3):
                acquirer.cut()
                await until(lambda n=n: acquirer.connections >= n + 2)
                assert await link.ready(20)
            assert await pay.reverse("r") == Reversed(ref="r")

    asyncio.run(scenario())


def test_a_host_that_falls_silent_is_noticed_by_its_missing_echo():
    async def scenario():
        async with (
            await VirtualAcquirer.start() as acquirer,
            linked(acquirer, echo_s=0.05, answer_s=0.3) as (link, _),
        ):
            assert await link.ready(20)
            acquirer.host.script(Fault("ignored", on="0800"))
            await until(lambda: acquirer.connections >= 2)

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_nothing_is_asked_before_the_sign_on():
    async def scenario():
        async with await VirtualAcquirer.start() as acquirer:
            acquirer.host.script(*[Fault("ignored", on="0800")] * 1000)
            async with linked(acquirer, answer_s=0.1, ready_s=0.3) as (link, pay):
                assert await hold(pay) == Declined(ref="r", reason="no_connection")
                assert not link.connected
                with pytest.raises(AcquirerUnreachable):
                    await link.ask(Messages(options()).network(ECHO, stan=1, at_s=0), within_s=1)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "noise", [b"\x00\x00", b"\xff\xff" + bytes(9), b"\x00\x04abcd", b"HTTP/1.1 400\r\n\r\n"]
)
def test_a_host_that_talks_nonsense_is_hung_up_on_and_tried_again(noise):
    async def scenario():
        seen = 0

        async def serve(_reader, writer):
            nonlocal seen
            seen += 1
            writer.write(noise)
            with contextlib.suppress(OSError):
                await writer.drain()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        conf = options(**(FAST | {"port": server.sockets[0].getsockname()[1]}))
        link = AcquirerLink(conf, clock=CLOCK)
        serving = asyncio.create_task(link.serve())
        await until(lambda: seen >= 3)
        assert not link.connected
        assert link.trouble is not None
        serving.cancel()
        server.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))


@pytest.mark.parametrize(
    ("wire", "prefix"),
    [
        (Wire(length_bytes=4), lambda n: n.to_bytes(4, "big")),
        (Wire(length_bytes=4, length="text"), lambda n: b"%04d" % n),
        (Wire(length="bcd"), lambda n: bytes.fromhex(f"{n:04}")),
        (Wire(length_bytes=2, length_counts_itself=True), lambda n: (n + 2).to_bytes(2, "big")),
        (Wire(header="6000010000"), lambda n: (n).to_bytes(2, "big")),
    ],
)
def test_frames_as_other_hosts_count_them(wire, prefix):
    async def scenario():
        sent = asyncio.get_running_loop().create_future()

        async def serve(reader, writer):
            head = len(prefix(0))
            first = await reader.readexactly(head)
            codec = Codec(wire)
            message = codec.encode("0810", {7: "1122235950", 11: "000001", 39: "00", 70: SIGN_ON})
            body = await reader.readexactly(next(n for n in range(MESSAGE_MAX) if prefix(n) == first))
            mti, fields = codec.decode(body)
            message = codec.encode("0810", {n: fields[n] for n in (7, 11, 70)} | {39: "00"})
            writer.write(prefix(len(message)) + message)
            sent.set_result((mti, fields[70]))
            await reader.read()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        conf = options(**(FAST | {"port": server.sockets[0].getsockname()[1], "wire": wire}))
        link = AcquirerLink(conf, clock=CLOCK)
        serving = asyncio.create_task(link.serve())
        assert await link.ready(20)
        assert await sent == ("0800", SIGN_ON)
        serving.cancel()
        server.close()

    asyncio.run(scenario())


def test_a_host_may_ask_for_an_echo_too():
    async def scenario():
        answered = asyncio.get_running_loop().create_future()

        async def serve(reader, writer):
            codec = Codec(Wire())

            async def read():
                return codec.decode(
                    await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                )

            def say(mti, fields):
                message = codec.encode(mti, fields)
                writer.write(len(message).to_bytes(2, "big") + message)

            _, fields = await read()
            say("0810", fields | {39: "00"})
            say("0800", {7: "1122235950", 11: "000777", 70: ECHO})
            answered.set_result(await read())

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        conf = options(**(FAST | {"port": server.sockets[0].getsockname()[1]}))
        serving = asyncio.create_task(AcquirerLink(conf, clock=CLOCK).serve())
        mti, fields = await answered
        assert (mti, fields[11], fields[39]) == ("0810", "000777", "00")
        serving.cancel()
        server.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))


def _usage(*, ca):
    names = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
             "decipher_only")  # fmt: skip
    return x509.KeyUsage(
        digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, **dict.fromkeys(names, False)
    )


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """A CA, the host's certificate, and ours: PEM files."""
    folder = tmp_path_factory.mktemp("pki")
    now = dt.datetime.now(dt.UTC)

    def issue(name, by=None):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(by[0] if by else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                critical=False,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key((by[1] if by else key).public_key()),
                critical=False,
            )
            .add_extension(_usage(ca=by is None), critical=True)
            .sign(by[1] if by else key, hashes.SHA256())
        )
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return subject, key

    ca = issue("ca")
    issue("host", ca)
    issue("till", ca)
    issue("stranger")
    return folder


def host_context(pki, *, wants_client):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "host.pem", pki / "host.key")
    if wants_client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(pki / "ca.pem")
    return context


def test_tls_with_both_certificates(pki):
    async def scenario():
        tls = Tls(ca=str(pki / "ca.pem"), cert=str(pki / "till.pem"), key=str(pki / "till.key"))
        context = host_context(pki, wants_client=True)
        async with (
            await VirtualAcquirer.start(context=context) as acquirer,
            linked(acquirer, tls=tls) as (_, pay),
        ):
            assert await hold(pay) == Authorized(ref="r", hold_minor=5000)

    asyncio.run(scenario())


@pytest.mark.parametrize("trust", ["stranger", None])
def test_a_host_that_cannot_prove_itself_gets_no_card(pki, trust):
    async def scenario():
        tls = Tls(ca=str(pki / f"{trust}.pem") if trust else None)
        context = host_context(pki, wants_client=False)
        async with await VirtualAcquirer.start(context=context) as acquirer:
            async with linked(acquirer, tls=tls, ready_s=0.5) as (link, pay):
                assert await hold(pay) == Declined(ref="r", reason="no_connection")
                await until(lambda: link.trouble is not None)
                assert link.trouble.code == "acquirer.refused"
            assert acquirer.host.books.holds() == ()

    asyncio.run(scenario())


def test_a_time_zone_that_nobody_knows_is_said_at_the_start():
    for zone in ("Europe/Bonn", "../etc/passwd"):
        with pytest.raises(ConfigError, match=r"acquirer\.time_zone"):
            AcquirerLink(options(time_zone=zone), clock=CLOCK)


def test_plain_tcp_is_for_this_computer_only():
    for host in ("127.0.0.1", "::1", "localhost"):
        AcquirerLink(options(host=host), clock=CLOCK)
    for host in ("192.0.2.1", "acquirer.example"):
        with pytest.raises(ConfigError, match="another computer"):
            AcquirerLink(options(host=host), clock=CLOCK)


def test_tls_files_that_cannot_be_used_are_said_at_the_start(tmp_path):
    (tmp_path / "empty").write_text("")
    for tls in (Tls(ca=str(tmp_path / "gone")), Tls(cert=str(tmp_path / "empty"))):
        with pytest.raises(ConfigError, match=r"acquirer\.tls"):
            AcquirerLink(options(tls=tls), clock=CLOCK)


def test_waits_between_connections_are_random_and_bounded():
    backoff = Backoff(1, 8, random.Random(4))
    waits = [backoff.next_s() for _ in range(200)]
    assert max(waits) <= 8
    assert waits[0] <= 1
    assert max(waits) > 4
    backoff.reset()
    assert backoff.next_s() <= 1


def test_a_host_that_only_talks_and_never_answers_is_hung_up_on(monkeypatch):
    monkeypatch.setattr(link_module, "_UNASKED_MAX", 20)

    async def scenario():
        connections = 0

        async def serve(_reader, writer):
            nonlocal connections
            connections += 1
            answer = Codec(Wire()).encode("0110", {11: "000001", 37: "0" * 12, 39: "00"})
            with contextlib.suppress(OSError):
                for _ in range(100):
                    writer.write(len(answer).to_bytes(2, "big") + answer)
                    await writer.drain()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        conf = options(**(FAST | {"port": server.sockets[0].getsockname()[1]}))
        link = AcquirerLink(conf, clock=CLOCK)
        serving = asyncio.create_task(link.serve())
        await until(lambda: connections >= 2)
        assert link.late >= 20
        serving.cancel()
        server.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_no_more_questions_at_once_than_the_bound(monkeypatch):
    monkeypatch.setattr(link_module, "WAITING_MAX", 2)

    async def scenario():
        async with await VirtualAcquirer.start() as acquirer, linked(acquirer) as (link, _):
            assert await link.ready(20)
            acquirer.host.script(*[Fault("late_reply", on="0800", seconds=0.3)] * 2)
            messages = Messages(options())
            two = [
                asyncio.create_task(link.ask(messages.network(ECHO, stan=900_000 + n, at_s=0), within_s=20))
                for n in range(2)
            ]
            await asyncio.sleep(0)
            with pytest.raises(AcquirerUnreachable):
                await link.ask(messages.network(ECHO, stan=900_003, at_s=0), within_s=1)
            assert [r.code for r in await asyncio.gather(*two)] == ["00", "00"]

    asyncio.run(scenario())


def test_nothing_that_fails_quotes_card_data():
    codec = Codec(Wire())
    whole = codec.encode("0100", {2: PAN, 3: "000000", 35: f"{PAN}=2912", 37: "1" * 12})
    cut = [whole[:n] for n in range(len(whole))]
    flipped = [whole[:n] + bytes((whole[n] ^ 0x51,)) + whole[n + 1 :] for n in range(len(whole))]
    for data in cut + flipped:
        try:
            codec.decode(data)
        except AcquirerGarbled as e:
            said = f"{e!r} {e} {e.__cause__!r}"
            assert PAN[:8] not in said
            assert PAN[-8:] not in said
    with pytest.raises(AcquirerGarbled) as caught:
        codec.encode("0100", {2: PAN + "x"})
    assert PAN not in str(caught.value)
    assert PAN not in repr(card()) + str(card())
