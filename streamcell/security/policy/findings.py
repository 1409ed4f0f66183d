"""Rules of a policy that can never count, and patterns that fit nothing: no mistakes, and surely not what was meant.

Whether one pattern fits all that another one fits is tried with names that the other one fits, made with texts that
nobody would write into a rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from streamcell.errors import UsageError
from streamcell.fqcn import check_fqcn
from streamcell.security.policy.patterns import NAME, Column, cell_pattern, text_pattern
from streamcell.security.policy.reading import Rule

_STARS = re.compile(r"\*+")
# What stars are tried with.
_PART, _PARTS = "~q~7", "~q~7.~q~8.~q~9"
# What fits no condition but one that fits everything.
_ANYTHING = ("**", "")


def find_idle_rules(links: Sequence[Rule], allowed: Sequence[Rule], denied: Sequence[Rule]) -> Iterator[str]:
    """Yield a sentence for each rule that never counts, and for each pattern that fits no cell's name."""
    cells = Column([rule.cells for rule in links], cell_pattern)
    for index, rule in enumerate(links):
        fitting = _covering(cells, rule.cells) & ((1 << index) - 1)
        first = next((each for each in _chosen(links, fitting) if each.addresses in ((), rule.addresses)), None)
        if first is not None:
            yield f"{rule.where} never counts: {first.where} comes first, and fits all that it fits"
    about_transfers = [rule for rule in denied if not rule.fingerprint]
    denying = _Denying(about_transfers)
    for rule in allowed if about_transfers else ():
        for first in _chosen(about_transfers, denying.covering(rule)):
            yield f"{rule.where} never counts: {first.where} denies all that it allows"
            break
    for rule in (*links, *allowed, *denied):
        for pattern in (*rule.cells, *rule.announce, *rule.relay, *(rule.origins or ()), *(rule.targets or ())):
            if not _can_fit(pattern):
                yield f"{rule.where} has {pattern!r}, which fits no cell's name"


class _Denying:
    """Rules that deny, by what they ask for."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._origins = Column([rule.origins for rule in rules], cell_pattern)
        self._targets = Column([rule.targets for rule in rules], cell_pattern)
        self._channels = Column([rule.channels for rule in rules], text_pattern)
        self._topics = Column([rule.topics for rule in rules], text_pattern)
        self._kinds = Column([rule.kinds for rule in rules], text_pattern)

    def covering(self, rule: Rule) -> int:
        """Return the bits of those that fit all that a rule fits."""
        return (
            _covering(self._origins, rule.origins)
            & _covering(self._targets, rule.targets)
            & _covering(self._channels, rule.channels)
            & _covering(self._topics, rule.topics)
            & _covering(self._kinds, rule.kinds)
        )


def _covering(column: Column, patterns: Sequence[str] | None) -> int:
    """Return the bits of the rules that fit all that these patterns fit; None: they fit everything."""
    bits = -1
    for pattern in _ANYTHING if patterns is None else patterns:
        for part, parts in ((_PART, _PARTS), ("", _PART)):
            bits &= column.fit(pattern.replace("**", parts).replace("*", part))
    return bits


def _chosen(rules: Sequence[Rule], bits: int) -> Iterator[Rule]:
    while bits:
        yield rules[(bits & -bits).bit_length() - 1]
        bits &= bits - 1


def _can_fit(pattern: str) -> bool:
    try:
        check_fqcn(_STARS.sub("x", pattern.replace(NAME, "x")))
    except UsageError:
        return False
    return True
