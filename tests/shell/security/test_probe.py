"""What a handshake finds out, beside listeners of gRPC."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from streamcell.security.certificates import Material, load
from streamcell.security.probe import probe
from streamcell.security.settings import TLSConfig
from streamcell.security.templates import host_of_cell
from streamcell.transport.grpc.environment import grpc
from streamcell.transport.grpc.tls import server_credentials
from tests.kit.certificates import DAY, HOST, NOW, TestAuthority, listening
from tests.kit.timing import scaled

AUTHORITY = TestAuthority()
OTHER = TestAuthority("another authority")


def find(port: int, config: TLSConfig, name: str = HOST) -> tuple[str, bool]:
    finding = probe(HOST, port, load(config), name, scaled(10))
    return finding.fault, finding.is_final


def test_nothing_is_wrong() -> None:
    with listening(AUTHORITY.config("hub")) as port:
        assert find(port, AUTHORITY.config("site")) == ("", False)
        assert find(port, AUTHORITY.config("site"), host_of_cell("hub")) == ("", False)


def test_a_certificate_is_wanted() -> None:
    with listening(AUTHORITY.config("hub")) as port:
        fault, is_final = find(port, TLSConfig(ca=AUTHORITY.ca))
    assert "wants a certificate, and this cell has none" in fault
    assert is_final
    with listening(AUTHORITY.config("hub"), require=False) as port:
        assert find(port, TLSConfig(ca=AUTHORITY.ca)) == ("", False)


def test_the_other_side_does_not_know_the_authority() -> None:
    mixed = OTHER.issue("site")
    with listening(AUTHORITY.config("hub")) as port:
        fault, is_final = find(port, TLSConfig(ca=AUTHORITY.ca, cert=mixed.certificate, key=mixed.key))
    assert "CN=another authority" in fault
    assert not is_final


def test_this_side_does_not_know_the_authority() -> None:
    with listening(OTHER.config("hub")) as port:
        fault, is_final = find(port, AUTHORITY.config("site"))
    assert "issued by 'CN=another authority', and believed are only 'CN=test authority'" in fault
    assert not is_final


def test_this_side_s_certificate_has_expired() -> None:
    old = AUTHORITY.issue("site", now=NOW - 2 * DAY, days=1)
    with listening(AUTHORITY.config("hub")) as port:
        fault, is_final = find(port, TLSConfig(ca=AUTHORITY.ca, cert=old.certificate, key=old.key))
    assert "which expired on" in fault
    assert not is_final


def test_the_other_side_s_certificate_has_expired() -> None:
    old = AUTHORITY.issue("hub", HOST, now=NOW - 2 * DAY, days=1)
    with listening(TLSConfig(ca=AUTHORITY.ca, cert=old.certificate, key=old.key)) as port:
        fault, _ = find(port, AUTHORITY.config("site"))
    assert "it expired on" in fault


def test_the_other_side_is_somebody_else() -> None:
    with listening(AUTHORITY.config("hub", HOST)) as port:
        fault, _ = find(port, AUTHORITY.config("site"), host_of_cell("other"))
        assert f"and not for {host_of_cell('other')}" in fault
        assert HOST in fault
        fault, _ = find(port, AUTHORITY.config("site"), "hub.example.org")
        assert "not for hub.example.org" in fault


def test_the_other_side_does_not_speak_tls() -> None:
    with listening(None) as port:
        assert find(port, AUTHORITY.config("site")) == ("does not speak TLS: use grpc://", True)


def answering(answer: bytes) -> tuple[socket.socket, threading.Thread]:
    """A listener that says one thing to who comes first, and hangs up."""
    listener = socket.create_server((HOST, 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return listener, thread


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"SSH-2.0-OpenSSH\r\n"])
def test_something_else_listens_there(answer: bytes) -> None:
    listener, thread = answering(answer)
    with listener:
        fault, _ = find(listener.getsockname()[1], AUTHORITY.config("site"))
        thread.join(scaled(10))
    assert "does not speak TLS" in fault


def test_nobody_listens_there() -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    assert "cannot be reached: Connection refused" in find(port, AUTHORITY.config("site"))[0]


def test_who_listens_says_nothing() -> None:
    with socket.create_server((HOST, 0)) as listener:
        finding = probe(HOST, listener.getsockname()[1], load(AUTHORITY.config("site")), HOST, 0.2)
    assert "says nothing" in finding.fault


def test_certificates_count_from_the_next_handshake_on() -> None:
    old = load(AUTHORITY.config("hub", HOST))
    new = load(OTHER.config("hub", HOST))
    shown: list[Material] = [old]
    with ThreadPoolExecutor(1) as threads:
        server: Any = grpc.server(threads)
        credentials = server_credentials(lambda: shown[0], require_client_cert=True)
        port = server.add_secure_port(f"{HOST}:0", credentials)
        server.start()
        assert find(port, AUTHORITY.config("site")) == ("", False)
        shown[0] = new
        assert "issued by 'CN=another authority'" in find(port, AUTHORITY.config("site"))[0]
        assert find(port, OTHER.config("site")) == ("", False)
        server.stop(None).wait(scaled(10))
