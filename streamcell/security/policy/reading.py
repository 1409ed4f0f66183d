"""A policy's file, checked: all of its mistakes at once, each with its rule."""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from streamcell.errors import UsageError
from streamcell.security.policy.patterns import NAME, cell_pattern, text_pattern

_VERSION = 1
_SHA256 = re.compile(r"sha256:[0-9a-fA-F]{64}")
_KINDS = ("stream", "blob", "request")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule, as it stands in the file. None: the rule does not ask for that.

    Attributes:
        where: what to call it, with its line.
    """

    where: str
    cells: tuple[str, ...] = ()
    announce: tuple[str, ...] = (NAME, f"{NAME}.**")
    relay: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    query: str = "own"
    origins: tuple[str, ...] | None = None
    targets: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None
    topics: tuple[str, ...] | None = None
    kinds: tuple[str, ...] | None = None
    sealed: str = "any"
    fingerprint: str = ""

    @property
    def denies_all(self) -> bool:
        """Whether a rule that denies asks for nothing but the two cells."""
        return self.channels is None and self.topics is None and self.kinds is None


def read_policy(text: str | bytes, where: str, name: str) -> tuple[list[Rule], list[Rule], list[Rule]]:
    """Return the rules about links, what is allowed, and what is denied.

    :param where: what to call the file in a sentence about mistakes; ``name``: when a rule is named.
    :raises UsageError: if there are mistakes, with all of them.
    """
    try:
        decoded = text if isinstance(text, str) else text.decode()
        tables = tomllib.loads(decoded)
    except UnicodeDecodeError as error:
        raise UsageError(f"{where} is no text in UTF-8: {error.reason}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where} is no TOML: {error}") from error
    except RecursionError as error:
        raise UsageError(f"{where} nests values too deeply: a policy has lists of texts and nothing deeper") from error
    return _Reader(where, name, decoded).read(tables)


class _Reader:
    def __init__(self, where: str, name: str, text: str) -> None:
        self._where = where
        self._name = name
        self._lines = text.splitlines()
        self._mistakes: list[str] = []

    def read(self, tables: Mapping[str, Any]) -> tuple[list[Rule], list[Rule], list[Rule]]:
        if tables.get("version") != _VERSION or isinstance(tables.get("version"), bool):
            self._mistakes.append(f"version must be {_VERSION}: put 'version = {_VERSION}' into the first line")
        self._check_keys(tables, ("version", "link", "allow", "deny"), "the file")
        links = self._rules(tables, "link", _LINK, required=("cells",))
        allowed = self._rules(tables, "allow", _TRANSFER | {"sealed": ("sealed", _sealed)}, required=("from", "to"))
        denied = self._rules(tables, "deny", _TRANSFER | {"fingerprint": ("fingerprint", _fingerprint)})
        if self._mistakes:
            raise UsageError(f"{self._where} has mistakes: {'; '.join(self._mistakes)}")
        return links, allowed, denied

    def _rules(
        self,
        tables: Mapping[str, Any],
        name: str,
        fields: Mapping[str, tuple[str, Callable[[Any], Any]]],
        required: tuple[str, ...] = (),
    ) -> list[Rule]:
        given = tables.get(name, [])
        if not isinstance(given, list) or not all(isinstance(table, dict) for table in given):
            self._mistakes.append(f"{name} must be tables: write [[{name}]] above each")
            return []
        lines = self._lines_of(name)
        return [
            self._rule(table, f"[[{name}]] number {number}{f' (line {line})' if line else ''}", fields, required)
            for number, (table, line) in enumerate(zip(given, lines + [0] * len(given), strict=False), 1)
        ]

    def _rule(
        self,
        table: Mapping[str, Any],
        where: str,
        fields: Mapping[str, tuple[str, Callable[[Any], Any]]],
        required: tuple[str, ...],
    ) -> Rule:
        self._check_keys(table, fields, where)
        self._mistakes += [f"{where} needs {key}" for key in required if key not in table]
        if not table:
            self._mistakes.append(f"{where} says nothing")
        if "fingerprint" in table and len(table) > 1:
            self._mistakes.append(f"{where} denies a certificate, and then it is denied altogether: use another rule")
        values = {}
        for key, (attribute, read) in fields.items():
            if key in table:
                try:
                    values[attribute] = read(table[key])
                except UsageError as error:
                    self._mistakes.append(f"{where}, {key}: {error.sentence}")
        return Rule(where=f"{where} of {self._name}", **values)

    def _check_keys(self, table: Mapping[str, Any], known: Any, where: str) -> None:
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, list(known), 1)
                hint = f"; perhaps {near[0]!r} is meant" if near else f"; known are {', '.join(known)}"
                self._mistakes.append(f"{where} has {key!r:.50}, which is not known{hint}")

    def _lines_of(self, name: str) -> list[int]:
        header = re.compile(rf"\s*\[\[\s*{name}\s*\]\]")
        return [number for number, line in enumerate(self._lines, 1) if header.match(line)]


def _list(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise UsageError(f'must be a list of texts, as in ["site-*"], not {value!r:.100}')
    return tuple(value)


def _cells(value: Any) -> tuple[str, ...]:
    patterns = _list(value)
    for pattern in patterns:
        cell_pattern(pattern)
        if NAME in pattern:
            raise UsageError(f"{NAME} can stand in announce and relay only")
    return _some(patterns)


def _own_cells(value: Any) -> tuple[str, ...]:
    patterns = _list(value)
    for pattern in patterns:
        cell_pattern(pattern)
    return patterns


def _texts(value: Any) -> tuple[str, ...]:
    patterns = _list(value)
    for pattern in patterns:
        text_pattern(pattern)
    return _some(patterns)


def _kinds(value: Any) -> tuple[str, ...]:
    kinds = _some(_list(value))
    for kind in kinds:
        if kind not in _KINDS:
            raise UsageError(f"{kind!r:.50} is none of {', '.join(_KINDS)}")
    return kinds


def _networks(value: Any) -> tuple[str, ...]:
    networks = _some(_list(value))
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise UsageError(f"{error}") from error
    return networks


def _some(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise UsageError("is an empty list, so that the rule fits nothing: leave it away if it does not matter")
    return values


def _choice(*choices: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in choices:
            raise UsageError(f"must be one of {', '.join(choices)}, not {value!r:.50}")
        return str(value)

    return read


def _fingerprint(value: Any) -> str:
    if not isinstance(value, str) or _SHA256.fullmatch(value) is None:
        raise UsageError("must be 'sha256:' and 64 hexadecimal digits, as 'streamcell certs show' prints it")
    return value.lower()


_sealed = _choice("any", "required")
_LINK: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "cells": ("cells", _cells),
    "announce": ("announce", _own_cells),
    "relay": ("relay", _own_cells),
    "addresses": ("addresses", _networks),
    "query": ("query", _choice("none", "own", "all")),
}
_TRANSFER: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "from": ("origins", _cells),
    "to": ("targets", _cells),
    "channels": ("channels", _texts),
    "topics": ("topics", _texts),
    "kinds": ("kinds", _kinds),
}
