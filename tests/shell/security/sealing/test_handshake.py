"""The handshake of a session, as bytes that a test carries."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from streamcell.errors import AuthenticationError, ProtocolError
from streamcell.limits import HANDSHAKE_FLIGHT_BYTES
from streamcell.protocol.wire.covered import Lives
from streamcell.security.certificates import load
from streamcell.security.credentials import Credentials
from streamcell.security.sealing.handshake import Initiator, Responder, Step, check_can_seal
from streamcell.security.sealing.session import Session
from streamcell.security.settings import TLSConfig
from streamcell.security.templates import IdentityTemplate
from tests.kit.certificates import DAY, NOW, TestAuthority
from tests.kit.timing import scaled

AUTHORITY = TestAuthority()
OTHER = TestAuthority("another authority")
SITE = Credentials(AUTHORITY.config("site-1"))
SERVER = Credentials(AUTHORITY.config("server"))
LIVES = Lives("site-1", 11, "server", 22, bytes(range(16)))


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def unchanged(_number: int, data: bytes) -> bytes:
    return data


def shake(
    initiator: Credentials = SITE,
    responder: Credentials = SERVER,
    *,
    lives: Lives = LIVES,
    answered_as: Lives | None = None,
    carry: Callable[[int, bytes], bytes] = unchanged,
) -> tuple[Step, Step]:
    """Both sides' last steps. ``carry`` says what becomes of each flight on its way."""
    one, other = Initiator(lives, initiator), Responder(answered_as or lives, responder)
    data, number = one.begin(), 0
    while number < 10:
        answer = other.feed(carry(number, data), now())
        step = one.feed(carry(number + 1, answer.data), lives.responder_incarnation, now())
        if answer.session or answer.fault or step.fault:
            return step, answer
        data, number = step.data, number + 2
    raise ProtocolError("it does not come to an end")


def agreed(step: Step) -> Session:
    assert step.session is not None, step
    return step.session


def test_both_have_the_same_keys() -> None:
    sessions = [agreed(step) for step in shake()]
    assert [session.peer.name for session in sessions] == ["server", "site-1"]
    for origin in ("site-1", "server"):
        one, other = (session.keys_of(origin, 7) for session in sessions)
        assert one.code.code(b"frame") == other.code.code(b"frame")
        sealed = one.content.of_attempt(1).seal(0, b"payload", b"place")
        assert other.content.of_attempt(1).open(0, sealed, b"place") == b"payload"
    codes = [sessions[0].keys_of(origin, 7).code.code(b"frame") for origin in ("site-1", "server")]
    assert codes[0] != codes[1]


def test_every_handshake_has_fresh_keys() -> None:
    codes = {agreed(shake()[0]).keys_of("site-1", 7).code.code(b"frame") for _ in range(3)}
    assert len(codes) == 3


def test_cells_below_the_name_of_the_certificate() -> None:
    lives = LIVES._replace(initiator="site-1.job", responder="server.store")
    assert agreed(shake(lives=lives)[1]).peer.name == "site-1"


def test_certificates_of_spiffe() -> None:
    template = "spiffe://example.org/{fqcn}"
    made = [AUTHORITY.authority.issue(name, NOW, template=IdentityTemplate(template)) for name in ("a", "b")]
    ends = [
        Credentials(TLSConfig(ca=AUTHORITY.ca, cert=each.certificate, key=each.key, identity=template)) for each in made
    ]
    assert agreed(shake(*ends, lives=LIVES._replace(initiator="a", responder="b"))[0]).peer.name == "b"


@pytest.mark.parametrize("number", range(5))
def test_keys_differ_where_the_ends_do_not_mean_the_same_lives(number: int) -> None:
    others = [
        LIVES._replace(initiator="site-1.job"),
        LIVES._replace(initiator_incarnation=12),
        LIVES._replace(responder="server.store"),
        LIVES._replace(responder_incarnation=23),
        LIVES._replace(session_id=bytes(16)),
    ]
    with pytest.raises(ProtocolError, match="has not concluded"):
        shake(answered_as=others[number])


# --- who is not to be believed ---------------------------------------------------------------------


def test_another_cell_answers_in_its_place() -> None:
    step, _ = shake(responder=Credentials(AUTHORITY.config("server-2")))
    assert step.fault.startswith("the certificate that was shown for server is that of server-2; ")
    assert step == Step(fault=step.fault)


def test_another_cell_asks_in_its_name() -> None:
    step, answer = shake(Credentials(AUTHORITY.config("site-2")))
    assert answer.fault.startswith("the certificate that was shown for site-1 is that of site-2; ")
    assert step == Step(fault=f"server says: {answer.fault}")


def test_another_authority_there() -> None:
    step, _ = shake(responder=Credentials(OTHER.config("server")))
    assert "for server is not to be believed: it was issued by 'CN=another authority'" in step.fault


def test_another_authority_here() -> None:
    mixed = OTHER.issue("site-1")
    site = Credentials(TLSConfig(ca=AUTHORITY.ca, cert=mixed.certificate, key=mixed.key))
    step, answer = shake(site)
    assert "for site-1 is not to be believed: it was issued by 'CN=another authority'" in answer.fault
    assert (step.session, step.fault) == (None, f"server says: {answer.fault}")


def expired(fqcn: str) -> Credentials:
    issued = AUTHORITY.issue(fqcn, now=NOW - 20 * DAY, days=10)
    return Credentials(TLSConfig(ca=AUTHORITY.ca, cert=issued.certificate, key=issued.key))


def test_expired_certificates() -> None:
    assert (
        "the certificate that was shown for server is not to be believed: it expired"
        in shake(responder=expired("server"))[0].fault
    )
    assert (
        "says: the certificate that was shown for site-1 is not to be believed: it expired"
        in shake(expired("site-1"))[0].fault
    )


def test_a_certificate_without_a_cell_s_name() -> None:
    elsewhere = Credentials(AUTHORITY.config("server", identity="spiffe://example.org/{fqcn}"))
    with pytest.raises(AuthenticationError, match="with the name of this cell"):
        Responder(LIVES, elsewhere)
    template = Credentials(AUTHORITY.config("site-1", identity="other:{fqcn}"))
    with pytest.raises(AuthenticationError, match="with the name of this cell"):
        check_can_seal(template)


def test_what_is_missing_here() -> None:
    with pytest.raises(AuthenticationError, match="needs a certificate with the name"):
        Initiator(LIVES, Credentials(TLSConfig(ca=AUTHORITY.ca)))
    issued = AUTHORITY.issue("site-1")
    with pytest.raises(AuthenticationError, match=r"whom to believe: give TLSConfig\(ca=...\)"):
        Initiator(LIVES, Credentials(TLSConfig(cert=issued.certificate, key=issued.key)))


def test_nobody_has_a_session_with_itself() -> None:
    with pytest.raises(AuthenticationError, match="with itself"):
        Initiator(LIVES._replace(responder="site-1"), SITE)


def test_a_session_is_looked_at_again() -> None:
    session = agreed(shake()[0])
    assert session.fault_in(SITE, now()) == ""
    until = dt.datetime.fromtimestamp(session.peer.expires_at or 0, dt.UTC)
    assert session.fault_in(SITE, until + dt.timedelta(seconds=29)) == ""
    assert "it expired" in session.fault_in(SITE, until + dt.timedelta(seconds=31))
    issued = AUTHORITY.issue("site-1")
    believes_others = Credentials(TLSConfig(ca=OTHER.ca, cert=issued.certificate, key=issued.key))
    assert "issued by 'CN=test authority'" in session.fault_in(believes_others, now())


# --- what comes in the way -------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3), st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_no_bit_of_it_can_be_changed(flight: int, where: float, bit: int) -> None:
    def carry(number: int, data: bytes) -> bytes:
        if number != flight or not data:
            return data
        changed = bytearray(data)
        changed[int(where * len(data))] ^= 1 << bit
        return bytes(changed)

    try:
        steps = shake(carry=carry)
    except ProtocolError:
        return
    # What some bytes of a record's head say is looked at by nobody (RFC 8446, section 5.1); the keys are right then.
    one, other = (agreed(step).keys_of("site-1", 7).code.code(b"frame") for step in steps)
    assert one == other


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2), st.binary(max_size=2000))
def test_anything_else_is_no_handshake(flight: int, data: bytes) -> None:
    """Something else in place of a flight is refused, or is taken for one that is not there in full."""
    one, other = Initiator(LIVES, SITE), Responder(LIVES, SERVER)
    flights = [one.begin()]
    flights.append(other.feed(flights[0], now()).data)
    flights.append(one.feed(flights[1], 22, now()).data)
    initiator, responder = Initiator(LIVES, SITE), Responder(LIVES, SERVER)
    initiator.begin()
    if flight == 2:
        responder.feed(flights[0], now())
    with contextlib.suppress(ProtocolError):
        step = initiator.feed(data, 22, now()) if flight == 1 else responder.feed(data, now())
        assert step == Step()


def test_a_flight_that_is_too_long() -> None:
    with pytest.raises(ProtocolError, match=f"of site-1 has more than {HANDSHAKE_FLIGHT_BYTES} bytes"):
        Responder(LIVES, SERVER).feed(bytes(HANDSHAKE_FLIGHT_BYTES + 1), now())
    issued = AUTHORITY.issue("server")
    long = TLSConfig(ca=AUTHORITY.ca, cert=issued.certificate + AUTHORITY.ca * 100, key=issued.key)
    with pytest.raises(ProtocolError, match="of this cell has more than"):
        shake(responder=Credentials(long))


def test_nothing_is_taken_after_the_end() -> None:
    one, other = Initiator(LIVES, SITE), Responder(LIVES, SERVER)
    flight = one.feed(other.feed(one.begin(), now()).data, 22, now()).data
    conclusion = other.feed(flight, now()).data
    with pytest.raises(ProtocolError, match="that is over"):
        other.feed(flight, now())
    assert one.feed(conclusion, 22, now()).session is not None
    with pytest.raises(ProtocolError, match="that is over"):
        one.feed(conclusion, 22, now())


def test_an_earlier_conclusion_is_none() -> None:
    earlier: list[bytes] = []

    def record(_number: int, data: bytes) -> bytes:
        earlier.append(data)
        return data

    shake(carry=record)
    with pytest.raises(ProtocolError, match="has not concluded"):
        shake(carry=lambda number, data: earlier[3] if number == 3 else data)


def speaking(version: int, protocols: list[bytes]) -> SSL.Connection:
    """What speaks another TLS."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_max_proto_version(version)
    material = load(AUTHORITY.config("site-1"))
    context.use_certificate(material.chain[0])
    context.use_privatekey(material.key())
    if protocols:
        context.set_alpn_protos(protocols)
    connection = SSL.Connection(context, None)
    connection.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    return connection


def test_an_older_tls() -> None:
    flight = speaking(SSL.TLS1_2_VERSION, [b"streamcell-seal/1"]).bio_read(4096)
    with pytest.raises(ProtocolError, match="unsupported protocol"):
        Responder(LIVES, SERVER).feed(flight, now())


@pytest.mark.parametrize("protocols", [[], [b"h2"]])
def test_another_protocol_over_tls(protocols: list[bytes]) -> None:
    client, responder = speaking(SSL.TLS1_3_VERSION, protocols), Responder(LIVES, SERVER)

    def go_on() -> None:
        client.bio_write(responder.feed(client.bio_read(4096), now()).data)
        client.do_handshake()
        responder.feed(client.bio_read(4096), now())

    with pytest.raises(ProtocolError, match=r"no application protocol|but not streamcell-seal/1"):
        go_on()


def test_sides_and_sessions_show_no_secrets() -> None:
    assert repr(Initiator(LIVES, SITE)) == "<Initiator of site-1 with server>"
    assert repr(Responder(LIVES, SERVER)) == "<Responder of site-1 with server>"
    assert repr(agreed(shake()[0])) == "<Session of site-1 with server>"


def test_what_a_handshake_costs() -> None:
    rounds = 20
    begun = time.thread_time()
    for _ in range(rounds):
        shake()
    assert (time.thread_time() - begun) / rounds < scaled(0.02)
