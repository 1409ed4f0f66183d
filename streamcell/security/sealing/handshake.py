"""The handshake of a session: TLS 1.3 over bytes that somebody else carries.

The initiator is TLS's client. Flights go to and fro until it has finished. A client has finished before the other side
has looked at its certificate (RFC 8446, section 4.4.2.4). So the responder *concludes*: with a code under an exported
key it says that it takes the certificate, or, with a sentence, why it does not. TLS is not used beyond that, and what
OpenSSL would send after a handshake is dropped.
"""

from __future__ import annotations

import datetime as dt
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from OpenSSL import SSL

from streamcell.errors import AuthenticationError, ProtocolError, one_line
from streamcell.limits import HANDSHAKE_FLIGHT_BYTES
from streamcell.protocol.wire.covered import Lives, covered_by_keys, in_bytes
from streamcell.security.certificates import Material, identity_of
from streamcell.security.credentials import Credentials
from streamcell.security.sealing.keys import CODE_BYTES, SECRET_BYTES, CodeKey, CodeSecret, ContentSecret
from streamcell.security.sealing.session import Session
from streamcell.security.verification import fault_in_client

# What the two say that they speak (RFC 7301): a handshake that was meant for something else is none of these.
PROTOCOL: Final = b"streamcell-seal/1"
_LABEL = "EXPORTER-streamcell-v1 "


class Step(NamedTuple):
    """What comes of what the other side has sent. One with a session or a fault is the last.

    Attributes:
        data: what it is to be sent; empty: nothing.
        session: what the two share now.
        fault: why there will be no session, as a sentence; empty: nothing is wrong so far.
    """

    data: bytes = b""
    session: Session | None = None
    fault: str = ""


class _Done(NamedTuple):
    """What a side has when TLS is done."""

    contents: ContentSecret
    codes: CodeSecret
    conclusion: CodeKey
    shown: tuple[x509.Certificate, ...]


class _Side:
    """What both sides of a handshake do. Used by one thread at a time."""

    def __init__(self, lives: Lives, peer: str, credentials: Credentials) -> None:
        if lives.initiator == lives.responder:
            raise AuthenticationError(f"{lives.initiator} cannot have a session with itself")
        check_can_seal(credentials)
        self._lives = lives
        self._peer = peer
        self._credentials = credentials
        # Read once, so that a reload in the middle changes nothing.
        self._material = credentials.material
        self._connection: SSL.Connection | None = SSL.Connection(_context(self._material), None)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._lives.initiator} with {self._lives.responder}>"

    def _go_on(self, data: bytes) -> tuple[bytes, _Done | None]:
        """Go on with what the other side has sent; return what it is to be sent, and what there is when it is done."""
        connection, self._connection = self._connection, None
        if connection is None:
            raise ProtocolError(f"{self._peer} goes on with a handshake that is over")
        if data:
            _check_length(data, self._peer)
            connection.bio_write(data)
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            self._connection = connection
            return _written(connection), None
        except SSL.Error as error:
            raise ProtocolError(f"the handshake with {self._peer} failed: {_words_of(error)}") from error
        if connection.get_alpn_proto_negotiated() != PROTOCOL:
            raise ProtocolError(f"{self._peer} speaks TLS, but not {PROTOCOL.decode()}")
        return _written(connection), self._export(connection)

    def _export(self, connection: SSL.Connection) -> _Done:
        shown = _shown(connection)
        # What TLS exports is not bound to the client's certificate by itself.
        leaves = [self._material.chain[0], shown[0]]
        if self._peer == self._lives.initiator:
            leaves.reverse()
        first, second = (leaf.fingerprint(hashes.SHA256()) for leaf in leaves)
        context = covered_by_keys(self._lives, first, second)

        def export(purpose: str) -> bytes:
            return connection.export_keying_material((_LABEL + purpose).encode(), SECRET_BYTES, context)

        return _Done(ContentSecret(export("content")), CodeSecret(export("mac")), CodeKey(export("conclude")), shown)

    def _session(self, done: _Done, now: dt.datetime) -> Step:
        """Look at the other side's certificate; return the session, or what is wrong."""
        try:
            identity = identity_of(done.shown[0], self._credentials.config.template, self._peer)
        except AuthenticationError as error:
            return Step(fault=error.sentence)
        if not identity.covers(self._peer):
            return self._not_believed(f"is that of {identity.name}")
        fault = fault_in_client(done.shown, self._material.authorities, now)
        if fault:
            return self._not_believed(f"is not to be believed: {fault}")
        pem = b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in done.shown)
        return Step(session=Session(self._lives, identity, pem, done.contents, done.codes))

    def _not_believed(self, fault: str) -> Step:
        shown = f"the certificate that was shown for {self._peer} {fault}"
        return Step(fault=f"{shown}; if that is not the one it has, a cell on the way answers in its place")


class Initiator(_Side):
    """The side that begins.

    :param lives: between whom the session is to be, and under which id; the responder's life may not be known yet.
    :raises AuthenticationError: if this cell has not what it takes.
    """

    def __init__(self, lives: Lives, credentials: Credentials) -> None:
        super().__init__(lives, lives.responder, credentials)
        self._agreed: tuple[CodeKey, Step] | None = None
        if self._connection is not None:
            self._connection.set_connect_state()

    def begin(self) -> bytes:
        """Return the first flight."""
        return self._go_on(b"")[0]

    def feed(self, data: bytes, life: int, now: dt.datetime) -> Step:
        """Go on with what the responder has sent.

        :param life: its incarnation, as it says. The keys are bound to that.
        :raises ProtocolError: if that is not the next part of this handshake. Another one may do better.
        """
        if self._agreed is not None:
            return self._conclude(data)
        self._lives = self._lives._replace(responder_incarnation=life)
        flight, done = self._go_on(data)
        if done is None:
            return Step(flight)
        found = self._session(done, now)
        if found.session is None:
            return found
        self._agreed = (done.conclusion, found)
        return Step(flight)

    def _conclude(self, data: bytes) -> Step:
        agreed, self._agreed = self._agreed, None
        code, sentence = data[:CODE_BYTES], data[CODE_BYTES:]
        if agreed is None or not agreed[0].proves(code, in_bytes("conclude", sentence)):
            raise ProtocolError(f"{self._peer} has not concluded the handshake: something else came in its name")
        if sentence:
            return Step(fault=f"{self._peer} says: {one_line(sentence.decode('utf-8', 'replace'))}")
        return agreed[1]


class Responder(_Side):
    """The side that was asked.

    :param lives: between whom the session is to be, and under which id, as the initiator says.
    :raises AuthenticationError: if this cell has not what it takes.
    """

    def __init__(self, lives: Lives, credentials: Credentials) -> None:
        super().__init__(lives, lives.initiator, credentials)
        if self._connection is not None:
            self._connection.set_accept_state()

    def feed(self, data: bytes, now: dt.datetime) -> Step:
        """Go on with what the initiator has sent.

        :raises ProtocolError: if that is not the next part of this handshake.
        """
        flight, done = self._go_on(data)
        if done is None:
            return Step(flight)
        found = self._session(done, now)
        sentence = one_line(found.fault).encode()
        return found._replace(data=done.conclusion.code(in_bytes("conclude", sentence)) + sentence)


def check_can_seal(credentials: Credentials) -> None:
    """Check that a cell has what it takes to seal.

    :raises AuthenticationError: if not, with what is missing.
    """
    material = credentials.material
    if material.identity is None:
        raise AuthenticationError(
            "sealing needs a certificate with the name of this cell: give TLSConfig(cert=..., key=...)"
        )
    if not material.authorities:
        raise AuthenticationError("sealing needs to know whom to believe: give TLSConfig(ca=...)")


def _context(material: Material) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_max_proto_version(SSL.TLS1_3_VERSION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_alpn_protos([PROTOCOL])
    context.set_alpn_select_callback(
        lambda _, offered: PROTOCOL if PROTOCOL in offered else SSL.NO_OVERLAPPING_PROTOCOLS
    )
    # OpenSSL sees to it that there is a certificate and that its key was used. Whether it is to be believed is looked
    # at afterwards, as it is everywhere else.
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    context.use_certificate(material.chain[0])
    for certificate in material.chain[1:]:
        context.add_extra_chain_cert(certificate)
    context.use_privatekey(material.key())
    return context


def _written(connection: SSL.Connection) -> bytes:
    try:
        flight = connection.bio_read(HANDSHAKE_FLIGHT_BYTES + 1)
    except SSL.WantReadError:
        return b""
    _check_length(flight, "this cell")
    return flight


def _check_length(flight: bytes, whose: str) -> None:
    if len(flight) > HANDSHAKE_FLIGHT_BYTES:
        raise ProtocolError(
            f"a part of the handshake of {whose} has more than {HANDSHAKE_FLIGHT_BYTES} bytes: its certificates are "
            "too many"
        )


def _shown(connection: SSL.Connection) -> tuple[x509.Certificate, ...]:
    """Return the other side's certificate, and those that it has sent with it."""
    leaf = connection.get_peer_certificate(as_cryptography=True)
    if leaf is None:
        raise ProtocolError("no certificate was shown")
    # A server is given the chain without the leaf, a client with it.
    sent = connection.get_peer_cert_chain(as_cryptography=True) or []
    return (leaf, *(certificate for certificate in sent if certificate != leaf))


def _words_of(error: SSL.Error) -> str:
    reasons = error.args[0] if error.args else ()
    return "; ".join(str(reason[-1]).lower() for reason in reasons) or "it ended"
