"""What a policy lets cells do that prove who they are: over gRPC with certificates, and what both ends are told."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamcell import (
    AuthenticationError,
    CellConfig,
    CoreCell,
    Message,
    Policy,
    ReceivedStream,
    StreamCell,
    UsageError,
)
from streamcell.stream import IterStream
from tests.kit.certificates import TestAuthority
from tests.kit.waiting import PATIENCE_S, eventually

AUTHORITY = TestAuthority()
URL = "grpcs://127.0.0.1:0"
QUICK = CellConfig(backoff_min_s=0.02, backoff_max_s=0.2, stop_grace_s=0)
LINKS = """version = 1
[[link]]
cells = ["site-*", "server"]
query = "all"
"""
TO_SERVER = """[[allow]]
from = ["site-*"]
to = ["server", "hub"]
channels = ["c"]
topics = ["allowed"]
"""
LARGE = bytes(range(256)) * 2_000


@pytest.fixture
def ends() -> Iterator[contextlib.ExitStack]:
    """Ends cells when the test does."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The policy of the hub."""
    path = tmp_path / "policy.toml"
    path.write_text(LINKS + TO_SERVER)
    return path


def start_hub(ends: contextlib.ExitStack, file: Path, *, url: str = URL, tls: bool = True) -> CoreCell:
    policy = Policy.from_file(file)
    config = AUTHORITY.config("hub") if tls else None
    return ends.enter_context(CoreCell("hub", listen=url, tls=config, policy=policy, config=QUICK))


def dialling(ends: contextlib.ExitStack, fqcn: str, hub: CoreCell) -> CoreCell:
    url = hub.listen_urls[0]
    tls = AUTHORITY.config(fqcn) if url.startswith("grpcs") else None
    return ends.enter_context(CoreCell(fqcn, connect=url, tls=tls, config=QUICK))


def connected(ends: contextlib.ExitStack, fqcn: str, hub: CoreCell) -> CoreCell:
    cell = dialling(ends, fqcn, hub)
    cell.wait_connected(PATIENCE_S)
    return cell


def read_all(_future: object, stream: ReceivedStream, _resume: bool) -> None:
    while stream.read(100_000):
        pass


def receiving(cell: CoreCell) -> StreamCell:
    """Have a cell take whatever comes."""
    streams = StreamCell(cell)
    for topic in ("allowed", "other"):
        streams.register_stream_cb("c", topic, read_all)
        streams.register_blob_cb("c", topic, lambda future: None)
        cell.register_request_cb("c", topic, lambda request: Message({}, bytes(request.payload)))
    return streams


def said(caplog: pytest.LogCaptureFixture, sentence: str) -> None:
    """Wait until the log has a sentence."""
    eventually(lambda: sentence in caplog.text)


# --- neighbours --------------------------------------------------------------------------------------


def test_a_cell_that_no_rule_lets_in_is_told_so(
    ends: contextlib.ExitStack, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub = start_hub(ends, file)
    stranger = dialling(ends, "stranger", hub)
    with pytest.raises(AuthenticationError) as caught:
        stranger.wait_connected(PATIENCE_S)
    sentence = (
        "the policy of hub (policy.toml) does not let stranger be its neighbour: no [[link]] allows it; if it is to, "
        "have who runs hub change the policy"
    )
    assert caught.value.sentence == sentence
    said(caplog, "> refused to stranger at 127.0.0.1")
    said(caplog, sentence)
    connected(ends, "site-1", hub)
    assert not hub.is_cell_connected("stranger")


def test_a_cell_without_a_certificate_gets_a_name_below_the_listener(ends: contextlib.ExitStack, file: Path) -> None:
    file.write_text('version = 1\n[[link]]\ncells = ["*"]\naddresses = ["127.0.0.0/8"]\nannounce = ["guest"]\n')
    hub = start_hub(ends, file, url="grpc://127.0.0.1:0", tls=False)
    connected(ends, "hub.a", hub)
    connected(ends, "guest", hub)
    other = dialling(ends, "other", hub)
    with pytest.raises(AuthenticationError, match=r"nothing proves that this is other: .* or a \[\[link\]\] of the"):
        other.wait_connected(PATIENCE_S)


def test_certificates_are_denied_by_their_fingerprints(ends: contextlib.ExitStack, file: Path) -> None:
    hub = start_hub(ends, file)
    stolen = AUTHORITY.config("site-1")
    assert isinstance(stolen.cert, bytes)
    thief = ends.enter_context(CoreCell("site-1", connect=hub.listen_urls[0], tls=stolen, config=QUICK))
    thief.wait_connected(PATIENCE_S)
    file.write_text(LINKS + TO_SERVER + f'[[deny]]\nfingerprint = "{fingerprint(stolen.cert)}"\n')
    hub.reload_security()
    eventually(lambda: not hub.is_cell_connected("site-1"))
    thief.stop()
    again = ends.enter_context(CoreCell("site-1", connect=hub.listen_urls[0], tls=stolen, config=QUICK))
    with pytest.raises(
        AuthenticationError, match=r"certificate is denied by \[\[deny\]\] number 1 \(line 10\) of policy"
    ):
        again.wait_connected(PATIENCE_S)
    again.stop()
    connected(ends, "site-1", hub)


def fingerprint(pem: bytes) -> str:
    from streamcell.security.certificates import fingerprint_of, read_certificates

    return fingerprint_of(read_certificates(pem, "the test")[0])


# --- what is sent ------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["hub", "server"])
def test_what_is_allowed_and_what_is_not(
    ends: contextlib.ExitStack, file: Path, caplog: pytest.LogCaptureFixture, target: str
) -> None:
    hub = start_hub(ends, file)
    receiving(hub)
    receiving(connected(ends, "server", hub))
    site = connected(ends, "site-1", hub)
    streams = StreamCell(site)
    assert streams.send_blob("c", "allowed", target, Message({}, LARGE)).result(PATIENCE_S) == len(LARGE)
    assert streams.send_stream("c", "allowed", target, Message({}, LARGE)).result(PATIENCE_S) == len(LARGE)
    reply = site.send_request("c", "allowed", target, Message({}, LARGE), timeout=PATIENCE_S)
    assert reply.payload == LARGE

    for kind, send in (
        ("stream", lambda: streams.send_stream("c", "other", target, Message({}, LARGE)).result(PATIENCE_S)),
        ("blob", lambda: streams.send_blob("c", "other", target, Message({}, b"x")).result(PATIENCE_S)),
        ("request", lambda: site.send_request("c", "other", target, Message({}, b"x"), timeout=PATIENCE_S)),
    ):
        with pytest.raises(AuthenticationError) as caught:
            send()
        sentence = (
            f"the policy of hub (policy.toml) does not let site-1 send the {kind} c/other to {target}: no rule allows "
            "it; if it is to, have who runs hub change the policy"
        )
        on_the_way = caught.value.sentence.startswith("hub, on the way to server, refuses stream ")
        assert on_the_way is (target == "server")
        assert caught.value.sentence.endswith(sentence)
        said(caplog, sentence)


def test_a_cell_with_a_policy_judges_what_comes_from_its_parent(ends: contextlib.ExitStack, file: Path) -> None:
    hub = ends.enter_context(CoreCell("hub", listen=URL, tls=AUTHORITY.config("hub"), config=QUICK))
    policy = Policy.from_text(LINKS + TO_SERVER, "the server's policy")
    server = CoreCell("server", connect=hub.listen_urls[0], tls=AUTHORITY.config("server"), policy=policy, config=QUICK)
    receiving(ends.enter_context(server))
    server.wait_connected(PATIENCE_S)
    site = connected(ends, "site-1", hub)
    site.send_request("c", "allowed", "server", Message({}, b"x"), timeout=PATIENCE_S)
    with pytest.raises(AuthenticationError, match=r"^the policy of server \(the server's policy\) does not let site-1"):
        site.send_request("c", "other", "server", Message({}, b"x"), timeout=PATIENCE_S)
    with pytest.raises(AuthenticationError, match="does not let hub send the request c/allowed to server"):
        hub.send_request("c", "allowed", "server", Message({}, b"x"), timeout=PATIENCE_S)


# --- reloading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["hub", "server"])
def test_streams_under_way_end_when_the_policy_does_not_allow_them_any_more(
    ends: contextlib.ExitStack, file: Path, target: str
) -> None:
    hub = start_hub(ends, file)
    server = connected(ends, "server", hub)
    failed: list[BaseException] = []
    ended, began, go_on = threading.Event(), threading.Event(), threading.Event()

    def read(future: object, stream: ReceivedStream, resume: bool) -> None:
        began.set()
        try:
            read_all(future, stream, resume)
        except AuthenticationError as error:
            failed.append(error)
        ended.set()

    def pieces() -> Iterator[bytes]:
        yield LARGE
        go_on.wait(PATIENCE_S)
        yield LARGE

    StreamCell(hub if target == "hub" else server).register_stream_cb("c", "allowed", read)
    site = connected(ends, "site-1", hub)
    sent = StreamCell(site).send_stream("c", "allowed", target, Message({}, IterStream(pieces())))
    assert began.wait(PATIENCE_S)
    try:
        file.write_text(LINKS)
        hub.reload_security()
        with pytest.raises(AuthenticationError, match="does not let site-1 send"):
            sent.result(PATIENCE_S)
        assert ended.wait(PATIENCE_S)
        assert len(failed) == 1
        assert "does not let site-1 send" in str(failed[0])
    finally:
        go_on.set()
    file.write_text(LINKS + TO_SERVER)
    hub.reload_security()
    receiving(server)
    site.send_request("c", "allowed", "server", Message({}, b"x"), timeout=PATIENCE_S)


def test_links_end_when_the_policy_does_not_allow_them_any_more(ends: contextlib.ExitStack, file: Path) -> None:
    hub = start_hub(ends, file)
    site, server = connected(ends, "site-1", hub), connected(ends, "server", hub)
    file.write_text(LINKS.replace('"site-*", ', "") + TO_SERVER)
    hub.reload_security()
    eventually(lambda: not hub.is_cell_connected("site-1"))
    assert hub.is_cell_connected("server")
    file.write_text(LINKS + TO_SERVER)
    hub.reload_security()
    site.wait_connected(PATIENCE_S)
    assert server.is_cell_connected("hub")


DEEP = "a = " + 5_000 * "["


def test_a_policy_that_cannot_be_read_changes_nothing(
    ends: contextlib.ExitStack, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub = start_hub(ends, file)
    receiving(hub)
    site = connected(ends, "site-1", hub)
    for text, fault in (
        ("version = 2\n", "has mistakes"),
        ("[", "is no TOML"),
        (DEEP, "nests values too deeply"),
        (None, "cannot be read"),
    ):
        if text is None:
            file.unlink()
        else:
            file.write_text(text)
        caplog.clear()
        with pytest.raises(UsageError, match=fault):
            hub.reload_security()
        eventually(lambda: "the policy of before stays in use" in caplog.text)
        errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert len(errors) == 1
        assert str(file) in errors[0].getMessage()
        site.send_request("c", "allowed", "hub", Message({}, b"x"), timeout=PATIENCE_S)


def test_rules_that_never_count_are_warned_of(
    ends: contextlib.ExitStack, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text(LINKS + LINKS.removeprefix("version = 1\n"))
    hub = start_hub(ends, file)
    warning = "[[link]] number 2 (line 5) of policy.toml never counts: [[link]] number 1 (line 2) of policy.toml comes"
    said(caplog, warning)
    caplog.clear()
    hub.reload_security()
    said(caplog, warning)


def test_a_policy_that_is_from_no_file_stays(ends: contextlib.ExitStack) -> None:
    policy = Policy.from_text('version = 1\n[[link]]\ncells = ["*"]\nannounce = ["*"]\n')
    hub = ends.enter_context(CoreCell("hub", listen="grpc://127.0.0.1:0", policy=policy, config=QUICK))
    site = connected(ends, "site", hub)
    hub.reload_security()
    assert site.is_cell_connected("hub")
