"""How often something may be done: tokens that are taken, and come back with time."""

from __future__ import annotations

from collections.abc import Hashable


class TokenBucket:
    """So many at once, and so many a second in the long run.

    :param per_s: tokens that come back each second.
    :param at_once: tokens that there are at first, and at most.
    """

    __slots__ = ("_at_once", "_counted_at", "_per_s", "_tokens")

    def __init__(self, per_s: float, at_once: float) -> None:
        self._per_s = per_s
        self._at_once = at_once
        self._tokens = at_once
        self._counted_at: float | None = None

    def has(self, now: float, tokens: float = 1) -> bool:
        """Return whether there are so many tokens. More than there ever are count as all."""
        if self._counted_at is not None:
            passed_s = max(0.0, now - self._counted_at)
            self._tokens = min(self._at_once, self._tokens + passed_s * self._per_s)
        self._counted_at = now
        return self._tokens >= min(tokens, self._at_once)

    def take(self, now: float, tokens: float = 1) -> bool:
        """Take tokens, if there are so many; returns whether."""
        if not self.has(now, tokens):
            return False
        self._tokens -= min(tokens, self._at_once)
        return True

    def next_at(self, now: float) -> float:
        """Return when there is a token."""
        return now if self.has(now) else now + (1 - self._tokens) / self._per_s


class Buckets:
    """A bucket for each key. Who has come last longest ago makes room, and begins anew when it comes again.

    :param most: keys that are remembered. Whoever gives the keys may make them up, so that this is no more than a
        measure of fairness among them; it wants a bucket for all of them together beside it.
    """

    def __init__(self, per_s: float, at_once: float, most: int) -> None:
        self._per_s = per_s
        self._at_once = at_once
        self._most = most
        self._buckets: dict[Hashable, TokenBucket] = {}

    def take(self, key: Hashable, now: float) -> bool:
        """Take a token for a key, if there is one; returns whether."""
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            bucket = TokenBucket(self._per_s, self._at_once)
            if len(self._buckets) >= self._most:
                del self._buckets[next(iter(self._buckets))]
        self._buckets[key] = bucket
        return bucket.take(now)
