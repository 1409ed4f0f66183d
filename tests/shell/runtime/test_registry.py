import pytest

from streamcell import UsageError
from streamcell.protocol.wire.description import StreamKind
from streamcell.runtime.receiving.registry import CallbackRegistry

STREAM, BLOB = StreamKind.STREAM, StreamKind.BLOB


@pytest.fixture
def registry() -> CallbackRegistry[str]:
    return CallbackRegistry()


def test_nothing_is_found_in_an_empty_registry(registry: CallbackRegistry[str]) -> None:
    assert registry.find("channel", "topic", STREAM) is None


def test_the_exact_name_wins_then_the_channel_then_any(registry: CallbackRegistry[str]) -> None:
    registry.register("*", "*", STREAM, "any")
    assert registry.find("channel", "topic", STREAM) == (STREAM, "any")
    registry.register("channel", "*", STREAM, "channel")
    assert registry.find("channel", "topic", STREAM) == (STREAM, "channel")
    registry.register("channel", "topic", STREAM, "exact")
    assert registry.find("channel", "topic", STREAM) == (STREAM, "exact")
    assert registry.find("channel", "other", STREAM) == (STREAM, "channel")
    assert registry.find("other", "topic", STREAM) == (STREAM, "any")


def test_the_other_kind_is_found_if_it_is_the_only_one(registry: CallbackRegistry[str]) -> None:
    registry.register("channel", "topic", BLOB, "blob")
    assert registry.find("channel", "topic", STREAM) == (BLOB, "blob")


def test_of_two_kinds_the_wanted_one_is_found(registry: CallbackRegistry[str]) -> None:
    registry.register("channel", "topic", BLOB, "blob")
    registry.register("channel", "topic", STREAM, "stream")
    assert registry.find("channel", "topic", STREAM) == (STREAM, "stream")
    assert registry.find("channel", "topic", BLOB) == (BLOB, "blob")


def test_an_exact_name_of_the_other_kind_wins_over_a_wildcard(registry: CallbackRegistry[str]) -> None:
    registry.register("*", "*", STREAM, "any stream")
    registry.register("channel", "topic", BLOB, "blob")
    assert registry.find("channel", "topic", STREAM) == (BLOB, "blob")


def test_registering_again_replaces(registry: CallbackRegistry[str]) -> None:
    registry.register("channel", "topic", STREAM, "first")
    registry.register("channel", "topic", STREAM, "second")
    assert registry.find("channel", "topic", STREAM) == (STREAM, "second")


def test_unregistering_forgets_one_kind_only(registry: CallbackRegistry[str]) -> None:
    registry.register("channel", "topic", STREAM, "stream")
    registry.register("channel", "topic", BLOB, "blob")
    assert registry.unregister("channel", "topic", STREAM)
    assert registry.find("channel", "topic", STREAM) == (BLOB, "blob")
    assert registry.unregister("channel", "topic", BLOB)
    assert registry.find("channel", "topic", STREAM) is None
    assert not registry.unregister("channel", "topic", BLOB)


@pytest.mark.parametrize(
    ("channel", "topic"), [("", "topic"), ("channel", ""), (None, "topic"), ("channel", "x" * 256)]
)
def test_names_are_checked(registry: CallbackRegistry[str], channel: str, topic: str) -> None:
    with pytest.raises(UsageError):
        registry.register(channel, topic, STREAM, "callback")
