"""How the application is asked about tokens when it does not answer."""

from __future__ import annotations

import asyncio
import threading

import pytest

from streamcell.errors import AuthenticationError
from streamcell.runtime.network import tokens
from streamcell.runtime.network.tokens import CellTokens
from streamcell.runtime.threads.trace import link_log
from streamcell.security.tokens import Credentials
from tests.kit.timing import scaled
from tests.shell.runtime.starters import STARTER


def test_what_does_not_answer_is_not_called_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "ANSWER_S", scaled(0.1))
    go_on = threading.Event()
    calls: list[str] = []

    def authenticate(shown: Credentials) -> str:
        calls.append(shown.token)
        go_on.wait(scaled(60))
        return "site"

    asked = CellTokens("hub", None, (), authenticate, STARTER, link_log("hub"))

    def are_many() -> bool:
        return asked.are_many

    async def refused() -> str:
        with pytest.raises(AuthenticationError) as caught:
            await asked.identify("one", "site", "10.0.0.1:1", None)
        return caught.value.sentence

    async def main() -> None:
        said = await asyncio.gather(*(refused() for _ in range(64)))
        assert all("authenticate of hub has not answered within" in sentence for sentence in said)
        assert are_many()
        assert "it is not called again" in await refused()
        go_on.set()
        async with asyncio.timeout(scaled(60)):
            while are_many():
                await asyncio.to_thread(threading.Event().wait, 0.01)
        # No more than there are threads: whoever waits no more is not asked about.
        assert 1 <= len(calls) <= 8
        assert (await asked.identify("one", "site", "10.0.0.1:1", None)).name == "site"

    asyncio.run(main())
    asked.close()
