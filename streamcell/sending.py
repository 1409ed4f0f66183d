"""From a call of ``send_stream`` or ``send_blob`` to transfers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict, cast

from streamcell.errors import AuthenticationError, StreamUsageError, UsageError
from streamcell.future import StreamFuture
from streamcell.message import HeaderValue, Message
from streamcell.protocol.sending.half import SendSpec
from streamcell.protocol.wire.description import StreamKind
from streamcell.runtime.cell.runner import CellRunner
from streamcell.runtime.sending.payloads import flatten_payload
from streamcell.runtime.sending.sends import Outgoing
from streamcell.runtime.sending.specs import (
    SendOptions,
    as_names,
    check_message,
    check_whole,
    make_send_spec,
    not_secure_error,
)
from streamcell.runtime.threads.callbacks import level_of
from streamcell.stream import Stream, as_stream, is_bytes


class SendMore(TypedDict, total=False):
    """The keywords of ``send_stream`` and ``send_blob``; what each means is said at ``StreamCell.send_stream``."""

    resume_id: str
    idle_timeout: float | None
    unreachable_timeout: float | None
    digest: str
    retry_unknown: bool
    copy: bool
    reliable: bool


class Sending:
    """One call: what is to be sent, to one cell or to several, and how.

    Args:
        runner: the cell that sends.
        channel: as given.
        topic: as given.
        message: as given.
        secure: as given.
        optional: as given.
        more: as given.

    Raises:
        StreamUsageError: there is no such argument, or the message is none.
    """

    def __init__(
        self,
        runner: CellRunner,
        channel: str,
        topic: str,
        message: Message,
        *,
        secure: bool,
        optional: bool,
        more: SendMore,
    ) -> None:
        known = SendMore.__annotations__
        unknown = [name for name in more if name not in known]
        if unknown:
            raise StreamUsageError(f"sending takes no argument {unknown[0]!r}; there are {', '.join(sorted(known))}")
        self._runner = runner
        self._channel = channel
        self._topic = topic
        self._message = check_message(message)
        self._secure = secure
        self._copy = bool(more.get("copy", False))
        options: dict[str, Any] = {name: value for name, value in more.items() if name not in ("reliable", "copy")}
        self._options = SendOptions(optional=optional, **options)

    def send_stream(self, target: str | Iterable[str]) -> StreamFuture | dict[str, StreamFuture]:
        """Send a stream; see ``StreamCell.send_stream``."""
        if is_bytes(self._message.payload):
            return self._send_bytes(StreamKind.STREAM, target)
        if self._copy:
            raise StreamUsageError(
                f"copy=True copies bytes at the call; a {type(self._message.payload).__name__} is read while it is sent"
            )
        return self._send_source(as_stream(self._message.payload), target)

    def send_blob(self, target: str | Iterable[str]) -> StreamFuture | dict[str, StreamFuture]:
        """Send a blob; see ``StreamCell.send_blob``."""
        return self._send_bytes(StreamKind.BLOB, target)

    def _send_bytes(self, kind: StreamKind, target: str | Iterable[str]) -> StreamFuture | dict[str, StreamFuture]:
        """Send what is all there already: no source has to be read."""
        payload, size = flatten_payload(
            self._message.payload, self._runner.settings.config.chunk_bytes, copy=self._copy
        )
        specs = self._specs(kind, target, size, self._message.headers, kept=kind is StreamKind.STREAM)
        sends = self._runner.sends
        if self._secure:
            return futures_of(target, [sends.refuse(spec, None, self._not_secure()) for spec in specs])
        return futures_of(target, [sends.submit(spec, payload, failure_level=self._failure_level) for spec in specs])

    def _send_source(self, stream: Stream, target: str | Iterable[str]) -> StreamFuture | dict[str, StreamFuture]:
        """Send what has to be read: once, however many are to get it."""
        size = _size_left(stream)
        headers = {**stream.get_headers(), **self._message.headers}
        specs = self._specs(StreamKind.STREAM, target, size, headers, stamp=stream.get_stamp())
        sends = self._runner.sends
        if self._secure:
            refused = [sends.refuse(spec, None, self._not_secure()) for spec in specs[1:]]
            return futures_of(target, [sends.refuse(specs[0], stream, self._not_secure()), *refused])
        if len(specs) == 1:
            return futures_of(target, [sends.submit(specs[0], source=stream, failure_level=self._failure_level)])
        return futures_of(target, sends.submit_shared(specs, stream, self._failure_level))

    def _specs(
        self,
        kind: StreamKind,
        target: str | Iterable[str],
        size: int | None,
        headers: Mapping[str, HeaderValue],
        *,
        stamp: object = b"",
        kept: bool = False,
    ) -> list[SendSpec]:
        """Return what the core is told, for each target once. All arguments are checked before anything is sent."""
        names = as_names(target)
        if not names:
            raise StreamUsageError("no target was named: name at least one cell")
        config = self._runner.settings.config
        return [
            make_send_spec(
                config, kind, self._channel, self._topic, name, size, headers, self._options, stamp=stamp, kept=kept
            )
            for name in names
        ]

    @property
    def _failure_level(self) -> int:
        return level_of(self._options.optional)

    def _not_secure(self) -> AuthenticationError:
        return not_secure_error(self._runner.settings.fqcn)


def _size_left(stream: Stream) -> int | None:
    """Return how many bytes a source still has by its own account; None if it does not know."""
    try:
        size, position = check_whole(stream.get_size(), "get_size()"), check_whole(stream.get_pos(), "get_pos()")
    except UsageError as error:
        raise StreamUsageError(f"{type(stream).__name__}: {error}") from None
    return max(0, size - position) if size else None


def futures_of(target: str | Iterable[str], sent: Sequence[Outgoing]) -> StreamFuture | dict[str, StreamFuture]:
    """Return the one future if one name was given, and else the futures by name."""
    futures = {each.spec.target: cast("StreamFuture", each.future) for each in sent}
    return next(iter(futures.values())) if isinstance(target, str) else futures
