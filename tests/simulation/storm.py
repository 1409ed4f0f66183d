"""What is done to a network while a history rages: each deed drawn by chance, with a weight."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from streamcell.errors import ErrorCode
from streamcell.protocol.wire.description import StreamKind
from tests.simulation.faults import MOMENTS, Trap
from tests.simulation.host import Host
from tests.simulation.network import Break, End
from tests.simulation.plans import HASTY_S, PATIENT_S, excuse_restart, excuse_rules, excuse_silence
from tests.simulation.transfers import Transfer

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

# Between two deeds: from amid a transfer to after every timer of a link.
PAUSES_S = (0.0005, 0.002, 0.01, 0.04, 0.1, 0.3, 1.0, 3.5, 9.0)
# Between the notice that a lane is about to end and its end.
_GRACES_S = (0.001, 0.02, 0.1, 0.5, 5.0, 60.0)


class Storm:
    """The deeds of one history. Some histories know only some of them."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._random = simulation.random
        self._network = simulation.network
        self._faults = simulation.faults
        self._transfers = simulation.transfers
        self._deeds, self._weights = self._draw()
        self._raging = True

    def rage(self, steps: int) -> None:
        """Do so many things, with pauses."""
        agenda = self._simulation.agenda
        for deed in self._random.choices(self._deeds, self._weights, k=steps):
            agenda.run_until(agenda.now + self._random.choice(PAUSES_S) * self._random.random())
            deed()
        self._raging = False

    def let_go(self) -> None:
        """Let what was held up arrive."""
        for end in self._network.ends():
            if end.stalled:
                end.stalled = False
                self._network.pump(end)

    def _draw(self) -> tuple[list[Callable[[], None]], list[int]]:
        """Return what may be done to the network, each with its weight."""
        always: list[tuple[Callable[[], None], int]] = [(self._open, 8), (self._cut, 3), (self._set_trap, 5)]
        sometimes: list[tuple[Callable[[], None], int]] = [
            (self._stall, 3),
            (self.let_go, 3),
            (self._deafen, 1),
            (self._toggle_corruption, 2),
            (self._toggle_doubles, 2),
            (self._cancel_send, 1),
            (self._cancel_receive, 1),
            (self._toggle_door, 2),
            (self._freeze, 1),
            (self._jump, 1),
        ]
        if self._simulation.options.notices:
            always.append((self._announce_end, 4))
        if self._simulation.options.policy:
            always.append((self._change_policy, 6))
        if self._simulation.liar is not None:
            always.append((self._simulation.liar.lie, 20))
        if self._simulation.options.restarts:
            sometimes += [(self._restart, 3), (self._stop, 1), (self._set_clock, 1)]
        chosen = always + [each for each in sometimes if self._random.random() < 0.6]
        return [action for action, _ in chosen], [weight for _, weight in chosen]

    def _host(self) -> Host:
        return self._random.choice(list(self._network.hosts.values()))

    def _note_fault(self, kind: str, text: str) -> None:
        self._faults.injected[kind] += 1
        self._simulation.history.note(text)

    def _open(self) -> None:
        origin, target = self._random.choice(self._simulation.pairs)
        transfer = self._simulation.plans.transfer(self._network.hosts[origin], target)
        if self._simulation.restarted[target]:
            # A lane to the life that is over may swallow what is sent after it.
            excuse_restart(transfer)
        if self._simulation.rules:
            excuse_rules(transfer)
        hasty = self._random.random() < 0.15
        if hasty:
            transfer.excuse(ErrorCode.TIMEOUT, ErrorCode.UNREACHABLE)
        self._simulation.send(transfer, HASTY_S if hasty else PATIENT_S)

    def _cut(self) -> None:
        ends = self._network.ends()
        if ends:
            end, how = self._random.choice(ends), self._random.choice(list(Break))
            self._note_fault("lane cut", f"cut {end}: {how.value}")
            self._network.break_lane(end, how)

    def _announce_end(self) -> None:
        """Let the carrier of a lane say that it is about to end, and end it: perhaps before there is another one."""
        ends = [end for end in self._network.ends() if end.peer is not None]
        if not ends:
            return
        end, agenda = self._random.choice(ends), self._simulation.agenda
        for each in (end, end.peer):
            if each is not None and each.host.frozen_until <= agenda.now:
                each.host.core.lane_leaving(each.lane_id, each.host.now)
                each.host.settle()
        grace_s = self._random.choice(_GRACES_S)
        self._note_fault("lane leaving", f"{end} is about to end, in {grace_s} s")
        agenda.add(agenda.now + grace_s, functools.partial(self._end_leaving, end))

    def _end_leaving(self, end: End) -> None:
        if self._raging and not end.closed:
            self._network.break_lane(end, Break.LOST)

    def _set_trap(self) -> None:
        moment = self._random.choice(sorted(MOMENTS))
        trap = Trap(
            moment, self._random.choice([0, 0, 0, 1, 5]), self._random.choice(list(Break)), self._random.random() < 0.4
        )
        self._faults.traps.append(trap)
        self._simulation.history.note(f"set {trap}")

    def _stall(self) -> None:
        ends = self._network.ends()
        if ends:
            end = self._random.choice(ends)
            self._note_fault("lane stalled", f"nothing arrives at {end}")
            end.stalled = True

    def _deafen(self) -> None:
        ends = self._network.ends()
        if ends:
            end = self._random.choice(ends)
            self._note_fault("lane deaf one way", f"nothing ever arrives at {end} again")
            end.deaf = True

    def _toggle_corruption(self) -> None:
        self._faults.corrupts = 0.0 if self._faults.corrupts else self._random.choice([0.02, 0.3])

    def _toggle_doubles(self) -> None:
        self._faults.doubles = 0.0 if self._faults.doubles else self._random.choice([0.05, 0.3])

    def _toggle_door(self) -> None:
        if self._faults.closed_doors:
            self._faults.closed_doors.clear()
        else:
            name = self._host().name
            self._note_fault("door closed", f"{name} cannot be dialled")
            self._faults.closed_doors.append(name)

    def _running(self) -> list[Transfer]:
        return [
            transfer
            for transfer in self._transfers.values()
            if transfer.origin.alive and (transfer.outcome is None or transfer.kind is StreamKind.REQUEST)
        ]

    def _cancel_send(self) -> None:
        running = self._running()
        if running:
            transfer = self._random.choice(running)
            self._note_fault("cancelled by the origin", f"cancel {transfer} at its origin")
            transfer.excuse(ErrorCode.CANCELLED)
            excuse_silence(transfer)
            transfer.origin.cancel_send(transfer)

    def _cancel_receive(self) -> None:
        transfer = self._random.choice(self._running() or [None])
        if transfer is None:
            return
        host = self._network.hosts[transfer.target]
        if transfer.key in host.receipts:
            self._note_fault("cancelled by the target", f"cancel {transfer} at its target")
            transfer.excuse(ErrorCode.CANCELLED)
            host.cancel_receive(transfer.key)

    def _change_policy(self) -> None:
        host = self._host()
        rules = self._simulation.rules[host.name]
        rules.change(self._random)
        self._note_fault("policy changed", f"{host.name} {rules}")
        host.on_rules_changed()

    def _freeze(self) -> None:
        host, seconds = self._host(), self._random.choice([0.2, 4.0, 20.0])
        self._note_fault("process frozen", f"{host.name} stands still for {seconds} s")
        host.frozen_until = self._simulation.agenda.now + seconds

    def _jump(self) -> None:
        host, seconds = self._host(), self._random.choice([0.3, 7.0, 40.0])
        self._note_fault("clock jumped", f"the clock of {host.name} jumps by {seconds} s")
        host.jump(seconds)

    def _set_clock(self) -> None:
        """Set the clock that the next life of a cell takes its number from; the running one has nothing of it."""
        self._note_fault("wall clock set", self._simulation.wall_clocks.leap(self._host().name))

    def _restart(self) -> None:
        """Kill a cell, preferably an end of a stream that is half way."""
        begun = [
            transfer
            for transfer in self._running()
            if transfer.kind is StreamKind.STREAM
            and any(each.consumed > 0 for each in self._simulation.receipts[transfer.key])
        ]
        if begun and self._random.random() < 0.7:
            transfer = self._random.choice(begun)
            host = self._network.hosts[self._random.choice([transfer.target, transfer.target, transfer.origin.name])]
        else:
            host = self._host()
        self._end_life(host, "killed", self._random.choice(list(Break)))

    def _stop(self) -> None:
        host = self._host()
        for transfer in self._transfers.values():
            if host.name in (transfer.target, transfer.origin.name):
                transfer.excuse(ErrorCode.STOPPING)
                excuse_restart(transfer)
        host.core.stop(host.now)
        host.settle()
        self._end_life(host, "stopped", Break.DELIVERED)

    def _end_life(self, host: Host, how: str, lanes: Break) -> None:
        """End a life, and begin the next one, which knows nothing of it."""
        self._note_fault(f"cell {how}", f"{host.name} is {how} and starts again; lanes: {lanes.value}")
        self._simulation.restarted[host.name] += 1
        host.alive = False
        for transfer in self._transfers.values():
            if host.name in (transfer.target, transfer.origin.name):
                excuse_restart(transfer)
        for end in list(host.ends.values()):
            if end.peer is not None:
                self._network.break_lane(end.peer if lanes is not Break.UNHEARD else end, lanes)
        self._simulation.begin_life(host.name)
        for transfer in list(self._transfers.values()):
            if transfer.origin is host and transfer.name and transfer.outcome is None and self._random.random() < 0.8:
                self._send_again(transfer, host.name)

    def _send_again(self, transfer: Transfer, name: str) -> None:
        """Let a new life of an origin send what an earlier one did not end."""
        again = self._simulation.plans.again(transfer, self._network.hosts[name])
        if self._simulation.restarted[again.target]:
            excuse_restart(again)
        if self._simulation.rules:
            excuse_rules(again)
        self._simulation.send(again, PATIENT_S)
