"""Cells that prove who they are: over TLS, with certificates that change, and what is refused."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import queue
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamcell import (
    AuthenticationError,
    CellConfig,
    CellError,
    CoreCell,
    IterStream,
    LinkError,
    Message,
    ReceivedStream,
    StreamCell,
    StreamFuture,
    TLSConfig,
    UsageError,
)
from tests.kit.certificates import DAY, NOW, TestAuthority
from tests.kit.waiting import PATIENCE_S, eventually

AUTHORITY = TestAuthority()
OTHER = TestAuthority("another authority")
URL = "grpcs://127.0.0.1:0"
QUICK = CellConfig(backoff_min_s=0.02, backoff_max_s=0.2)


@pytest.fixture
def ends() -> Iterator[contextlib.ExitStack]:
    """Ends cells when the test does."""
    with contextlib.ExitStack() as stack:
        yield stack


def listening(ends: contextlib.ExitStack, fqcn: str = "hub", tls: TLSConfig | None = None, url: str = URL) -> CoreCell:
    return ends.enter_context(CoreCell(fqcn, listen=url, tls=tls or AUTHORITY.config(fqcn), config=QUICK))


def dialling(ends: contextlib.ExitStack, fqcn: str, url: str, tls: TLSConfig | None) -> CoreCell:
    return ends.enter_context(CoreCell(fqcn, connect=url, tls=tls, config=QUICK))


def refusal(cell: CoreCell, said: str) -> CellError:
    """What ``wait_connected`` fails with."""
    with pytest.raises(CellError, match=said) as caught:
        cell.wait_connected(PATIENCE_S)
    return caught.value


def echo(cell: CoreCell, target: str) -> None:
    content = os.urandom(300_000)
    assert cell.send_request("c", "echo", target, Message({}, content), timeout=PATIENCE_S).payload == content


def answering(cell: CoreCell) -> CoreCell:
    cell.register_request_cb("c", "echo", lambda request: Message({}, bytes(request.payload)))
    return cell


# --- who is let in -----------------------------------------------------------------------------------


def test_cells_with_certificates_talk(ends: contextlib.ExitStack) -> None:
    hub = listening(ends)
    assert hub.listen_urls[0].startswith("grpcs://127.0.0.1:")
    site = dialling(ends, "site-1", hub.listen_urls[0], AUTHORITY.config("site-1"))
    site.wait_connected(PATIENCE_S)
    assert hub.is_cell_connected("site-1")
    below = dialling(ends, "site-1.job", hub.listen_urls[0], AUTHORITY.config("site-1"))
    below.wait_connected(PATIENCE_S)


def test_certificates_between_a_cell_and_its_authority_are_shown_with_its_own(ends: contextlib.ExitStack) -> None:
    hub_issued, site_issued = AUTHORITY.issue("hub", "127.0.0.1"), AUTHORITY.issue("site-1")
    # What a client that dials adds by itself, too: the authority's own.
    hub_tls, site_tls = (
        TLSConfig(ca=AUTHORITY.ca, cert=issued.certificate + AUTHORITY.ca, key=issued.key)
        for issued in (hub_issued, site_issued)
    )
    hub = listening(ends, tls=hub_tls)
    site = dialling(ends, "site-1", hub.listen_urls[0], site_tls)
    site.wait_connected(PATIENCE_S)
    assert [link.identity for link in hub.stats().protocol.links] == ["site-1"]


def test_who_has_proved_what_is_told_by_lists_of_cells_and_by_the_log(
    ends: contextlib.ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "streamcell.link")
    hub = listening(ends)
    site = dialling(ends, "site-1", hub.listen_urls[0], AUTHORITY.config("site-1"))
    below = dialling(ends, "site-1.job", hub.listen_urls[0], AUTHORITY.config("site-1"))
    for cell in (site, below):
        cell.wait_connected(PATIENCE_S)
    proved = {known.fqcn: known.identity for known in site.cells(PATIENCE_S)}
    # The hub tells, which has asked for certificates; nobody has asked it for one.
    assert proved == {"hub": "", "site-1": "site-1", "site-1.job": "site-1"}
    eventually(lambda: "connected with site-1.job, which has proved to be site-1" in caplog.text)


def test_the_cell_that_listens_may_be_named(ends: contextlib.ExitStack) -> None:
    hub = listening(ends, tls=AUTHORITY.config("hub", "elsewhere.example.org"))
    port = hub.listen_urls[0].rpartition(":")[2]
    site = dialling(ends, "site-1", f"grpcs://hub@127.0.0.1:{port}", AUTHORITY.config("site-1"))
    site.wait_connected(PATIENCE_S)
    lost = dialling(ends, "site-2", f"grpcs://other@127.0.0.1:{port}", AUTHORITY.config("site-2"))
    with pytest.raises(LinkError, match=r"shows a certificate that is not to be believed: it is for .*cell\.invalid"):
        lost.wait_connected(2.0)


def test_a_cell_that_says_another_name_than_its_certificate_is_not_believed(ends: contextlib.ExitStack) -> None:
    # It has the host of another cell, which no authority would give it.
    issued = AUTHORITY.authority.issue("hub", NOW, hosts=["127.0.0.1"])
    hub = listening(ends, fqcn="hub.below", tls=TLSConfig(ca=AUTHORITY.ca, cert=issued.certificate, key=issued.key))
    port = hub.listen_urls[0].rpartition(":")[2]
    site = dialling(ends, "site-1", f"grpcs://hub@127.0.0.1:{port}", AUTHORITY.config("site-1"))
    error = refusal(site, "the certificate there is that of hub, and the cell says that it is hub.below")
    assert isinstance(error, AuthenticationError)


def test_nobody_says_hello_as_somebody_else(ends: contextlib.ExitStack) -> None:
    hub = listening(ends)
    with pytest.raises(AuthenticationError, match="is that of site-1, and this cell is site-2"):
        CoreCell("site-2", connect=hub.listen_urls[0], tls=AUTHORITY.config("site-1")).start()
    # A template of its own hides from the cell itself what its certificate proves.
    liar = dialling(ends, "site-2", hub.listen_urls[0], AUTHORITY.config("site-1", identity="other:{fqcn}"))
    error = refusal(liar, "the certificate proves site-1, and not site-2")
    assert isinstance(error, AuthenticationError)
    assert not hub.is_cell_reachable("site-2")


def test_nobody_announces_somebody_else(ends: contextlib.ExitStack) -> None:
    hub = listening(ends)
    relay = ends.enter_context(
        CoreCell(
            "relay",
            listen="grpc://127.0.0.1:0",
            connect=hub.listen_urls[0],
            tls=AUTHORITY.config("relay"),
            config=QUICK,
        )
    )
    relay.wait_connected(PATIENCE_S)
    below = dialling(ends, "relay.job", relay.listen_urls[0], None)
    below.wait_connected(PATIENCE_S)
    assert hub.is_cell_reachable("relay.job")
    victim = dialling(ends, "victim", relay.listen_urls[0], None)
    refusal(victim, "relay has proved relay, so that it cannot announce victim")
    assert not hub.is_cell_reachable("victim")


def test_who_has_no_certificate_gets_names_below_the_listener(ends: contextlib.ExitStack) -> None:
    hub = listening(ends, tls=AUTHORITY.config("hub", require_client_cert=False))
    guest = dialling(ends, "hub.guest", hub.listen_urls[0], TLSConfig(ca=AUTHORITY.ca))
    guest.wait_connected(PATIENCE_S)
    other = dialling(ends, "site-1", hub.listen_urls[0], TLSConfig(ca=AUTHORITY.ca))
    assert isinstance(refusal(other, "nothing proves that this is site-1"), AuthenticationError)


# --- what both ends say ------------------------------------------------------------------------------


def test_without_a_certificate(ends: contextlib.ExitStack) -> None:
    hub = listening(ends)
    site = dialling(ends, "site-1", hub.listen_urls[0], TLSConfig(ca=AUTHORITY.ca))
    error = refusal(site, "wants a certificate, and this cell has none: give it cert and key")
    assert isinstance(error, AuthenticationError)


def test_with_a_certificate_of_another_authority(ends: contextlib.ExitStack) -> None:
    hub = listening(ends)
    foreign = OTHER.issue("site-1")
    tls = TLSConfig(ca=AUTHORITY.ca, cert=foreign.certificate, key=foreign.key)
    site = dialling(ends, "site-1", hub.listen_urls[0], tls)
    with pytest.raises(LinkError, match="'CN=another authority' has issued: does it believe that authority"):
        site.wait_connected(2.0)


def test_with_another_authority_than_the_listener(ends: contextlib.ExitStack) -> None:
    hub = listening(ends)
    site = dialling(ends, "site-1", hub.listen_urls[0], OTHER.config("site-1"))
    with pytest.raises(LinkError, match="issued by 'CN=test authority', and believed are only 'CN=another authority'"):
        site.wait_connected(2.0)


def test_with_an_expired_certificate(ends: contextlib.ExitStack) -> None:
    hub = listening(ends)
    old = AUTHORITY.issue("site-1", now=NOW - 3 * DAY, days=1)
    site = dialling(ends, "site-1", hub.listen_urls[0], TLSConfig(ca=AUTHORITY.ca, cert=old.certificate, key=old.key))
    with pytest.raises(LinkError, match=r"which expired on .*: renew it"):
        site.wait_connected(2.0)


def test_tls_to_a_plain_port_and_the_reverse(ends: contextlib.ExitStack) -> None:
    plain = ends.enter_context(CoreCell("plain", listen="grpc://127.0.0.1:0", config=QUICK))
    url = plain.listen_urls[0].replace("grpc://", "grpcs://")
    site = dialling(ends, "site-1", url, AUTHORITY.config("site-1"))
    assert isinstance(refusal(site, "does not speak TLS: use grpc://"), AuthenticationError)
    hub = listening(ends)
    lost = dialling(ends, "site-2", hub.listen_urls[0].replace("grpcs://", "grpc://"), None)
    with pytest.raises(LinkError, match="grpcs://"):
        lost.wait_connected(2.0)


@pytest.mark.parametrize(
    ("uris", "names_its_issuer", "said"),
    [
        (["https://example.org"], True, "names no cell"),
        (["streamcell:a", "streamcell:b"], True, "several cells: a, b"),
        # gRPC believes this one, and who looks again later does not.
        (["streamcell:a"], False, "is not to be believed"),
    ],
)
def test_certificates_that_prove_no_name(
    ends: contextlib.ExitStack, uris: list[str], names_its_issuer: bool, said: str
) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from streamcell.security.authority import key_pem, pem_of

    key = ec.generate_private_key(ec.SECP256R1())
    signer = load_pem_private_key(AUTHORITY.key, None)
    names = [x509.UniformResourceIdentifier(uri) for uri in uris]
    issuer = AUTHORITY.authority.certificate
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
    )
    if names_its_issuer:
        key_of_issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = builder.add_extension(key_of_issuer, critical=False)
    certificate = builder.sign(signer, hashes.SHA256())
    hub = listening(ends)
    tls = TLSConfig(ca=AUTHORITY.ca, cert=pem_of(certificate), key=key_pem(key), identity="other:{fqcn}")
    site = dialling(ends, "a", hub.listen_urls[0], tls)
    assert isinstance(refusal(site, said), AuthenticationError)


@pytest.mark.parametrize(
    ("tls", "said"),
    [
        (None, "needs a certificate"),
        (TLSConfig(ca=AUTHORITY.ca), "needs a certificate"),
    ],
)
def test_a_listener_needs_a_certificate(tls: TLSConfig | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        CoreCell("hub", listen=URL, tls=tls).start()


def test_a_listener_needs_to_know_whom_to_believe() -> None:
    issued = AUTHORITY.issue("hub")
    with pytest.raises(UsageError, match="needs the authority of those who dial"):
        CoreCell("hub", listen=URL, tls=TLSConfig(cert=issued.certificate, key=issued.key)).start()


def test_files_that_cannot_be_read_fail_the_start(tmp_path: Path) -> None:
    missing = TLSConfig(ca=tmp_path / "ca.pem")
    with pytest.raises(AuthenticationError, match=re.escape(str(tmp_path / "ca.pem"))):
        CoreCell("site-1", connect="grpcs://127.0.0.1:1", tls=missing).start()
    with pytest.raises(UsageError, match=r"tls must be a .*TLSConfig"):
        CoreCell("site-1", tls=object())  # type: ignore[arg-type]


# --- certificates that change ------------------------------------------------------------------------


def renewed(config: TLSConfig, fqcn: str, authority: TestAuthority = AUTHORITY, days: int = 90) -> None:
    """Put another certificate, and its key, in the place of those in files."""
    issued = authority.issue(fqcn, "127.0.0.1", "localhost", days=days)
    Path(str(config.cert)).write_bytes(issued.certificate)
    Path(str(config.key)).write_bytes(issued.key)


def test_a_renewed_certificate_counts_without_a_break(ends: contextlib.ExitStack, tmp_path: Path) -> None:
    files = {name: AUTHORITY.files(tmp_path, name) for name in ("hub", "site-1")}
    hub = answering(listening(ends, tls=files["hub"]))
    site = dialling(ends, "site-1", hub.listen_urls[0], files["site-1"])
    site.wait_connected(PATIENCE_S)
    stopping = threading.Event()
    failures: list[Exception] = []

    def talk() -> None:
        while not stopping.is_set():
            try:
                echo(site, "hub")
            except CellError as error:
                failures.append(error)

    talking = threading.Thread(target=talk)
    talking.start()
    try:
        for name, cell in (("hub", hub), ("site-1", site)):
            renewed(files[name], name)
            cell.reload_security()
        echo(site, "hub")
        late = dialling(ends, "site-1.job", hub.listen_urls[0], AUTHORITY.config("site-1"))
        late.wait_connected(PATIENCE_S)
    finally:
        stopping.set()
        talking.join(PATIENCE_S)
    assert failures == []
    assert site.is_cell_connected("hub")


def lane_numbers(cell: CoreCell) -> set[int]:
    """The numbers of the lanes that carry something; each dial has another."""
    lanes = [lane for link in cell.stats().protocol.links for lane in link.lanes]
    return {lane.number for lane in lanes if lane.state == "ready"}


def test_renewal_costs_fifty_transfers_nothing(ends: contextlib.ExitStack, tmp_path: Path) -> None:
    count, piece = 50, os.urandom(8_000)
    files = {name: AUTHORITY.files(tmp_path, name) for name in ("hub", "site-1")}
    hub = listening(ends, tls=files["hub"])
    site = dialling(ends, "site-1", hub.listen_urls[0], files["site-1"])
    arrived: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read(_future: StreamFuture, stream: ReceivedStream, _resume: bool) -> None:
        arrived.put(hashlib.sha256(stream.read(-1)).hexdigest())

    StreamCell(hub).register_stream_cb("c", "t", read)
    site.wait_connected(PATIENCE_S)
    is_over = threading.Event()
    pieces = [0] * count

    def source(number: int) -> Iterator[bytes]:
        """Go on until the certificates are others, and a little longer."""
        while not is_over.wait(0.01):
            pieces[number] += 1
            yield piece
        pieces[number] += 1
        yield piece

    sent = [
        StreamCell(site).send_stream("c", "t", "hub", Message({}, IterStream(source(number))))
        for number in range(count)
    ]
    eventually(lambda: all(pieces))
    before = lane_numbers(site)
    for name, cell in (("hub", hub), ("site-1", site)):
        renewed(files[name], name)
        cell.reload_security()
    # Who dials shows the new one, and looks at the new one there, on lanes that take the place of those before.
    eventually(lambda: bool(lane_numbers(site)) and not before & lane_numbers(site))
    is_over.set()
    for future in sent:
        future.result(PATIENCE_S)
    wanted = sorted(hashlib.sha256(piece * number).hexdigest() for number in pieces)
    assert sorted(arrived.get(timeout=PATIENCE_S) for _ in range(count)) == wanted
    stats = site.stats().protocol
    assert (stats.bytes_retransmitted, stats.reconnects, stats.sends_failed) == (0, 0, 0)


def test_who_is_not_believed_any_more_is_put_out(ends: contextlib.ExitStack, tmp_path: Path) -> None:
    files = AUTHORITY.files(tmp_path, "hub")
    hub = listening(ends, tls=files)
    site = dialling(ends, "site-1", hub.listen_urls[0], AUTHORITY.config("site-1"))
    site.wait_connected(PATIENCE_S)
    Path(str(files.ca)).write_bytes(OTHER.ca)
    hub.reload_security()
    eventually(lambda: not hub.is_cell_connected("site-1"))


def test_bad_files_change_nothing(ends: contextlib.ExitStack, tmp_path: Path) -> None:
    files = AUTHORITY.files(tmp_path, "hub")
    hub = listening(ends, tls=files)
    Path(str(files.key)).write_bytes(AUTHORITY.issue("hub").key)
    with pytest.raises(AuthenticationError, match="belong together"):
        hub.reload_security()
    site = dialling(ends, "site-1", hub.listen_urls[0], AUTHORITY.config("site-1"))
    site.wait_connected(PATIENCE_S)


def test_files_are_looked_at_by_themselves(ends: contextlib.ExitStack, tmp_path: Path) -> None:
    files = AUTHORITY.files(tmp_path, "hub")
    hub = listening(ends, tls=TLSConfig(ca=files.ca, cert=files.cert, key=files.key, check_interval_s=0.05))
    site = dialling(ends, "site-1", hub.listen_urls[0], AUTHORITY.config("site-1"))
    site.wait_connected(PATIENCE_S)
    Path(str(files.ca)).write_bytes(OTHER.ca)
    eventually(lambda: not hub.is_cell_connected("site-1"))


def test_a_cell_without_certificates_has_none_to_reload(ends: contextlib.ExitStack) -> None:
    plain = ends.enter_context(CoreCell("plain", config=QUICK))
    plain.reload_security()
    assert plain.stats().protocol.fqcn == "plain"
