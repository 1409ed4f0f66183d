import dataclasses
from typing import Any

import pytest

from streamcell import CellConfig, UsageError
from streamcell.config import ProcessSettings
from streamcell.limits import GIB, KIB, MIB


def test_the_defaults_are_those_of_the_contract() -> None:
    config = CellConfig()
    assert (config.chunk_bytes, config.max_window_bytes, config.receive_budget_bytes) == (MIB, 32 * MIB, 256 * MIB)
    assert (config.blob_budget_bytes, config.max_blob_bytes, config.request_budget_bytes) == (4 * GIB, 4 * GIB, GIB)
    assert config.idle_buffer_bytes == GIB
    assert (config.callback_threads, config.request_threads, config.source_threads) == (64, 32, 64)
    assert (config.max_streams_per_peer, config.max_requests_per_peer) == (1024, 256)
    assert (config.idle_timeout_s, config.unreachable_timeout_s, config.request_timeout_s) == (300, 120, 60)
    assert (config.stop_grace_s, config.connect_timeout_s, config.hello_timeout_s) == (5, 3, 30)


def test_it_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CellConfig().chunk_bytes = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("chunk_bytes", 0),
        ("chunk_bytes", 4 * MIB + 1),
        ("chunk_bytes", 1e6),
        ("chunk_bytes", True),
        ("chunk_bytes", "1024"),
        ("max_window_bytes", 255 * KIB),
        ("callback_threads", 0),
        ("idle_timeout_s", -1),
        ("idle_timeout_s", float("nan")),
        ("idle_timeout_s", float("inf")),
        ("switch_interval_s", 2),
        ("bulk_lanes", 8),
        ("idle_buffer_bytes", -1),
    ],
)
def test_values_out_of_range_are_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"CellConfig.{field} must be"):
        CellConfig(**{field: value})


def test_the_two_ends_of_the_back_off_are_in_order() -> None:
    with pytest.raises(UsageError, match="larger than backoff_max_s"):
        CellConfig(backoff_min_s=2, backoff_max_s=1)


def test_a_field_may_be_given_by_an_earlier_name() -> None:
    config = CellConfig(dial_timeout_s=1.5)
    assert config == CellConfig(connect_timeout_s=1.5) == CellConfig(connect_timeout_s=1.5, dial_timeout_s=1.5)
    assert dataclasses.replace(config, connect_timeout_s=2.5) == CellConfig(connect_timeout_s=2.5)
    with pytest.raises(
        UsageError, match=r"earlier name of connect_timeout_s, and the two differ .2 and 1\.5.: give con"
    ):
        dataclasses.replace(config, dial_timeout_s=2)
    with pytest.raises(UsageError, match=r"CellConfig\.dial_timeout_s must be between 0\.01 and 3600, not 0"):
        CellConfig(dial_timeout_s=0)


def test_the_settings_of_the_process_stand_apart_and_go_by_the_names_that_they_have_in_the_configuration() -> None:
    config = CellConfig(switch_interval_s=0.001, tune_allocator=False, chunk_bytes=4096)
    assert config.process == ProcessSettings(switch_interval_s=0.001, tune_allocator=False)
    assert dataclasses.replace(config, switch_interval_s=0).process.switch_interval_s == 0
    with pytest.raises(UsageError, match=r"^ProcessSettings\.switch_interval_s must be between 0 and 1, not 2"):
        ProcessSettings(switch_interval_s=2)
