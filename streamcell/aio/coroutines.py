"""Methods that return coroutines, as coroutine functions: frameworks and mocks tell these from others."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Class = TypeVar("Class", bound=type)


def with_coroutine_functions(*names: str) -> Callable[[Class], Class]:
    """Return a decorator for a class that inherits methods of these ``names``: each becomes a coroutine function.

    So it also begins no earlier than it is awaited, arguments that are wrong included.
    """

    def decorate(decorated: Class) -> Class:
        for name in names:
            setattr(decorated, name, _as_coroutine_function(getattr(decorated, name)))
        return decorated

    return decorate


def _as_coroutine_function(method: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
    @functools.wraps(method)
    async def call(*args: Any, **kwargs: Any) -> Any:
        return await method(*args, **kwargs)

    return call
