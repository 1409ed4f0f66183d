from typing import Any

import pytest

from streamcell import HeaderValue, Message, UsageError
from streamcell.limits import HEADERS_BYTES
from streamcell.message import freeze_headers


def test_a_message_keeps_headers_and_payload() -> None:
    headers = {"round": 3}
    message = Message(headers, b"abc")
    assert (message.headers, message.payload) == ({"round": 3}, b"abc")
    message.set_header("site", "a")
    message.add_headers({"round": 4, "ok": True})
    message.remove_header("site")
    message.remove_header("site")
    assert message.headers == {"round": 4, "ok": True}
    assert headers == {"round": 3}


def test_headers_are_looked_up_with_a_default() -> None:
    message = Message({"round": 3})
    assert (message.get_header("round"), message.get_header("none"), message.get_header("none", 5)) == (3, None, 5)


def test_a_message_that_you_made_comes_from_nowhere() -> None:
    message = Message()
    assert (message.origin, message.target, message.channel, message.topic) == ("", "", "", "")
    assert (message.headers, message.payload) == ({}, None)


def test_its_repr_does_not_show_the_payload() -> None:
    assert repr(Message({"b": 1, "a": 2}, b"secret")) == "Message(headers=['a', 'b'], payload=6 bytes)"
    assert repr(Message()) == "Message(headers=[], payload=NoneType)"


def test_frozen_headers_are_sorted_and_keep_their_types() -> None:
    headers: dict[str, HeaderValue] = {"d": b"bytes", "a": True, "c": 1.5, "b": -(2**63), "e": "text"}
    frozen = freeze_headers(headers)
    assert frozen == (("a", True), ("b", -(2**63)), ("c", 1.5), ("d", b"bytes"), ("e", "text"))
    assert [type(value) for _, value in frozen] == [bool, int, float, bytes, str]
    assert freeze_headers(None) == freeze_headers({}) == ()


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"key": []}, "'key' has a value of type list"),
        ({"key": None}, "'key' has a value of type NoneType"),
        ({5: "a"}, "header key 5 is a int"),
        ({"key": 2**63}, "'key' does not fit in 64 bits"),
        ({"key": -(2**63) - 1}, "'key' does not fit in 64 bits"),
        ({"key": "\ud800"}, "'key' is not valid Unicode"),
        ({"\ud800": 1}, "is not valid Unicode"),
    ],
)
def test_other_headers_are_refused_by_name(headers: dict[Any, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        freeze_headers(headers)


def test_headers_are_limited_in_size() -> None:
    overhead = 64
    freeze_headers({"key": b"x" * (HEADERS_BYTES - overhead)})
    with pytest.raises(UsageError, match="put large values into the payload"):
        freeze_headers({"key": b"x" * HEADERS_BYTES})
