from typing import Any

import pytest

from streamcell import CellConfig, Message, StreamError, StreamUsageError, UsageError
from streamcell.digest import Digest
from streamcell.protocol.sending.spec import SendSpec
from streamcell.protocol.wire.description import StreamKind
from streamcell.runtime.sending.specs import (
    SendMore,
    address,
    as_names,
    check_timeout,
    check_whole,
    make_request,
    make_send_spec,
)

CONFIG = CellConfig(idle_timeout_s=30, unreachable_timeout_s=12)
HEX = "0123456789abcdef" * 4


def make(**options: Any) -> SendSpec:
    arguments = {"channel": "channel", "topic": "topic", "target": "server", "headers": {}}
    optional = options.pop("optional", False)
    for name in arguments:
        if name in options:
            arguments[name] = options.pop(name)
    more = SendMore(**options)  # type: ignore[typeddict-item]
    return make_send_spec(CONFIG, StreamKind.BLOB, size=5, more=more, optional=optional, **arguments)  # type: ignore[arg-type]


def test_defaults_are_those_of_the_configuration() -> None:
    spec = make()
    assert (spec.description.idle_timeout_s, spec.unreachable_timeout_s) == (30, 12)
    assert (
        spec.description.digest,
        spec.description.digest_follows,
        spec.optional,
        spec.retry_unknown,
        spec.description.resume_id,
    ) == (
        None,
        False,
        False,
        False,
        "",
    )


def test_what_is_given_is_taken() -> None:
    spec = make(
        idle_timeout=0, unreachable_timeout=1.5, resume_id="upload", retry_unknown=True, headers={"b": 1, "a": 2}
    )
    assert (spec.description.idle_timeout_s, spec.unreachable_timeout_s, spec.description.resume_id) == (
        0,
        1.5,
        "upload",
    )
    assert spec.description.headers == (("a", 2), ("b", 1))
    assert spec.retry_unknown


def test_a_digest_is_computed_or_given() -> None:
    assert (make(digest="sha256").description.digest, make(digest="sha256").description.digest_follows) == (None, True)
    given = make(digest=f"sha256:{HEX.upper()}")
    assert (given.description.digest, given.description.digest_follows) == (Digest(f"sha256:{HEX}"), False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"target": "no name"},
        {"channel": ""},
        {"topic": 5},
        {"headers": {"key": []}},
        {"idle_timeout": -1},
        {"idle_timeout": "5"},
        {"unreachable_timeout": float("nan")},
        {"digest": "md5"},
        {"digest": "sha256:12"},
        {"resume_id": 5},
        {"resume_id": "x" * 256},
        {"resume_id": []},
        {"resume_id": "caf\udce9.txt"},
        {"channel": "caf\udce9.txt"},
        {"topic": "caf\udce9.txt"},
        {"target": "caf\udce9"},
        {"headers": {"caf\udce9": 1}},
        {"headers": {"name": "caf\udce9.txt"}},
        {"digest": "sha256:caf\udce9"},
        {"digest": []},
        {"idle_timeout": float("inf")},
        {"unreachable_timeout": 10**400},
    ],
)
def test_wrong_arguments_are_usage_errors_and_stream_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(StreamUsageError) as caught:
        make(**wrong)
    assert isinstance(caught.value, UsageError)
    assert isinstance(caught.value, StreamError)


def test_requests() -> None:
    spec, payload = make_request(
        CONFIG, "channel", "topic", Message({"a": 1}, b"abc"), optional=True, copy=False, no_reply=True
    )
    assert (address(spec, "server").target, address(spec, "site-1").target) == ("server", "site-1")
    with pytest.raises(UsageError, match="no name"):
        address(spec, "no name")
    assert (spec.description.kind, spec.description.size, spec.optional, spec.description.no_reply) == (
        StreamKind.REQUEST,
        3,
        True,
        True,
    )
    assert payload == [b"abc"]


def test_a_request_is_a_message() -> None:
    with pytest.raises(UsageError, match="Message"):
        make_request(CONFIG, "channel", "topic", b"abc", optional=False, copy=False, no_reply=False)  # type: ignore[arg-type]


def test_one_name_or_several() -> None:
    assert as_names("server") == ["server"]
    assert as_names(iter(["a", "b"])) == ["a", "b"]


@pytest.mark.parametrize("names", [None, 1, 1.5, [[]], [1], b"server", ["server", None]])
def test_what_is_neither_one_name_nor_several(names: Any) -> None:
    with pytest.raises(StreamUsageError, match="must be the name of a cell"):
        as_names(names)


def test_timeouts() -> None:
    assert (check_timeout(None, "timeout", 5), check_timeout(0, "timeout", 5)) == (5, 0)
    assert check_timeout(1e9, "timeout", 5) == 1e9


@pytest.mark.parametrize("wrong", [True, "1", [], -1, -0.5, 1e10, *map(float, ("nan", "inf", "-inf")), 10**400])
def test_timeouts_are_numbers_of_seconds(wrong: object) -> None:
    with pytest.raises(UsageError, match="grace must be a number of seconds up to 1e\\+09, or 0 for none"):
        check_timeout(wrong, "grace", 5)


def test_whole_numbers() -> None:
    class Index:
        def __index__(self) -> int:
            return 7

    assert (check_whole(0, "it"), check_whole(2**63 - 1, "it"), check_whole(Index(), "it")) == (0, 2**63 - 1, 7)
    wrong_ones: list[object] = [-1, 2**63, 10**30, True, 1.0, "1", None, []]
    for wrong in wrong_ones:
        with pytest.raises(UsageError, match="it must be a whole number from 0"):
            check_whole(wrong, "it")
