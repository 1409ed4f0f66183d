"""From a call of ``send_stream`` or ``send_blob`` to transfers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from streamcell.errors import StreamUsageError, UsageError
from streamcell.future import StreamFuture
from streamcell.message import HeaderValue, Message
from streamcell.protocol.sending.spec import SendSpec
from streamcell.protocol.wire.description import StreamKind
from streamcell.runtime.cell.runner import CellRunner
from streamcell.runtime.sending.payloads import flatten_payload
from streamcell.runtime.sending.sends import Outgoing
from streamcell.runtime.sending.specs import (
    SendMore,
    as_names,
    check_message,
    check_whole,
    make_send_spec,
    not_secure_error,
)
from streamcell.runtime.threads.callbacks import level_of
from streamcell.stream import Stream, as_stream, is_bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Sending:
    """One call: what is to be sent, to one cell or to several, and how; as it was given.

    It is checked when it begins, before anything is sent.
    """

    kind: StreamKind
    channel: str
    topic: str
    message: Message
    secure: bool
    optional: bool
    more: SendMore

    def begin(self, runner: CellRunner, targets: str | Iterable[str]) -> dict[str, StreamFuture]:
        """Send; return the futures by target.

        Raises:
            StreamUsageError: an argument is wrong, or there is none of that name.
            UsageError: the cell is not running.
        """
        known = SendMore.__annotations__
        unknown = [name for name in self.more if name not in known]
        if unknown:
            raise StreamUsageError(f"sending takes no argument {unknown[0]!r}; there are {', '.join(sorted(known))}")
        payload = check_message(self.message).payload
        if self.kind is StreamKind.BLOB or is_bytes(payload):
            return self._send_bytes(runner, targets)
        if self._copied:
            raise StreamUsageError(
                f"copy=True copies bytes at the call; a {type(payload).__name__} is read while it is sent"
            )
        return self._send_source(runner, as_stream(payload), targets)

    def _send_bytes(self, runner: CellRunner, targets: str | Iterable[str]) -> dict[str, StreamFuture]:
        """Send what is all there already: no source has to be read."""
        payload, size = flatten_payload(self.message.payload, runner.settings.config.chunk_bytes, copy=self._copied)
        specs = self._specs(runner, targets, size, self.message.headers, kept=self.kind is StreamKind.STREAM)
        sends = runner.sends
        if self.secure and not runner.settings.can_seal:
            error = not_secure_error(runner.fqcn)
            return _futures_of([sends.refuse(spec, None, error) for spec in specs])
        level = level_of(self.optional)
        return _futures_of([sends.submit(spec, payload, failure_level=level) for spec in specs])

    def _send_source(self, runner: CellRunner, stream: Stream, targets: str | Iterable[str]) -> dict[str, StreamFuture]:
        """Send what has to be read: once, however many are to get it."""
        size = _size_left(stream)
        headers = {**stream.get_headers(), **self.message.headers}
        specs = self._specs(runner, targets, size, headers, stamp=stream.get_stamp())
        sends = runner.sends
        if self.secure and not runner.settings.can_seal:
            error = not_secure_error(runner.fqcn)
            refused = [sends.refuse(spec, None, error) for spec in specs[1:]]
            return _futures_of([sends.refuse(specs[0], stream, error), *refused])
        level = level_of(self.optional)
        if len(specs) == 1:
            return _futures_of([sends.submit(specs[0], source=stream, failure_level=level)])
        return _futures_of(sends.submit_shared(specs, stream, level))

    def _specs(
        self,
        runner: CellRunner,
        targets: str | Iterable[str],
        size: int | None,
        headers: Mapping[str, HeaderValue],
        *,
        stamp: object = b"",
        kept: bool = False,
    ) -> list[SendSpec]:
        """Return what the core is told, for each target once. All arguments are checked before anything is sent."""
        names = as_names(targets)
        if not names:
            raise StreamUsageError("no target was named: name at least one cell")
        config = runner.settings.config
        return [
            make_send_spec(
                config,
                self.kind,
                self.channel,
                self.topic,
                name,
                size,
                headers,
                self.more,
                optional=self.optional,
                sealed=bool(self.secure),
                stamp=stamp,
                kept=kept,
            )
            for name in names
        ]

    @property
    def _copied(self) -> bool:
        """Whether the payload is to be copied at the call."""
        return bool(self.more.get("copy", False))


def _size_left(stream: Stream) -> int | None:
    """Return how many bytes a source still has by its own account; None if it does not know."""
    try:
        size, position = check_whole(stream.get_size(), "get_size()"), check_whole(stream.get_pos(), "get_pos()")
    except UsageError as error:
        raise StreamUsageError(f"{type(stream).__name__}: {error}") from None
    return max(0, size - position) if size else None


def _futures_of(sent: Sequence[Outgoing]) -> dict[str, StreamFuture]:
    """Return the futures by target."""
    return {each.spec.target: cast("StreamFuture", each.future) for each in sent}
