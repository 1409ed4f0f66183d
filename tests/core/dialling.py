"""An uplink without a network: a test plays the carriers and the cell that is dialled."""

from __future__ import annotations

from collections.abc import Iterator

from streamcell.errors import AuthenticationError, CellError, ErrorCode
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.events import LaneWanted, UplinkRefused
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.lane import Lane
from streamcell.protocol.links.states import LaneState
from streamcell.protocol.links.table import LinkTable
from streamcell.protocol.links.uplink import Uplink
from streamcell.protocol.wire.frames import Goodbye, LaneRole
from tests.core.by_hand import hello
from tests.core.harness import make_context
from tests.core.samples import Told

# After that long a lane that was asked for a sign of life is suspect.
SUSPECT_AFTER_S = 3.0


class Rig:
    """A table of links with one uplink, to a parent or for a shortcut. The cell that is dialled is called server."""

    def __init__(self, places: int = 1, kind: LinkKind = LinkKind.PARENT) -> None:
        self.context: Context = make_context()
        self.told = Told()
        self.table = LinkTable(self.context, self.told)
        self.uplink: Uplink = self.table.dialler.add_uplink(0.0, places, kind)

    def wanted(self) -> list[LaneWanted]:
        """What was dialled for the one uplink."""
        events = [event for event in self.context.events if isinstance(event, LaneWanted)]
        return [event for event in events if event.uplink == self.uplink.number]

    def dialled(self) -> list[LaneRole]:
        return [event.role for event in self.wanted()]

    def places(self) -> list[int]:
        return [event.place for event in self.wanted()]

    def refusals(self) -> list[bool]:
        return [event.firm for event in self.context.events if isinstance(event, UplinkRefused)]

    def newest(self) -> Lane:
        return self.table.lanes.all()[-1]

    def connect(self, lane: Lane, now: float) -> None:
        """Let a connection come up on which no Hello has come."""
        self.table.lane_connected(lane.lane_id, CarrierInfo("test", "somewhere"), now)

    def come_up(self, lane: Lane, now: float = 0.0) -> None:
        """Let the listener's Hello arrive."""
        self.connect(lane, now)
        self.table.handle_hello(lane, hello("server", link_id=b"id", lane_number=lane.number), now)

    def close(self, lane: Lane, now: float, refusal: CellError | None = None) -> None:
        """Let the carrier of a lane end, or say that there is none."""
        self.table.lane_closed(lane.lane_id, "gone", refusal, now)

    def refuse(self, now: float) -> None:
        """Have the newest dial refused."""
        self.close(self.newest(), now, AuthenticationError("no"))

    def say_goodbye(self, lane: Lane, now: float, code: ErrorCode, linked_fqcn: str = "") -> None:
        """Have the listener end a lane, which the carrier then does."""
        self.connect(lane, now)
        self.table.handle_goodbye(lane, Goodbye(code, "no", linked_fqcn), now)
        self.close(lane, now)

    def fall_silent(self, lane: Lane, now: float) -> None:
        """Have a lane suspected at ``now``."""
        lane.ask_for_sign_of_life(now - SUSPECT_AFTER_S)
        self.context.deadlines.expire(now)
        assert lane.state is LaneState.SUSPECT

    def times(self) -> Iterator[float]:
        """Go on from deadline to deadline."""
        while (at := self.context.deadlines.next_deadline()) is not None:
            self.context.deadlines.expire(at)
            yield at
