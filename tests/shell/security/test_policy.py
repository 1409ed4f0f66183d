"""What a policy allows, by which rule, and what is wrong with one that cannot be read."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcell.errors import UsageError
from streamcell.protocol.base.rules import QueryRight
from streamcell.security.policy.patterns import Names, cell_pattern, text_pattern
from streamcell.security.policy.policy import Policy, TransferKind

STREAM, BLOB, REQUEST = TransferKind.STREAM, TransferKind.BLOB, TransferKind.REQUEST
FINGERPRINT = "sha256:" + "ab" * 32
TEXT = f"""
version = 1

[[link]]
cells = ["site-*"]
addresses = ["10.0.0.0/8", "fd00::/8"]

[[link]]
cells = ["relay"]
relay = ["ward.**"]
query = "all"

[[link]]
cells = ["**"]
announce = []
query = "none"

[[allow]]
from = ["site-*"]
to = ["server"]
channels = ["train", "streamcell.*"]
kinds = ["stream", "blob"]

[[allow]]
from = ["site-*"]
to = ["vault"]
sealed = "required"

[[allow]]
from = ["server"]
to = ["**"]

[[deny]]
from = ["site-7"]

[[deny]]
to = ["site-8"]
topics = ["secret*"]

[[deny]]
fingerprint = "{FINGERPRINT.upper().replace("SHA256", "sha256")}"
"""
POLICY = Policy.from_text(TEXT, "policy.toml")


@pytest.mark.parametrize(
    ("origin", "target", "channel", "topic", "kind", "sealed", "allowed", "reason"),
    [
        ("site-1", "server", "train", "any", STREAM, False, True, r"[[allow]] number 1 (line 18) of policy.toml"),
        ("site-1", "server", "streamcell.files", "x.y", BLOB, False, True, "[[allow]] number 1"),
        ("site-1", "server", "train", "any", REQUEST, False, False, "no rule allows it"),
        ("site-1", "server", "other", "any", STREAM, False, False, "no rule allows it"),
        ("site-1.job", "server", "train", "any", STREAM, False, False, "no rule allows it"),
        ("site-1", "site-2", "train", "any", STREAM, False, False, "no rule allows it"),
        ("site-1", "vault", "c", "t", REQUEST, True, True, "[[allow]] number 2"),
        ("site-1", "vault", "c", "t", REQUEST, False, False, "number 2 (line 24) of policy.toml allows it only sealed"),
        ("server", "site-1.job.x", "c", "t", REQUEST, False, True, "[[allow]] number 3"),
        (
            "site-7",
            "server",
            "train",
            "any",
            STREAM,
            False,
            False,
            "[[deny]] number 1 (line 33) of policy.toml denies it",
        ),
        ("server", "site-8", "c", "secret-1", STREAM, True, False, "[[deny]] number 2"),
        ("server", "site-8", "c", "public", STREAM, False, True, "[[allow]] number 3"),
    ],
)
def test_decisions(
    origin: str, target: str, channel: str, topic: str, kind: TransferKind, sealed: bool, allowed: bool, reason: str
) -> None:
    for _ in "ab":  # the second one is remembered
        decision = POLICY.decide(origin, target, channel, topic, kind, sealed=sealed)
        assert decision.allowed is allowed
        assert reason in decision.reason


def test_pairs() -> None:
    assert POLICY.decide_pair("site-1", "server")
    assert POLICY.decide_pair("server", "site-1")
    assert not POLICY.decide_pair("site-1", "site-2")


def test_an_empty_policy_allows_nothing() -> None:
    policy = Policy.from_text("version = 1")
    assert not policy.decide("a", "b", "c", "d", STREAM).allowed
    assert policy.link_rule("a", "") is None


def test_neighbours() -> None:
    site = POLICY.link_rule("site-1", "10.2.3.4")
    assert site is not None
    assert site.query is QueryRight.OWN
    assert site.may_announce("site-1")
    assert site.may_announce("site-1.job.x")
    assert not site.may_announce("site-10")
    assert not site.may_announce("ward.bed")
    relay = POLICY.link_rule("relay", "192.0.2.1")
    assert relay is not None
    assert relay.query is QueryRight.ALL
    assert relay.may_announce("ward.bed.1")
    assert relay.may_announce("relay.x")
    assert not relay.may_announce("ward")


@pytest.mark.parametrize(
    ("address", "number"),
    [("10.0.0.1", 1), ("::ffff:10.0.0.1", 1), ("fd00::1", 1), ("192.0.2.1", 3), ("", 3), ("nonsense", 3)],
)
def test_addresses_of_neighbours(address: str, number: int) -> None:
    rule = POLICY.link_rule("site-1", address)
    assert rule is not None
    assert f"[[link]] number {number}" in rule.where


def test_who_has_proved_nothing_has_no_name_in_a_rule() -> None:
    policy = Policy.from_text("version = 1\n[[link]]\ncells = ['*']\nannounce = ['{name}', '{name}.**', 'guest-*']")
    nobody = policy.link_rule("", "")
    assert nobody is not None
    assert nobody.may_announce("guest-1")
    assert not nobody.may_announce("")
    assert not nobody.may_announce("x")


def test_certificates_that_are_denied() -> None:
    assert "[[deny]] number 3" in POLICY.fault_in_certificate(FINGERPRINT)
    assert "[[deny]] number 3" in POLICY.fault_in_certificate(FINGERPRINT.upper())
    assert POLICY.fault_in_certificate("sha256:" + "0" * 64) == ""


# --- patterns --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "fits", "fits_not"),
    [
        ("site-1", ["site-1"], ["site-10", "site-1.a", "xsite-1", ""]),
        ("site-*", ["site-1", "site-"], ["site-1.a", "site"]),
        ("*", ["a"], ["a.b"]),
        ("**", ["a", "a.b.c"], [""]),
        ("a.**", ["a.b", "a.b.c"], ["a", "ab"]),
        ("a.*.c", ["a.b.c"], ["a.c", "a.b.b.c"]),
        ("a-b_c~d", ["a-b_c~d"], ["a-b-c~d"]),
    ],
)
def test_patterns_of_cells(pattern: str, fits: list[str], fits_not: list[str]) -> None:
    names = Names([cell_pattern(pattern)])
    assert [name for name in fits if name not in names] == []
    assert [name for name in fits_not if name in names] == []


@given(st.from_regex(r"[A-Za-z0-9_~-]{1,9}(\.[A-Za-z0-9_~-]{1,9}){0,4}", fullmatch=True))
def test_a_name_is_a_pattern_of_itself_alone(name: str) -> None:
    names = Names([cell_pattern(name)])
    assert name in names
    assert name + "x" not in names
    assert "x" + name not in names
    assert name in Names([cell_pattern("**")])


@given(st.text(min_size=1))
def test_a_text_without_stars_is_a_pattern_of_itself_alone(text: str) -> None:
    text = text.replace("*", "+")
    names = Names([text_pattern(text)])
    assert text in names
    assert text + "x" not in names
    assert text in Names([text_pattern("*")])


@pytest.mark.parametrize("pattern", ["", "a b", "a/b", "[a]", "{other}", "é"])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(UsageError, match="pattern"):
        cell_pattern(pattern)


# --- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "version must be 1"),
        ("version = 2", "version must be 1"),
        ("version = true", "version must be 1"),
        ("version = 1\nallowed = []", "'allowed', which is not known; perhaps 'allow' is meant"),
        ("version = 1\n[allow]\nfrom = ['a']", "write [[allow]] above each"),
        ("version = 1\n[[allow]]", "[[allow]] number 1 (line 2) needs from"),
        ("version = 1\n[[allow]]\nfrom = 'a'\nto = ['b']", "from: must be a list of texts"),
        ("version = 1\n[[allow]]\nfrom = []\nto = ['b']", "from: is an empty list"),
        ("version = 1\n[[allow]]\nfrom = ['{name}']\nto = ['b']", "can stand in announce and relay only"),
        ("version = 1\n[[allow]]\nfrom = ['a']\nto = ['b']\nchanels = ['c']", "perhaps 'channels' is meant"),
        ("version = 1\n[[allow]]\nfrom = ['a']\nto = ['b']\nkinds = ['file']", "'file' is none of stream, blob"),
        ("version = 1\n[[allow]]\nfrom = ['a']\nto = ['b']\nsealed = true", "must be one of any, required"),
        ("version = 1\n[[allow]]\nfrom = ['a']\nto = ['b']\ntopics = ['']", "a pattern is empty"),
        ("version = 1\n[[link]]\nannounce = []", "needs cells"),
        ("version = 1\n[[link]]\ncells = ['a']\naddresses = ['10.0.0.1/8']", "has host bits set"),
        ("version = 1\n[[link]]\ncells = ['a']\nquery = 'some'", "must be one of none, own, all"),
        ("version = 1\n[[deny]]", "says nothing"),
        ("version = 1\n[[deny]]\nfingerprint = 'ab'", "sha256:"),
        (f"version = 1\n[[deny]]\nfrom = ['a']\nfingerprint = '{FINGERPRINT}'", "use another rule"),
        ("version = ", "is no TOML"),
        (b"\xff", "no text in UTF-8"),
    ],
)
def test_mistakes(text: str | bytes, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        Policy.from_text(text)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        Policy.from_text("version = 1\n[[allow]]\nfrom = ['a b']\nto = 3\n[[deny]]\nwhat = 1", "p.toml")
    for said in ("p.toml has mistakes", "from: 'a b'", "to: must be", "[[deny]] number 1 (line 5)"):
        assert said in caught.value.sentence


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.toml cannot be read: No such file"):
        Policy.from_file(tmp_path / "nowhere.toml")
    (tmp_path / "policy.toml").write_text(TEXT)
    assert Policy.from_file(tmp_path / "policy.toml").decide_pair("site-1", "server")


@given(st.text())
def test_any_text_is_a_policy_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert not Policy.from_text(f"version = 1\n{text}").decide_pair("a", "b")


# --- what never counts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (
            "[[link]]\ncells = ['**']\n[[link]]\ncells = ['a', 'b-*']",
            ["[[link]] number 2 (line 4) of p never counts: [["],
        ),
        ("[[link]]\ncells = ['site-*']\n[[link]]\ncells = ['site-7']", ["of p comes first, and fits all that it fits"]),
        ("[[link]]\ncells = ['**']\n[[link]]\ncells = ['*']", []),
        ("[[link]]\ncells = ['*']\naddresses = ['10.0.0.0/8']\n[[link]]\ncells = ['a']", []),
        ("[[link]]\ncells = ['site-*']\n[[link]]\ncells = ['site-*.x']", []),
        (
            "[[allow]]\nfrom = ['a']\nto = ['b']\n[[deny]]\nfrom = ['a']",
            ["[[deny]] number 1 (line 5) of p denies all that"],
        ),
        ("[[allow]]\nfrom = ['a', 'c']\nto = ['b']\n[[deny]]\nfrom = ['a']", []),
        ("[[allow]]\nfrom = ['a']\nto = ['b']\nchannels = ['x1']\n[[deny]]\nchannels = ['x*']", ["denies all that"]),
        ("[[allow]]\nfrom = ['a']\nto = ['b']\n[[deny]]\nchannels = ['x*']", []),
        ("[[allow]]\nfrom = ['a']\nto = ['b']\nkinds = ['blob']\n[[deny]]\nkinds = ['stream']", []),
        (
            "[[allow]]\nfrom = ['a..b']\nto = ['b.']",
            ["'a..b', which fits no cell's name", "'b.', which fits no cell's"],
        ),
        (f"[[allow]]\nfrom = ['a']\nto = ['b']\n[[deny]]\nfingerprint = '{FINGERPRINT}'", []),
    ],
)
def test_rules_that_never_count(rules: str, said: list[str]) -> None:
    warnings = Policy.from_text(f"version = 1\n{rules}", "p").warnings
    assert len(warnings) == len(said)
    for warning, part in zip(warnings, said, strict=True):
        assert part in warning
