"""Faults of a path, after Toxiproxy's list, short enough for a test. Each is called on a proxy's loop when it strikes.

A fault that ends by itself tells the proxy when the path was whole again; the others last until the test heals them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from tests.kit.proxy import Path, Proxy, Way

Fault = Callable[[Proxy], None]

# How long nothing passes: longer than it takes the cells of these tests to grow suspicious and to dial anew.
HOLD_S = 0.6
# Of a fault that comes again.
TIMES = 3


def down(proxy: Proxy) -> None:
    """The other side is gone for a while: connections end, new ones are refused."""
    proxy.path.refuses = True
    proxy.end_now()
    proxy.later(HOLD_S, functools.partial(_up, proxy))


def _up(proxy: Proxy) -> None:
    proxy.path.refuses = False
    proxy.healed_now()


def reset(proxy: Proxy) -> None:
    """All connections are reset."""
    proxy.reset_now()
    proxy.healed_now()


def black_hole(proxy: Proxy) -> None:
    """Nothing passes for a while, then all of it, in order; and again."""
    _hold(proxy, TIMES)


def _hold(proxy: Proxy, times: int) -> None:
    proxy.flow_now(False)
    proxy.later(HOLD_S, functools.partial(_let_go, proxy, times - 1))


def _let_go(proxy: Proxy, times: int) -> None:
    proxy.flow_now(True)
    proxy.healed_now()
    if times > 0:
        proxy.later(HOLD_S / 2, functools.partial(_hold, proxy, times))


def hold_and_close(proxy: Proxy) -> None:
    """Nothing passes for a while, then the connections end."""
    proxy.flow_now(False)
    proxy.later(HOLD_S, functools.partial(_close, proxy))


def _close(proxy: Proxy) -> None:
    proxy.flow_now(True)
    proxy.reset_now()
    proxy.healed_now()


def deaf(proxy: Proxy) -> None:
    """Nothing reaches the listener any more in the connections that there are."""
    proxy.abandon_now(Way.UP)
    proxy.healed_now()


def mute(proxy: Proxy) -> None:
    """Nothing comes back from the listener any more in the connections that there are."""
    proxy.abandon_now(Way.DOWN)
    proxy.healed_now()


def latency(proxy: Proxy) -> None:
    """Everything takes longer, now more, now less."""
    proxy.path = Path(latency_s=0.01, jitter_s=0.02)


def bandwidth(proxy: Proxy) -> None:
    """Little passes at a time."""
    proxy.path = Path(bytes_per_s=2e6)


def slicer(proxy: Proxy) -> None:
    """What passes comes in small pieces."""
    proxy.path = Path(slice_bytes=700)


def limit_data(proxy: Proxy) -> None:
    """Each connection ends after so many bytes."""
    proxy.path = Path(limit_bytes=600_000)


def slow_close(proxy: Proxy) -> None:
    """The connections end, for the dialler later than for the listener; and what ends by itself ends slowly."""
    proxy.path = Path(slow_close_s=HOLD_S / 2)
    proxy.end_in_turn_now(HOLD_S / 2)


def idle_kill(proxy: Proxy) -> None:
    """Connections end that are idle for a moment, from now on; those that there are end now."""
    proxy.path = Path(idle_s=0.15)
    proxy.reset_now()
    proxy.healed_now()


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        down,
        reset,
        black_hole,
        hold_and_close,
        deaf,
        mute,
        latency,
        bandwidth,
        slicer,
        limit_data,
        slow_close,
        idle_kill,
    )
}
# Those after which nothing is sent again, because no connection is lost by them.
HARMLESS = ("latency", "bandwidth", "slicer")
