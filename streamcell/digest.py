"""Digests: what shows that bytes are the same where they cannot be compared.

By which algorithm bytes are hashed, and how a digest is written, is said here and nowhere else.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Self, TypeAlias

ALGORITHM = "sha256"

_WRITTEN = re.compile(r"sha256:[0-9a-fA-F]{64}", re.ASCII)

_Bytes: TypeAlias = bytes | bytearray | memoryview


@dataclasses.dataclass(frozen=True, slots=True)
class Digest:
    """A digest as it is written: the algorithm, a colon, and lower-case hexadecimal digits (``sha256:HEX``).

    What another cell has written is taken as it is, by whatever algorithm. It then equals none that was made here, and
    goes on unchanged to whoever may know it.
    """

    text: str

    def __str__(self) -> str:
        return self.text

    def matches(self, found: Digest) -> bool:
        """Return whether this stands for the same bytes as a digest that was made here."""
        return self == found

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the digest that somebody has written by hand, in letters of any case.

        Raises:
            ValueError: it is not by the algorithm that is known here, or has another number of digits.
        """
        if not _WRITTEN.fullmatch(text):
            raise ValueError(f"{text!r:.100} is not {ALGORITHM}: and 64 hexadecimal digits")
        return cls(text.lower())

    @classmethod
    def of(cls, pieces: Iterable[_Bytes], size: int | None = None) -> Digest:
        """Return the digest of the first ``size`` bytes (None: all) of some pieces."""
        hasher = Hasher()
        left = size
        for piece in pieces:
            hasher.update(piece if left is None else memoryview(piece)[: max(0, left)])
            left = None if left is None else left - len(piece)
        return hasher.digest()


class HiddenDigest(Digest):
    """A digest that the other end has hidden: it can be told whether one that was made here is the same."""

    __slots__ = ("_hide",)
    _hide: Callable[[str], Digest]

    def __init__(self, text: str, hide: Callable[[str], Digest]) -> None:
        super().__init__(text)
        object.__setattr__(self, "_hide", hide)

    def matches(self, found: Digest) -> bool:
        """Return whether this stands for the same bytes as a digest that was made here."""
        return self._hide(found.text).text == self.text


class Hasher:
    """Hashes bytes as they come. Not to be used by two threads at a time."""

    __slots__ = ("_hash", "update")

    def __init__(self) -> None:
        self._hash = hashlib.new(ALGORITHM)
        #: Take in the next bytes. Large ones are hashed without the interpreter's lock.
        self.update = self._hash.update

    def digest(self) -> Digest:
        """Return the digest of all bytes that were taken in; more may follow."""
        return Digest(f"{ALGORITHM}:{self._hash.hexdigest()}")
