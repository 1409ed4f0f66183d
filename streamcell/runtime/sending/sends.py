"""The streams and blobs that a cell sends: from the call to the settled future.

:meth:`Sends.submit`, in the caller's thread, posts a transfer to the engine, which opens the stream. From then on the
engine supplies the payload at once, or has the source read in a pool thread whenever the core can take more, until the
core says how it ended.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from streamcell.digest import Digest
from streamcell.errors import CellError
from streamcell.protocol.base.events import (
    SendFailed,
    SendFinished,
    SendPlaced,
    SendProgressed,
    SourceSeekWanted,
    SourceWanted,
)
from streamcell.protocol.sending.spec import SendSpec
from streamcell.protocol.wire.frames import Payload
from streamcell.runtime.context import CellContext
from streamcell.runtime.sending.shared_source import SharedSource
from streamcell.runtime.sending.sources import Source, SourceReader
from streamcell.runtime.threads.callbacks import level_of
from streamcell.runtime.threads.waiting import check_may_wait
from streamcell.runtime.threads.workers import WorkerPool
from streamcell.runtime.transfers import Progress, TransferInfo, ended_error, fail, level_for, succeed
from streamcell.stats import Direction


class Outgoing:
    """A stream or blob that this cell sends. Its bytes come from ``payload``, or from ``source`` if there is one."""

    def __init__(
        self,
        sends: Sends,
        context: CellContext,
        spec: SendSpec,
        payload: Sequence[Payload],
        source: Source | None,
        failure_level: int,
        pool: WorkerPool | None = None,
    ) -> None:
        self.info = TransferInfo(
            origin=context.fqcn,
            target=spec.target,
            channel=spec.channel,
            topic=spec.topic,
            description=spec.description,
            progress=Progress(context.clock),
        )
        self.future = context.make_future(self.info, self, context.notifier)
        self.spec = spec
        self.payload = payload
        self.failure_level = failure_level
        self.reader: SourceReader | None = None
        self._sends = sends
        if source is not None:
            self.reader = SourceReader(
                source,
                self,
                pool or context.pools.sources,
                size=spec.description.size,
                name=f"the source for {spec.channel}/{spec.topic} to {spec.target}",
                chunk_bytes=context.config.chunk_bytes,
                hashing=spec.description.digest_follows,
                failure_level=failure_level,
                log=context.stream_log,
            )

    def cancel(self) -> None:
        """Give the stream up, here and at the target."""
        self._sends.cancel(self)

    def wait_opened(self) -> None:
        """Wait until the engine has opened the stream, or failed to."""
        self._sends.wait_until_handled()

    def is_supplied_here(self) -> bool:
        """Return whether this thread reads the source."""
        reader = self.reader
        return reader is not None and reader.is_used_here()

    def on_piece(self, piece: bytes) -> None:
        """Supply what the source gave."""
        self._sends.supply(self, piece)

    def on_end(self, digest: Digest | None) -> None:
        """Supply the end of the source."""
        self._sends.end_source(self, digest)

    def on_source_moved(self, offset: int) -> None:
        """Go on with what the source gives next."""
        self._sends.move_source(self, offset)

    def on_source_stuck(self, error: CellError) -> None:
        """Give the stream up because its source cannot go where it is needed."""
        self._sends.abandon_source(self, error)

    def on_source_failed(self, error: CellError) -> None:
        """Give the stream up because of its source."""
        self._sends.fail_source(self, error)

    def release_source(self) -> None:
        """Let go of the bytes, or close the source."""
        self.payload = ()
        reader, self.reader = self.reader, None
        if reader is not None:
            reader.stop()


class Sends:
    """All streams and blobs that one cell sends. ``on_*`` and ``close`` run on the engine, the others anywhere."""

    def __init__(self, context: CellContext) -> None:
        self._context = context
        self._open: dict[int, Outgoing] = {}

    def submit(
        self,
        spec: SendSpec,
        payload: Sequence[Payload] = (),
        source: Source | None = None,
        failure_level: int = logging.ERROR,
        pool: WorkerPool | None = None,
    ) -> Outgoing:
        """Send ``payload``, or what ``source`` gives. Never blocks; a failure settles the future and is logged.

        ``pool``: the threads to read the source in, if they are not those that all sources of the cell share.
        """
        outgoing = Outgoing(self, self._context, spec, payload, source, failure_level, pool)
        self._context.futures.add(outgoing.future)
        if not self._context.post(self._open_stream, outgoing):
            self._settle(outgoing, ended_error(self._context.fqcn))
        return outgoing

    def submit_shared(self, specs: Sequence[SendSpec], source: Source, failure_level: int) -> list[Outgoing]:
        """Send what ``source`` gives to several cells, reading it once for all that keep up. Never blocks."""
        context = self._context
        # Those that wait for the slowest must not keep the sources of other transfers from being read.
        pool = WorkerPool(f"{context.fqcn}-shared-source", len(specs), context.starter)
        shared = SharedSource(
            source, len(specs), context.config.max_window_bytes, context.stream_log, on_closed=pool.close
        )
        return [
            self.submit(spec, source=reader, failure_level=failure_level, pool=pool)
            for spec, reader in zip(specs, shared.readers, strict=True)
        ]

    def refuse(self, spec: SendSpec, source: Source | None, error: CellError) -> Outgoing:
        """Return a transfer that has failed with ``error`` before anything was sent."""
        outgoing = Outgoing(self, self._context, spec, (), source, level_of(spec.optional))
        self._settle(outgoing, error)
        return outgoing

    def cancel(self, outgoing: Outgoing) -> None:
        """Give up a transfer whose future is cancelled."""
        self._context.post(self._cancel, outgoing)

    def wait_until_handled(self) -> None:
        """Wait until everything that was posted before has been handled."""
        check_may_wait()
        self._context.ask(_nothing).exception()

    def supply(self, outgoing: Outgoing, piece: bytes) -> None:
        """Give the next bytes of a source to the core."""
        self._context.post(self._supply, outgoing, piece)

    def end_source(self, outgoing: Outgoing, digest: Digest | None) -> None:
        """Tell the core that a source has ended."""
        self._context.post(self._end_source, outgoing, digest)

    def move_source(self, outgoing: Outgoing, offset: int) -> None:
        """Tell the core that a source stands where it was wanted, or at 0."""
        self._context.post(self._move_source, outgoing, offset)

    def abandon_source(self, outgoing: Outgoing, error: CellError) -> None:
        """Tell the core that a source cannot go where it was wanted."""
        self._context.post(self._abandon_source, outgoing, error)

    def fail_source(self, outgoing: Outgoing, error: CellError) -> None:
        """Tell the core that a source has failed."""
        self._context.post(self._fail_source, outgoing, error)

    def on_source_wanted(self, event: SourceWanted, _now: float) -> None:
        """Have the source read further."""
        outgoing = self._open.get(event.stream_id)
        if outgoing is not None and outgoing.reader is not None:
            outgoing.reader.want(event.size_bytes)

    def on_source_seek_wanted(self, event: SourceSeekWanted, _now: float) -> None:
        """Have the source move, or, where all bytes are here, only look whether they are the right ones."""
        outgoing = self._open.get(event.stream_id)
        if outgoing is None:
            return
        if outgoing.reader is not None:
            outgoing.reader.seek(event.offset, event.prefix_digest)
        else:
            self._context.pools.digests.submit(lambda: self._compare_payload(outgoing, outgoing.payload, event))

    def on_send_progressed(self, event: SendProgressed, now: float) -> None:
        """Show what the target has received."""
        outgoing = self._open.get(event.stream_id)
        if outgoing is not None:
            self._note_received(outgoing, event.received, now)

    def on_send_placed(self, event: SendPlaced, now: float) -> None:
        """Show what the target had before."""
        outgoing = self._open.get(event.stream_id)
        if outgoing is not None:
            outgoing.info.progress.place(event.offset, event.skipped)
            self._note_received(outgoing, event.offset, now)

    def on_send_finished(self, event: SendFinished, now: float) -> None:
        """Settle the future with the number of bytes."""
        outgoing = self._open.pop(event.stream_id, None)
        if outgoing is not None:
            self._note_received(outgoing, event.size_bytes, now)
            self._settle(outgoing, event.size_bytes)

    def on_send_failed(self, event: SendFailed, _now: float) -> None:
        """Settle the future with the error."""
        outgoing = self._open.pop(event.stream_id, None)
        if outgoing is not None:
            self._context.traffic.count_failure(Direction.SENT, event.error)
            self._settle(outgoing, event.error)

    def close(self) -> None:
        """Close all sources because the cell has ended."""
        for outgoing in self._open.values():
            outgoing.release_source()
        self._open.clear()

    # --- on the engine

    def _note_received(self, outgoing: Outgoing, received: int, now: float) -> None:
        info = outgoing.info
        fresh = received - info.progress.received
        if fresh > 0:
            self._context.traffic.count_bytes(Direction.SENT, info.channel, fresh)
        info.progress.note(received, now)

    def _open_stream(self, outgoing: Outgoing, now: float) -> None:
        if outgoing.future.done():
            self._settle(outgoing, None)
            return
        try:
            stream_id = self._context.core.open_stream(outgoing.spec, now)
        except CellError as error:
            self._settle(outgoing, error)
            return
        outgoing.info.stream_id = stream_id
        self._open[stream_id] = outgoing
        if outgoing.reader is None:
            self._supply_payload(outgoing, now)

    def _supply_payload(self, outgoing: Outgoing, now: float) -> None:
        core = self._context.core
        payload = outgoing.payload
        if payload:
            core.supply(outgoing.info.stream_id, payload, now)
        if outgoing.spec.description.digest_follows:
            self._context.pools.digests.submit(lambda: self._hash_payload(outgoing, payload))
        else:
            core.end_source(outgoing.info.stream_id, None, now)
        if not outgoing.spec.kept:
            # From here on the bytes belong to the core, which knows when they are no longer needed.
            outgoing.payload = ()

    def _hash_payload(self, outgoing: Outgoing, payload: Sequence[Payload]) -> None:
        self.end_source(outgoing, Digest.of(payload))

    def _compare_payload(self, outgoing: Outgoing, payload: Sequence[Payload], wanted: SourceSeekWanted) -> None:
        prefix = wanted.prefix_digest
        agrees = prefix is not None and prefix.matches(Digest.of(payload, wanted.offset))
        self.move_source(outgoing, wanted.offset if agrees else 0)

    def _supply(self, outgoing: Outgoing, piece: bytes, now: float) -> None:
        if outgoing.info.stream_id in self._open:
            self._context.core.supply(outgoing.info.stream_id, (piece,), now)

    def _end_source(self, outgoing: Outgoing, digest: Digest | None, now: float) -> None:
        if outgoing.info.stream_id in self._open:
            self._context.core.end_source(outgoing.info.stream_id, digest, now)

    def _move_source(self, outgoing: Outgoing, offset: int, now: float) -> None:
        if outgoing.info.stream_id in self._open:
            self._context.core.move_source(outgoing.info.stream_id, offset, now)

    def _abandon_source(self, outgoing: Outgoing, error: CellError, now: float) -> None:
        if outgoing.info.stream_id in self._open:
            self._context.core.abandon_source(outgoing.info.stream_id, error, now)

    def _fail_source(self, outgoing: Outgoing, error: CellError, now: float) -> None:
        if outgoing.info.stream_id in self._open:
            self._context.core.fail_source(outgoing.info.stream_id, error, now)

    def _cancel(self, outgoing: Outgoing, now: float) -> None:
        if outgoing.info.stream_id in self._open:
            sentence = f"cancelled by its sender {self._context.fqcn}"
            self._context.core.cancel_send(outgoing.info.stream_id, sentence, now)

    def _settle(self, outgoing: Outgoing, outcome: int | CellError | None) -> None:
        outgoing.release_source()
        self._context.futures.discard(outgoing.future)
        if not isinstance(outcome, CellError):
            succeed(outgoing.future, outcome)
        elif fail(outgoing.future, outcome):
            self._context.stream_log.log(
                level_for(outcome, outgoing.failure_level),
                "> %s to %s failed: %s",
                outgoing.info.name,
                outgoing.info.target,
                outcome,
            )


def _nothing(_now: float) -> None:
    """Ask for nothing but an answer."""
