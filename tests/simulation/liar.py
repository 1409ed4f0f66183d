"""The cell that lies in a history: where it is, and when it does."""

from __future__ import annotations

import functools
import random
from typing import TYPE_CHECKING

from streamcell.protocol.base.events import HandshakeWork, StreamOpened
from tests.simulation.checks import Violation
from tests.simulation.host import Host
from tests.simulation.lies import LIAR, Forger, Mark
from tests.simulation.network import Break

if TYPE_CHECKING:
    from tests.simulation.network import End
    from tests.simulation.simulation import Simulation

# When all else is well it goes on for so long, and says something so often.
_GOES_ON_S = 5.0
_PAUSE_S = 0.05


class Liar:
    """Chooses its place in a network: below any cell, perhaps with a peer link besides, or above all."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        # Of its own, so that the others do what they would do without it.
        self._random = random.Random(simulation.seed)
        self._forger = Forger(self, self._random)
        self._until = 0.0
        self._impostors: list[Host] = []
        simulation.uplinks = self._settle_down(simulation.uplinks)

    def __str__(self) -> str:
        dialled = self._simulation.uplinks[LIAR]
        return f"the liar is {'below and beside ' + ' and '.join(dialled) if dialled else 'above all others'}"

    def _settle_down(self, uplinks: dict[str, list[str]]) -> dict[str, list[str]]:
        """Return whom each cell dials, this one among them."""
        names = list(uplinks)
        if self._random.random() < 0.2:
            root = next(name for name, dialled in uplinks.items() if not dialled)
            return {LIAR: [], **uplinks, root: [LIAR]}
        parent, peer = self._random.sample(names, 2)
        dialled = [parent] if self._random.random() < 0.5 else [parent, peer]
        return {**uplinks, LIAR: dialled}

    # What it can find out.

    def lives(self) -> dict[str, int]:
        """See lies.Scene."""
        hosts = self._simulation.network.hosts
        return {name: host.incarnation for name, host in hosts.items() if name != LIAR}

    def life_of_liar(self) -> int:
        """See lies.Scene."""
        return self._simulation.network.hosts[LIAR].incarnation

    def marks(self) -> list[Mark]:
        """See lies.Scene."""
        transfers = list(self._simulation.transfers.values())[-20:]
        return [
            Mark(
                transfer.key,
                transfer.target,
                len(transfer.data),
                self._simulation.attempt_of(transfer.key),
                transfer.name,
            )
            for transfer in transfers
        ]

    # When it lies.

    def lie(self, *, of_names: bool = False) -> None:
        """Put something on one of its lanes.

        Who is above all others lies while the cell below it has all its cells. Those that have no way to it may be
        elsewhere, and whoever is above speaks for them.
        """
        network = self._simulation.network
        ends = list(network.hosts[LIAR].ends.values())
        if not ends:
            return
        end = self._random.choice(ends)
        is_above = not self._simulation.uplinks[LIAR]
        if is_above and not self._has_all(end):
            return
        # A parent may take the names of those below it, and nobody can know better.
        frames = self._forger.lies(of_names=of_names and not is_above)
        self._simulation.faults.injected["lie"] += len(frames)
        self._simulation.history.note(f"{end} lies: {type(frames[0]).__name__}, {len(frames)} frames")
        network.slip_in(end, frames, at_once=is_above)

    def _has_all(self, end: End) -> bool:
        """Return whether the cell at the other side hears, and has accepted the names of all others."""
        if end.peer is None or end.peer.host.frozen_until > self._simulation.agenda.now:
            return False
        host = end.peer.host
        below = {route.fqcn for route in host.core.stats().routes if route.confirmed}
        return below | {host.name} == set(self.lives())

    def go_on(self, *, of_names: bool = False) -> None:
        """Lie again and again for a while; ``of_names``: also about who is there, while nobody stands still."""
        begun = self._until < self._simulation.agenda.now
        self._until = self._simulation.agenda.now + _GOES_ON_S
        if begun:
            self._lie_on(of_names)

    def _lie_on(self, of_names: bool) -> None:
        agenda = self._simulation.agenda
        if agenda.now < self._until:
            self.lie(of_names=of_names)
            agenda.add(agenda.now + _PAUSE_S * self._random.random(), functools.partial(self._lie_on, of_names))

    # As somebody else.

    def impersonate(self) -> None:
        """Dial cells, each as another one that lives, with its name and its life."""
        names = sorted(self.lives())
        for name in names:
            for dialled in names:
                if dialled != name:
                    self._impostors.append(self._impostor(name, dialled, as_peer=self._random.random() < 0.5))

    def leave(self) -> None:
        """Have all who came as somebody else go."""
        for impostor in self._impostors:
            impostor.alive = False
            for end in list(impostor.ends.values()):
                self._simulation.network.break_lane(end, Break.LOST)
        self._impostors.clear()

    def _impostor(self, name: str, dialled: str, *, as_peer: bool) -> Host:
        simulation = self._simulation
        victim = simulation.network.hosts[name]
        uplinks = ["nowhere", dialled] if as_peer else [dialled]
        simulation.history.note(f"somebody dials {dialled} as {name}{', for a peer link' if as_peer else ''}")
        impostor = Impostor(
            simulation.agenda,
            simulation.network,
            simulation,
            name,
            victim.incarnation if self._random.random() < 0.7 else victim.incarnation + 1,
            simulation.config,
            uplinks,
            simulation.ledger,
        )
        impostor.start()
        return impostor


class Impostor(Host):
    """A cell that says that it is another one, and gets nothing that is for it. It cannot prove to be that one."""

    def _on_handshake_work(self, event: HandshakeWork) -> None:
        """Come to keys with nobody."""

    def _on_opened(self, event: StreamOpened) -> None:
        raise Violation(f"{event.key} was offered to somebody who only says that he is {self.name}")
