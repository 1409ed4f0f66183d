"""From a call of ``send_request``, ``broadcast_request`` or ``fire_and_forget`` to requests."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from streamcell.errors import CellError
from streamcell.message import Message
from streamcell.protocol.sending.spec import SendSpec
from streamcell.protocol.wire.frames import Payload
from streamcell.runtime.cell.runner import CellRunner
from streamcell.runtime.requests import PendingRequest
from streamcell.runtime.sending.specs import address, as_names, check_timeout, make_request, not_secure_error
from streamcell.runtime.threads.callbacks import level_of


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """One call: what is asked, and how; as it was given. It is checked when it begins, before anything is sent."""

    channel: str
    topic: str
    request: Message
    timeout: float | None = None
    secure: bool
    optional: bool
    copy: bool
    traceparent: str | None

    def begin(self, runner: CellRunner, target: str) -> PendingRequest:
        """Send the request; the future of what is returned gets the reply.

        Raises:
            UsageError: an argument is wrong, or the cell is not running.
            AuthenticationError: ``secure`` was asked for, and this cell has no certificates.
        """
        timeout_s = self._timeout_s(runner)
        spec, payload = self._make(runner, no_reply=False)
        return self._submit(runner, address(spec, target), payload, timeout_s)

    def begin_each(self, runner: CellRunner, targets: str | Iterable[str]) -> dict[str, PendingRequest | CellError]:
        """Send the request to several cells; those that cannot even be tried are answered by an error here.

        Raises:
            UsageError: an argument is wrong, other than the name of one cell, or the cell is not running.
        """
        timeout_s = self._timeout_s(runner)
        spec, payload = self._make(runner, no_reply=False)
        names = as_names(targets)
        runner.check_running()
        begun: dict[str, PendingRequest | CellError] = {}
        for target in names:
            try:
                begun[target] = self._submit(runner, address(spec, target), payload, timeout_s)
            except CellError as error:
                begun[target] = error
        return begun

    def fire(self, runner: CellRunner, targets: str | Iterable[str]) -> dict[str, CellError | None]:
        """Send a request that nobody answers to several cells; return for each None or why it was not accepted.

        Raises:
            UsageError: an argument is wrong, other than the name of one cell, or the cell is not running.
        """
        spec, payload = self._make(runner, no_reply=True)
        names = as_names(targets)
        sends = runner.sends
        outcomes: dict[str, CellError | None] = {}
        for target in names:
            outcomes[target] = None
            try:
                addressed = address(spec, target)
                if self.secure and not runner.settings.can_seal:
                    raise not_secure_error(runner.fqcn)
                sends.submit(addressed, payload, failure_level=level_of(self.optional))
            except CellError as error:
                outcomes[target] = error
        return outcomes

    def _timeout_s(self, runner: CellRunner) -> float:
        return check_timeout(self.timeout, "timeout", runner.settings.config.request_timeout_s)

    def _make(self, runner: CellRunner, *, no_reply: bool) -> tuple[SendSpec, list[Payload]]:
        return make_request(
            runner.settings.config,
            self.channel,
            self.topic,
            self.request,
            optional=self.optional,
            copy=self.copy,
            no_reply=no_reply,
            sealed=bool(self.secure),
            traceparent=self.traceparent,
        )

    def _submit(self, runner: CellRunner, spec: SendSpec, payload: list[Payload], timeout_s: float) -> PendingRequest:
        if self.secure and not runner.settings.can_seal:
            raise not_secure_error(runner.fqcn)
        return runner.requests.submit(spec, payload, timeout_s)
