"""Why does who listens there not let this cell in? A TLS handshake of its own finds out.

gRPC says of a handshake that failed that it failed. So after a dial that came to nothing the same handshake is made
once more, by pyOpenSSL, which tells the alert that the other side has sent. In TLS 1.3 (RFC 8446, section 4.4.2.4) the
side that dials has finished before it is refused, so the answer is waited for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import ipaddress
import select
import socket
import ssl
import time
from collections.abc import Callable, Sequence

from cryptography import x509
from OpenSSL import SSL

from streamcell.security.certificates import Material, date_text
from streamcell.security.verification import fault_in_server

# How long the other side may take to say that it does not believe this cell's certificate.
_ANSWER_S = 1.0
_READ_BYTES = 4096
# As OpenSSL words what is no TLS.
_PLAIN = ("wrong version number", "http request", "packet length too long", "record layer failure", "unexpected eof")


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """What a handshake has shown.

    Attributes:
        fault: what is wrong, as a part of a sentence that follows a URL; empty if nothing is.
        is_final: whether it stays so until somebody changes this cell's settings.
    """

    fault: str
    is_final: bool = False


def probe(host: str, port: int, material: Material, name: str, timeout_s: float) -> Finding:
    """Shake hands with who listens at ``host:port``, and return what is wrong. Blocks.

    :param name: the host that its certificate is to be for.
    """
    give_up_at = time.monotonic() + timeout_s
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            return _shake_hands(connection, material, name, give_up_at)
    except OSError as error:
        return Finding(f"cannot be reached: {error.strerror or error}")


def system_authorities() -> bytes:
    """Return the certificates of the authorities that this system believes, in PEM."""
    known = ssl.create_default_context().get_ca_certs(binary_form=True)
    return "".join(map(ssl.DER_cert_to_PEM_cert, known)).encode()


def _readable_authorities() -> list[x509.Certificate]:
    """Return those of them that can be read.

    Some old ones have the serial number 0, which RFC 5280 (section 4.1.2.2) does not allow: ``cryptography`` warns of
    them, and will refuse them.
    """
    context = ssl.create_default_context()
    found = []
    for described, der in zip(context.get_ca_certs(), context.get_ca_certs(binary_form=True), strict=True):
        if int(str(described["serialNumber"]), 16) > 0:
            with contextlib.suppress(ValueError):
                found.append(x509.load_der_x509_certificate(der))
    return found


def _shake_hands(connection: socket.socket, material: Material, name: str, give_up_at: float) -> Finding:
    connection.setblocking(False)
    tls = SSL.Connection(_context(material), connection)
    tls.set_connect_state()
    if not _is_ip(name):
        tls.set_tlsext_host_name(name.encode("ascii"))
    try:
        _run(tls.do_handshake, connection, give_up_at)
    except SSL.Error as error:
        return _refused(error, material, connected=False)
    except TimeoutError:
        return Finding("accepts connections and then says nothing: it is no TLS listener, or is busy")
    finding = _fault_in_what_it_shows(tls, material, name)
    if finding.fault:
        return finding
    try:
        _run(lambda: tls.recv(_READ_BYTES), connection, min(give_up_at, time.monotonic() + _ANSWER_S))
    except TimeoutError:
        pass
    except SSL.Error as error:
        return _refused(error, material, connected=True)
    return Finding("")


def _context(material: Material) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_alpn_protos([b"h2"])
    # Its certificate is looked at afterwards, so that it can be said what is wrong with it.
    context.set_verify(SSL.VERIFY_NONE)
    if material.chain:
        context.use_certificate(material.chain[0])
        for certificate in material.chain[1:]:
            context.add_extra_chain_cert(certificate)
        context.use_privatekey(material.key())
    return context


def _run(step: Callable[[], object], connection: socket.socket, give_up_at: float) -> None:
    """Take a step that may have to wait for the other side.

    :raises TimeoutError: if it does not come in time.
    """
    while True:
        left = give_up_at - time.monotonic()
        try:
            step()
        except SSL.WantReadError:
            readable, writable = [connection], []
        except SSL.WantWriteError:
            readable, writable = [], [connection]
        else:
            return
        if left <= 0 or not any(select.select(readable, writable, [], left)):
            raise TimeoutError


def _fault_in_what_it_shows(tls: SSL.Connection, material: Material, name: str) -> Finding:
    chain = tls.get_peer_cert_chain(as_cryptography=True) or []
    if tls.get_alpn_proto_negotiated() != b"h2":
        return Finding("speaks TLS, but not HTTP/2: something other than a cell listens there")
    authorities: Sequence[x509.Certificate] = material.authorities or _readable_authorities()
    fault = fault_in_server(chain, authorities, name, dt.datetime.now(dt.UTC))
    if fault:
        return Finding(f"shows a certificate that is not to be believed: {fault}")
    return Finding("")


def _refused(error: SSL.Error, material: Material, *, connected: bool) -> Finding:
    said = _words_of(error)
    if not connected and any(plain in said for plain in _PLAIN):
        return Finding("does not speak TLS: use grpc://", is_final=True)
    if not material.chain:
        if connected or "certificate required" in said or "handshake failure" in said:
            return Finding("wants a certificate, and this cell has none: give it cert and key", is_final=True)
        return Finding(f"ends the handshake: {said}")
    leaf = material.chain[0]
    if leaf.not_valid_after_utc < dt.datetime.now(dt.UTC):
        until = date_text(leaf.not_valid_after_utc)
        return Finding(f"refuses this cell's certificate, which expired on {until}: renew it")
    issuer = leaf.issuer.rfc4514_string()
    if connected or "unknown ca" in said:
        # gRPC hangs up without a word.
        return Finding(
            f"hangs up when it has seen this cell's certificate, which '{issuer}' has issued: does it believe that "
            "authority? It needs it as ca; and is its clock right?"
        )
    return Finding(f"ends the handshake: {said}")


def _words_of(error: SSL.Error) -> str:
    if isinstance(error, SSL.ZeroReturnError | SSL.SysCallError):
        return "unexpected eof"
    return "; ".join(str(reason[-1]).lower() for reason in error.args[0])


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
