"""A plugin of pytest that counts calls of cores whose `now` lies before that of an earlier call of the same core.

`python -m pytest -p scripts.house.falling tests/public`. Counted are calls from outside: what a core calls of itself
while it handles one belongs to that one. The summary names each verb that was called so with the functions that it was
called from, and the verb that had brought the later time before.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, cast

import pytest

from scripts.house.cores import from_core

# Under this name a worker of xdist hands its figures over.
HANDED_OVER = "house_falling"
SHOWN_CALLERS = 2


class Watch:
    """What cores were called with."""

    def __init__(self) -> None:
        self.calls = 0
        self.falling: Counter[str] = Counter()
        self._latest: weakref.WeakKeyDictionary[Any, tuple[float, str]] = weakref.WeakKeyDictionary()
        self._inside: weakref.WeakSet[Any] = weakref.WeakSet()

    def wrap_all(self, core: type) -> None:
        """See every call of a public method that takes `now`."""
        for name, method in list(vars(core).items()):
            if not name.startswith("_") and inspect.isfunction(method):
                signature = inspect.signature(method)
                if "now" in signature.parameters:
                    setattr(core, name, self._wrapped(method, signature))

    def _wrapped(self, method: Callable[..., Any], signature: inspect.Signature) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(core: Any, *arguments: Any, **named: Any) -> Any:
            if core in self._inside:
                return method(core, *arguments, **named)
            self._note(core, method.__name__, signature.bind(core, *arguments, **named).arguments["now"])
            self._inside.add(core)
            try:
                return method(core, *arguments, **named)
            finally:
                self._inside.discard(core)

        return call

    def _note(self, core: Any, verb: str, now: float) -> None:
        self.calls += 1
        latest, before = self._latest.get(core, (now, ""))
        if now < latest:
            self.falling[f"{verb} from {callers()}, after {before}"] += 1
        else:
            self._latest[core] = now, verb

    # The hooks of pytest.

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[HANDED_OVER] = [self.calls, dict(self.falling)]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        calls, falling = getattr(node, "workeroutput", {}).get(HANDED_OVER, [0, {}])
        self.calls += calls
        self.falling.update(falling)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.write_line(
            f"calls of the core with a falling now: {sum(self.falling.values())} of {self.calls}"
        )
        for where, count in self.falling.most_common():
            terminalreporter.write_line(f"  {count:5} {where}")


def callers() -> str:
    """Return the two innermost functions outside of this module, with their files."""
    frame: FrameType | None = inspect.currentframe()
    found: list[str] = []
    while frame is not None and len(found) < SHOWN_CALLERS:
        path = Path(frame.f_code.co_filename)
        if path != Path(__file__):
            found.append(f"{path.parent.name}/{path.stem}.{frame.f_code.co_qualname}")
        frame = frame.f_back
    return " < ".join(found)


def pytest_configure(config: pytest.Config) -> None:
    watch = Watch()
    watch.wrap_all(cast("type", from_core("CellCore")))
    config.pluginmanager.register(watch)
