"""Policy: nothing is allowed that no rule allows, and what one rule denies no other allows."""

from __future__ import annotations

import dataclasses
import enum
import functools
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from streamcell.errors import UsageError
from streamcell.protocol.base.rules import QueryRight
from streamcell.security.policy.findings import find_idle_rules
from streamcell.security.policy.patterns import NAME, Column, Names, cell_pattern, text_pattern
from streamcell.security.policy.reading import Rule, read_policy

_MOST_BYTES = 4 * 1024 * 1024
# Of so many rules channels and topics are compared one by one: whoever sends chooses these, a new one each time if it
# likes, and to look for it among all rules takes longer.
_FEW = 16
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class TransferKind(enum.StrEnum):
    """What is sent. A reply is allowed when its request was."""

    STREAM = "stream"
    BLOB = "blob"
    REQUEST = "request"


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """Whether something is allowed, and which rule says so.

    Attributes:
        allowed: whether it is.
        reason: which rule, or that there is none: a part of a sentence.
    """

    allowed: bool
    reason: str


class LinkRule:
    """What a neighbour may do, as one rule has it for one name."""

    def __init__(self, rule: Rule, name: str) -> None:
        self.where = rule.where
        self._query = QueryRight(rule.query)
        self._name = name
        self._announced = _names(rule.announce, name)
        self._relayed = _names(rule.relay, name)

    @property
    def query(self) -> QueryRight:
        """Which cells the neighbour may ask for."""
        return self._query

    def may_announce(self, fqcn: str) -> bool:
        """Return whether the neighbour may bring a cell of that name into the tree.

        ``announce`` is about the names that are its own, if it has proved one; ``relay`` about any.
        """
        name = self._name
        is_own = not name or fqcn == name or fqcn.startswith(f"{name}.")
        return (is_own and fqcn in self._announced) or fqcn in self._relayed


class Policy:
    """Rules: who may be a neighbour, and who may send what to whom.

    Made by :meth:`from_file` or :meth:`from_text`. A policy never changes: a file that was changed becomes another one,
    see :meth:`read_again`. May be used in any thread.

    :param links: what neighbours may do; the first rule counts that fits.
    :param allowed: what may be sent.
    :param denied: what may not, whatever else is allowed.
    :param name: what to call it in sentences, some of which go to other cells.
    :param path: the file that it is from, if it is from one.
    """

    def __init__(
        self,
        links: Sequence[Rule],
        allowed: Sequence[Rule],
        denied: Sequence[Rule],
        *,
        name: str = "the policy",
        path: Path | None = None,
    ) -> None:
        self.name = name
        self.path = path
        #: Of each rule that never counts, and each pattern that fits no name, a sentence.
        self.warnings = tuple(find_idle_rules(links, allowed, denied))
        self._links = tuple(links)
        self._link_names = [Names(map(cell_pattern, rule.cells)) for rule in links]
        self._link_networks = [tuple(map(ipaddress.ip_network, rule.addresses)) for rule in links]
        self._denied_fingerprints = {rule.fingerprint: rule for rule in denied if rule.fingerprint}
        self._allow = _Transfers(allowed)
        about_transfers = [rule for rule in denied if not rule.fingerprint]
        self._deny = _Transfers(about_transfers)
        self._deny_all = _Transfers([rule for rule in about_transfers if rule.denies_all])
        self._rule_for = functools.lru_cache(maxsize=4096)(self._find_rule)
        self._decide = functools.lru_cache(maxsize=65_536)(self._find_decision)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Policy:
        """Read a policy from a file in TOML.

        :raises UsageError: if it cannot be read, or has mistakes, with all of them.
        """
        file = Path(path)
        return cls(*read_policy(_read(file), f"the policy {file}", file.name), name=file.name, path=file)

    @classmethod
    def from_text(cls, text: str | bytes, where: str = "the policy") -> Policy:
        """Make a policy of text in TOML.

        :param where: what to call it in sentences.
        :raises UsageError: if it has mistakes, with all of them.
        """
        return cls(*read_policy(text, where, where), name=where)

    def read_again(self) -> Policy:
        """Return the policy that its file holds now; itself if it is from none.

        :raises UsageError: if that cannot be read, or has mistakes.
        """
        return self if self.path is None else self.from_file(self.path)

    def link_rule(self, name: str, address: str) -> LinkRule | None:
        """Return what a neighbour may do, or None if it may not be one.

        :param name: what it has proved to be called, empty if it has proved nothing.
        :param address: its IP address; anything else fits no rule that has addresses.
        """
        return self._rule_for(name, address)

    def fault_in_certificate(self, fingerprint: str) -> str:
        """Return why a certificate is refused, as a part of a sentence; empty if it is not."""
        rule = self._denied_fingerprints.get(fingerprint.lower())
        return f"its certificate is denied by {rule.where}" if rule is not None else ""

    def decide(
        self, origin: str, target: str, channel: str, topic: str, kind: TransferKind, *, sealed: bool = False
    ) -> Decision:
        """Return whether one cell may send something to another."""
        return self._decide(origin, target, channel, topic, kind, sealed)

    def decide_pair(self, origin: str, target: str) -> bool:
        """Return whether one cell may send anything at all to another."""
        return bool(self._allow.fit_pair(origin, target)) and not self._deny_all.fit_pair(origin, target)

    def _find_rule(self, name: str, address: str) -> LinkRule | None:
        for rule, names, networks in zip(self._links, self._link_names, self._link_networks, strict=True):
            if name in names and (not networks or _is_in(address, networks)):
                return LinkRule(rule, name)
        return None

    def _find_decision(
        self, origin: str, target: str, channel: str, topic: str, kind: TransferKind, sealed: bool
    ) -> Decision:
        denying = self._deny.first(self._deny.fit(origin, target, channel, topic, kind))
        if denying is not None:
            return Decision(False, f"{denying.where} denies it")
        fitting = self._allow.fit(origin, target, channel, topic, kind)
        allowing = self._allow.first(fitting if sealed else fitting & ~self._allow.sealed)
        if allowing is not None:
            return Decision(True, f"{allowing.where} allows it")
        only_sealed = self._allow.first(fitting)
        if only_sealed is not None:
            return Decision(False, f"{only_sealed.where} allows it only sealed: send it with secure=True")
        return Decision(False, "no rule allows it")


class _Transfers:
    """Rules about what is sent."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._origins = Column([rule.origins for rule in rules], cell_pattern)
        self._targets = Column([rule.targets for rule in rules], cell_pattern)
        self._channels = Column([rule.channels for rule in rules], text_pattern)
        self._topics = Column([rule.topics for rule in rules], text_pattern)
        self._kinds = Column([rule.kinds for rule in rules], text_pattern)
        self._texts = [(_texts(rule.channels), _texts(rule.topics)) for rule in rules]
        #: The rules that allow nothing that is not sealed.
        self.sealed = sum(1 << index for index, rule in enumerate(rules) if rule.sealed == "required")

    def fit_pair(self, origin: str, target: str) -> int:
        return self._origins.fit(origin) & self._targets.fit(target)

    def fit(self, origin: str, target: str, channel: str, topic: str, kind: str) -> int:
        bits = self.fit_pair(origin, target)
        if bits:
            bits &= self._kinds.fit(kind)
        if bits.bit_count() > _FEW:
            return bits & self._channels.fit(channel) & self._topics.fit(topic)
        fitting, left = 0, bits
        while left:
            bit = left & -left
            left ^= bit
            channels, topics = self._texts[bit.bit_length() - 1]
            if (channels is None or channel in channels) and (topics is None or topic in topics):
                fitting |= bit
        return fitting

    def first(self, bits: int) -> Rule | None:
        return self._rules[(bits & -bits).bit_length() - 1] if bits else None


def _read(file: Path) -> bytes:
    """Return what a policy's file holds.

    :raises UsageError: if it cannot be read, or is far too large.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"the policy {file} cannot be read: {error.strerror}") from error
    if len(data) > _MOST_BYTES:
        raise UsageError(f"the policy {file} is larger than {_MOST_BYTES} bytes")
    return data


def _names(patterns: Sequence[str], name: str) -> Names | frozenset[str]:
    # Who has proved no name has none below it either.
    usable = [pattern for pattern in patterns if name or NAME not in pattern]
    return Names([cell_pattern(pattern, name) for pattern in usable]) if usable else frozenset()


def _texts(patterns: Sequence[str] | None) -> Names | None:
    return None if patterns is None else Names(map(text_pattern, patterns))


def _is_in(address: str, networks: Sequence[_Network]) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in network for network in networks)
