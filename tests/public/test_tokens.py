"""Cells that show tokens: who is let in, who is not, and what either end says."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamcell import (
    AuthenticationError,
    CellConfig,
    CellError,
    CoreCell,
    Credentials,
    Message,
    ReceivedStream,
    StreamCell,
    StreamFuture,
    UsageError,
    aio,
    token_from_file,
    tokens_from_file,
)
from streamcell.transport.memory.network import MemoryNetwork
from tests.kit.certificates import TestAuthority
from tests.kit.waiting import PATIENCE_S, Box, eventually

AUTHORITY = TestAuthority()
QUICK = CellConfig(backoff_min_s=0.02, backoff_max_s=0.2)
PLAIN, SECURE = "grpc://127.0.0.1:0", "grpcs://127.0.0.1:0"
#: Whose tokens are whose.
NAMES = {"one": "site-1", "two": "site-2"}


@pytest.fixture
def ends() -> Iterator[contextlib.ExitStack]:
    """Ends cells when the test does."""
    with contextlib.ExitStack() as stack:
        yield stack


def by_name(shown: Credentials) -> str:
    if shown.token not in NAMES:
        raise AuthenticationError("this token is not known")
    return NAMES[shown.token]


def hub(ends: contextlib.ExitStack, authenticate: Any = by_name, listen: str = PLAIN, **more: Any) -> CoreCell:
    return ends.enter_context(CoreCell("hub", listen=listen, authenticate=authenticate, config=QUICK, **more))


def site(ends: contextlib.ExitStack, name: str, parent: CoreCell, **more: Any) -> CoreCell:
    return ends.enter_context(CoreCell(name, connect=parent.listen_urls[0], config=QUICK, **more))


def refusal(cell: CoreCell, said: str) -> CellError:
    with pytest.raises(AuthenticationError, match=said) as caught:
        cell.wait_connected(PATIENCE_S)
    return caught.value


def digest(token: str) -> str:
    return f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"


def write_tokens(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(0o600)
    return path


# --- who is let in -----------------------------------------------------------------------------------


@pytest.mark.parametrize("give", [lambda: "one", "one"], ids=["function", "text"])
def test_a_token_proves_a_name_and_those_below(ends: contextlib.ExitStack, give: Any) -> None:
    parent = hub(ends)
    site(ends, "site-1", parent, token=give).wait_connected(PATIENCE_S)
    site(ends, "site-1.job-7", parent, token=give).wait_connected(PATIENCE_S)
    assert parent.is_cell_connected("site-1")


def test_the_application_is_asked_with_token_name_and_address(ends: contextlib.ExitStack) -> None:
    asked: list[Credentials] = []

    def authenticate(shown: Credentials) -> str:
        asked.append(shown)
        return "site-1"

    parent = hub(ends, authenticate)
    site(ends, "site-1", parent, token="one").wait_connected(PATIENCE_S)
    first = asked[0]
    assert (first.token, first.fqcn) == ("one", "site-1")
    assert first.address.startswith("127.0.0.1:")
    assert "'one'" not in repr(first)


def test_over_tls_only_the_listener_needs_a_certificate(ends: contextlib.ExitStack) -> None:
    settings = AUTHORITY.config("hub", require_client_cert=False)
    parent = hub(ends, listen=SECURE, tls=settings)
    believes = AUTHORITY.config("site-1", cert=None, key=None)
    site(ends, "site-1", parent, tls=believes, token="one").wait_connected(PATIENCE_S)
    refusal(site(ends, "site-2", parent, tls=believes), "wants a token, and was shown none: give token=")


def test_a_certificate_does_instead_and_both_have_to_agree(ends: contextlib.ExitStack) -> None:
    parent = hub(ends, listen=SECURE, tls=AUTHORITY.config("hub"))
    site(ends, "site-1", parent, tls=AUTHORITY.config("site-1")).wait_connected(PATIENCE_S)
    site(ends, "site-2", parent, tls=AUTHORITY.config("site-2"), token="two").wait_connected(PATIENCE_S)
    two_names = site(ends, "site-3", parent, tls=AUTHORITY.config("site-3"), token="two")
    refusal(two_names, "the token is that of site-2, and the certificate that of site-3")


def test_receivers_see_what_was_proved(ends: contextlib.ExitStack) -> None:
    parent = hub(ends)
    seen: Box[tuple[str, str]] = Box()

    def take(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        seen.put((stream.origin, stream.origin_identity))
        stream.read(-1)

    def answer(request: Message) -> None:
        seen.put((request.origin, request.origin_identity))

    StreamCell(parent).register_stream_cb("c", "t", take)
    parent.register_request_cb("c", "t", answer)
    cell = site(ends, "site-1.job", parent, token="one")
    cell.wait_connected(PATIENCE_S)
    StreamCell(cell).send_stream("c", "t", "hub", Message({}, b"x")).result(PATIENCE_S)
    assert cell.send_request("c", "t", "hub", Message({}, b"x"), timeout=PATIENCE_S).origin_identity == ""
    assert seen.get_all(2) == [("site-1.job", "site-1")] * 2
    assert [(link.fqcn, link.identity) for link in parent.stats().protocol.links] == [("site-1.job", "site-1")]


# --- who is not --------------------------------------------------------------------------------------


def test_refusals_say_why(ends: contextlib.ExitStack, caplog: pytest.LogCaptureFixture) -> None:
    parent = hub(ends)
    with caplog.at_level(logging.WARNING, "streamcell"):
        refusal(site(ends, "site-1", parent), "hub wants a token, and was shown none: give token=, or --token-file")
        refusal(site(ends, "site-4", parent, token="four"), "this token is not known")
        refusal(site(ends, "site-2", parent, token="one"), "the token proves site-1, and not site-2")
    assert not parent.is_cell_reachable("site-2")
    said = caplog.text
    assert "was refused: this token is not known" in said
    assert "four" not in said


def test_an_application_that_fails_lets_nobody_in(ends: contextlib.ExitStack, caplog: pytest.LogCaptureFixture) -> None:
    def fail(shown: Credentials) -> str:
        raise KeyError(shown.fqcn)

    refusal(site(ends, "site-1", hub(ends, fail), token="one"), "authenticate of hub has failed: its log says why")
    assert "KeyError" in caplog.text
    nameless = hub(ends, lambda _shown: None)
    refusal(site(ends, "site-2", nameless, token="one"), "cannot look at tokens now: its log says why")


def test_an_application_that_does_not_answer_lets_nobody_in(ends: contextlib.ExitStack) -> None:
    go_on = threading.Event()
    ends.callback(go_on.set)

    def wait(shown: Credentials) -> str:
        go_on.wait(PATIENCE_S)
        return "site-1"

    refusal(site(ends, "site-1", hub(ends, wait), token="one"), "authenticate of hub has not answered within 3 s")


def test_a_function_that_gives_no_token_is_not_taken_for_a_silent_parent(ends: contextlib.ExitStack) -> None:
    go_on = threading.Event()
    ends.callback(go_on.set)
    cell = site(ends, "site-1", hub(ends), token=lambda: "one" if go_on.wait(PATIENCE_S) else "")
    refusal(cell, "the function that gives the token of site-1 has not answered within 1.5 s")


@pytest.mark.parametrize(
    ("give", "said"),
    [
        (lambda: 1 // 0, "the function that gives the token of site-1 has failed: its log says why"),
        (lambda: None, "has returned something else: a token must be a str, not NoneType"),
        (lambda: "a b", r"has returned something else: a token consists of letters, digits"),
    ],
    ids=["raises", "nothing", "no token"],
)
def test_a_function_without_a_token(ends: contextlib.ExitStack, give: Callable[[], Any], said: str) -> None:
    refusal(site(ends, "site-1", hub(ends), token=give), said)


def test_a_token_that_comes_late_is_shown_then(ends: contextlib.ExitStack) -> None:
    tokens = iter(["late"])
    cell = site(ends, "site-1", hub(ends), token=lambda: next(tokens, "one"))
    refusal(cell, "this token is not known")
    cell.wait_connected(PATIENCE_S)


def test_a_token_is_shown_to_nobody_but_the_parent(ends: contextlib.ExitStack) -> None:
    asked: list[Credentials] = []

    def remember(shown: Credentials) -> str:
        asked.append(shown)
        return "site-1"

    parent = hub(ends)
    other = ends.enter_context(CoreCell("other", listen=PLAIN, authenticate=remember, config=QUICK))
    cell = site(ends, "site-1", parent, token="one")
    cell.wait_connected(PATIENCE_S)
    cell.connect(other.listen_urls[0])
    assert not cell.is_cell_connected("other")
    assert asked == []


# --- wrong use ---------------------------------------------------------------------------------------


def test_a_token_is_not_shown_where_everybody_can_read_it() -> None:
    with pytest.raises(UsageError, match=r"everybody on the way to grpc://hub\.example\.org:1 could read the token"):
        CoreCell("site-1", connect=["grpcs://hub.example.org:1", "grpc://hub.example.org:1"], token="one")
    with pytest.raises(UsageError, match="everybody could read tokens there: use grpcs://"):
        CoreCell("hub", listen="grpc://0.0.0.0:0", insecure=True, authenticate=by_name).start()


@pytest.mark.parametrize("token", ["", "a b", "ä", "a\n", "x" * 8193, b"one", 7], ids=repr)
def test_what_is_no_token(token: Any) -> None:
    with pytest.raises(UsageError, match="token") as caught:
        CoreCell("site-1", connect="grpcs://localhost:1", token=token)
    if token and isinstance(token, str):
        assert token not in caught.value.sentence


def test_authenticate_has_to_be_a_function() -> None:
    with pytest.raises(UsageError, match="authenticate"):
        CoreCell("hub", listen=PLAIN, authenticate="one")  # type: ignore[arg-type]


def test_other_networks_say_that_they_carry_none() -> None:
    with pytest.raises(UsageError, match="MemoryNetwork carries no tokens"):
        CoreCell("hub", listen="memory://hub", authenticate=by_name, network=MemoryNetwork()).start()


# --- files -------------------------------------------------------------------------------------------


def test_files_of_tokens(ends: contextlib.ExitStack, tmp_path: Path) -> None:
    path = write_tokens(
        tmp_path / "tokens", "# sites", "", f"site-1 {digest('one')}  # the first", f"site-1\t{digest('another')}"
    )
    check = tokens_from_file(path)
    parent = hub(ends, check)
    shown = tmp_path / "token"
    shown.write_text("one\n")
    cell = site(ends, "site-1", parent, token=token_from_file(shown))
    cell.wait_connected(PATIENCE_S)
    refusal(site(ends, "site-2", parent, token="two"), "its token is not known here")
    assert "one" not in repr(check)
    # One of them is taken out, and what was proved by it ends; the other one still counts.
    write_tokens(path, f"site-1 {digest('another')}")
    parent.reload_security()
    eventually(lambda: not cell.is_cell_connected("hub"))
    shown.write_text("another\n")
    eventually(lambda: cell.is_cell_connected("hub"))


def test_a_file_with_a_fault_changes_nothing(
    ends: contextlib.ExitStack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_tokens(tmp_path / "tokens", f"site-1 {digest('one')}")
    parent = hub(ends, tokens_from_file(path))
    cell = site(ends, "site-1", parent, token="one")
    cell.wait_connected(PATIENCE_S)
    write_tokens(path, "site-1 one")
    for _ in range(2):
        with pytest.raises(AuthenticationError, match="line 1: it must be a name and the digest"):
            parent.reload_security()
    assert cell.is_cell_connected("hub")
    assert caplog.text.count("the tokens of before stay in use") == 1


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["site-1 sha256:abc"], "line 1: it must be a name and the digest of its token, FQCN sha256:HEX"),
        (["", "si te sha256:" + 64 * "0"], "line 2: it must be"),
        (["..a sha256:" + 64 * "0"], "line 1: '..a' is no name of a cell"),
        (["a sha256:" + 64 * "0", "b sha256:" + 64 * "0"], "line 2: the token of b is that of a, too"),
    ],
)
def test_lines_that_are_wrong(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(AuthenticationError) as caught:
        tokens_from_file(write_tokens(tmp_path / "tokens", *lines))
    assert said in caught.value.sentence
    assert str(tmp_path / "tokens") in caught.value.sentence


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(AuthenticationError, match="cannot be read: No such file"):
        tokens_from_file(tmp_path / "missing")
    with pytest.raises(AuthenticationError, match="cannot be read: Is a directory"):
        tokens_from_file(tmp_path)
    path = write_tokens(tmp_path / "tokens", f"a {digest('a')}")
    path.chmod(0o644)
    with pytest.raises(AuthenticationError, match=r"can be read or changed by others \(mode 644\): chmod 600"):
        tokens_from_file(path)
    path.write_bytes(b"\xff")
    path.chmod(0o600)
    with pytest.raises(AuthenticationError, match="is no text in UTF-8"):
        tokens_from_file(path)


def test_files_that_hold_no_token(tmp_path: Path) -> None:
    for content, said in ((b"", "holds no token"), (b"\xff", "is no text in ASCII"), (b"a b", "holds no token")):
        (tmp_path / "token").write_bytes(content)
        with pytest.raises(AuthenticationError, match=said):
            token_from_file(tmp_path / "token")()
    with pytest.raises(AuthenticationError, match="cannot be read: No such file"):
        token_from_file(tmp_path / "missing")()


# --- for event loops ---------------------------------------------------------------------------------


def test_coroutines_give_and_judge_tokens() -> None:
    async def authenticate(shown: Credentials) -> str:
        await asyncio.sleep(0)
        return by_name(shown)

    async def give() -> str:
        await asyncio.sleep(0)
        return "one"

    async def main() -> None:
        async with aio.CoreCell("hub", listen=PLAIN, authenticate=authenticate, config=QUICK) as parent:
            url = parent.listen_urls[0]
            async with aio.CoreCell("site-1", connect=url, token=give, config=QUICK) as cell:
                await cell.wait_connected(PATIENCE_S)
            async with aio.CoreCell("site-2", connect=url, token=give, config=QUICK) as cell:
                with pytest.raises(AuthenticationError, match="proves site-1, and not site-2"):
                    await cell.wait_connected(PATIENCE_S)

    asyncio.run(main())
