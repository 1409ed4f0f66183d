"""Values: messages, headers, names of cells, and the configuration."""

from __future__ import annotations

import dataclasses
import math
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcell import CellConfig, CoreCell, HeaderValue, Message, UsageError

# --- messages


def test_message_headers() -> None:
    headers: dict[str, HeaderValue] = {"a": 1, "b": "two"}
    message = Message(headers, b"payload")
    assert (message.get_header("a"), message.get_header("c"), message.get_header("c", 3)) == (1, None, 3)
    message.set_header("a", 2.5)
    message.add_headers({"c": b"3", "b": True})
    message.remove_header("missing")
    assert message.headers == {"a": 2.5, "b": True, "c": b"3"}
    message.remove_header("a")
    assert "a" not in message.headers
    assert headers == {"a": 1, "b": "two"}
    assert (message.payload, message.origin, message.target, message.channel, message.topic) == (b"payload", *[""] * 4)


@pytest.mark.parametrize("headers", ["text", b"", 5, [("k", 1)]])
def test_message_headers_are_a_mapping(headers: Any) -> None:
    with pytest.raises(UsageError, match="headers must be a mapping"):
        Message(headers)


def test_message_without_anything() -> None:
    message = Message()
    assert (message.headers, message.payload) == ({}, None)
    assert Message().headers is not message.headers


def test_message_hides_its_payload() -> None:
    assert "secret" not in repr(Message({"k": "secret"}, b"secret"))
    assert "6 bytes" in repr(Message({}, b"secret"))


# --- names of cells

PART = st.text(string.ascii_letters + string.digits + "_~-", min_size=1, max_size=20)


@given(st.lists(PART, min_size=1, max_size=12).map(".".join))
def test_good_names(name: str) -> None:
    assert CoreCell(name).fqcn == name


@pytest.mark.parametrize("name", ["a" * 255, "server", "site-1.job-7", "A._.~.0"])
def test_good_names_by_example(name: str) -> None:
    assert CoreCell(name).fqcn == name


@given(st.text(max_size=30).filter(lambda text: not set(text) <= set(string.ascii_letters + string.digits + "_~-.")))
def test_bad_characters(name: str) -> None:
    with pytest.raises(UsageError, match="not a cell name"):
        CoreCell(name)


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a..b", "a" * 256, "a\n", "ä", "*", "a b", "a/b", None, 3, b"a"])
def test_bad_names(name: object) -> None:
    with pytest.raises(UsageError, match="not a cell name"):
        CoreCell(name)  # type: ignore[arg-type]


# --- configuration

# The defaults that are documented.
DEFAULTS = {
    "chunk_bytes": 2**20,
    "max_window_bytes": 32 * 2**20,
    "receive_budget_bytes": 256 * 2**20,
    "blob_budget_bytes": 4 * 2**30,
    "request_budget_bytes": 2**30,
    "max_blob_bytes": 4 * 2**30,
    "callback_threads": 64,
    "request_threads": 32,
    "source_threads": 64,
    "max_streams_per_peer": 1024,
    "max_requests_per_peer": 256,
    "idle_timeout_s": 300.0,
    "unreachable_timeout_s": 120.0,
    "request_timeout_s": 60.0,
    "ping_after_s": 5.0,
    "suspect_after_s": 3.0,
    "link_down_s": 30.0,
    "connect_timeout_s": 3.0,
    "hello_timeout_s": 30.0,
    "backoff_min_s": 0.2,
    "backoff_max_s": 5.0,
    "stop_grace_s": 5.0,
}
SWITCHES = ("tune_allocator", "batch_grpc_threads", "connect_in_order")
NUMBERS = [field.name for field in dataclasses.fields(CellConfig) if field.name not in SWITCHES]


def test_defaults() -> None:
    config = CellConfig()
    assert {name: getattr(config, name) for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("value", [0, 1, "no", None])
def test_a_switch_is_true_or_false(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"{name} must be True or False"):
        CellConfig(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NUMBERS)
@given(st.one_of(st.integers(), st.floats(), st.text(max_size=3), st.booleans(), st.none(), st.just([])))
def test_any_value_is_taken_as_it_is_or_refused_by_name(name: str, value: object) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    is_of_its_kind = isinstance(value, int) or name.endswith("_s")
    try:
        config = CellConfig(**{name: value})  # type: ignore[arg-type]
    except UsageError as raised:
        error = raised
    else:
        assert getattr(config, name) is value
        assert is_number
        assert is_of_its_kind
        assert 0 <= value < math.inf
        return
    assert name in str(error)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, -math.inf, 2**70, True, "1", None])
def test_nonsense_is_refused(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=name):
        CellConfig(**{name: value})  # type: ignore[arg-type]


def test_values_that_contradict_each_other() -> None:
    with pytest.raises(UsageError, match="backoff"):
        CellConfig(backoff_min_s=2, backoff_max_s=1)


def test_positional_and_unknown_fields() -> None:
    with pytest.raises(TypeError):
        CellConfig(1024)  # type: ignore[call-arg, arg-type]
    with pytest.raises(TypeError):
        CellConfig(chunk_size=1024)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="CellConfig"):
        CoreCell("server", config={"chunk_bytes": 1024})  # type: ignore[arg-type]
