"""What calls say of who makes them, and what those lead to that are refused."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from streamcell.errors import AuthenticationError
from streamcell.security.identity import Identity
from streamcell.transport.grpc.callers import metadata_of, shown_in
from streamcell.transport.grpc.environment import aio, grpc
from streamcell.transport.grpc.network import GrpcNetwork
from tests.kit.timing import scaled
from tests.shell.transport.running import run


class NoTokens:
    """Asks for tokens, and takes none."""

    fqcn = "cell"
    are_asked_for = True
    are_many = False

    async def token_for(self, url: str, timeout_s: float) -> str:
        return ""

    async def identify(self, token: str, fqcn: str, address: str, certified: Identity | None) -> Identity:
        raise AuthenticationError(f"{token} is nobody's")


@pytest.mark.parametrize(
    ("metadata", "shown"),
    [
        (metadata_of("one", "site"), ("one", "site")),
        (metadata_of("", "site"), ("", "")),
        (None, ("", "")),
        ((("authorization", "bearer  one "),), ("one", "")),
        ((("authorization", "Basic one"), ("streamcell-cell", "site")), ("", "site")),
        ((("authorization", b"Bearer one"),), ("", "")),
    ],
)
def test_what_a_call_shows(metadata: tuple[tuple[str, str]] | None, shown: tuple[str, str]) -> None:
    assert shown_in(metadata) == shown


def test_those_who_are_refused_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        listener = await GrpcNetwork(tokens=NoTokens()).listen("grpc://127.0.0.1:0", lambda _: None, insecure=False)
        async with aio.insecure_channel(listener.url.removeprefix("grpc://")) as channel:
            for _ in range(200):
                call: Any = channel.stream_stream("/streamcell.v1.CellService/Exchange")(
                    metadata=metadata_of("one", "site"), timeout=scaled(10)
                )
                assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
        await listener.close()

    with caplog.at_level(logging.WARNING, "streamcell.transport"):
        run(main())
    lines = [record for record in caplog.records if "was refused" in record.getMessage()]
    assert lines
    # Ten a second, and the second that has begun.
    assert len(lines) <= 10 * (2 + lines[-1].created - lines[0].created)
