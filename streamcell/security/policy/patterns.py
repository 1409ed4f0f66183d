"""Patterns of names, and what of many rules a name fits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from streamcell.errors import UsageError

# The neighbour that a rule is looked up for.
NAME = "{name}"
# Names whose rules are remembered. A peer chooses channels and topics, so there is an end.
_REMEMBERED = 16_384

_CELL = re.compile(r"\*\*|\*|\{name\}|[A-Za-z0-9_~.-]+")
_ONE_PART, _PARTS = r"[^.]*", r"[^.]+(?:\.[^.]+)*"


def cell_pattern(pattern: str, name: str = "") -> str:
    """Return the regular expression of a pattern of cell names.

    ``*`` stands for any characters of one part, ``**`` for one part or several, ``{name}`` for the neighbour's own
    name.

    :raises UsageError: if it is none.
    """
    pieces = _CELL.findall(pattern)
    if not pattern or "".join(pieces) != pattern:
        raise UsageError(
            f"{pattern!r:.100} is no pattern of cell names: use letters, digits, '_', '~', '-', '.', '*', '**'"
        )
    known = {"**": _PARTS, "*": _ONE_PART, NAME: re.escape(name)}
    return "".join(known.get(piece) or re.escape(piece) for piece in pieces)


def text_pattern(pattern: str) -> str:
    """Return the regular expression of a pattern of channels or topics, which have no parts: ``*`` is any text.

    :raises UsageError: if it is empty.
    """
    if not pattern:
        raise UsageError("a pattern is empty: '*' stands for everything")
    return ".*".join(map(re.escape, re.split(r"\*+", pattern)))


class Names:
    """A set of names that patterns describe."""

    def __init__(self, expressions: Iterable[str]) -> None:
        self._expression = re.compile("|".join(f"(?:{each})" for each in expressions), re.DOTALL)

    def __contains__(self, name: str) -> bool:
        return self._expression.fullmatch(name) is not None


class Column:
    """One condition of all rules: which of them a name fits, as bits, the first rule's the lowest.

    Patterns are found by what stands before their first star, so that most are never looked at; one without a star by
    itself.

    :param rules: the patterns of each rule; None: it does not ask.
    :param expression: makes a regular expression of a pattern.
    """

    def __init__(self, rules: Sequence[Sequence[str] | None], expression: Callable[[str], str]) -> None:
        self._always = sum(1 << index for index, patterns in enumerate(rules) if patterns is None)
        self._known: dict[str, int] = {}
        self._whole: dict[str, int] = {}
        by_length: dict[int, dict[str, list[tuple[int, re.Pattern[str]]]]] = {}
        for index, patterns in enumerate(rules):
            for pattern in patterns or ():
                start, star, _ = pattern.partition("*")
                if not star:
                    self._whole[pattern] = self._whole.get(pattern, 0) | 1 << index
                    continue
                compiled = re.compile(expression(pattern), re.DOTALL)
                by_length.setdefault(len(start), {}).setdefault(start, []).append((1 << index, compiled))
        self._by_length = tuple(by_length.items())

    def fit(self, name: str) -> int:
        """Return the bits of the rules that ``name`` fits."""
        bits = self._known.get(name)
        if bits is None:
            bits = self._always | self._whole.get(name, 0)
            for length, by_start in self._by_length:
                for bit, expression in by_start.get(name[:length], ()):
                    if not bits & bit and expression.fullmatch(name):
                        bits |= bit
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[name] = bits
        return bits
