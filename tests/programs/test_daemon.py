"""The standing cell as its operator sees it: health, metrics, draining, a full disk."""

from __future__ import annotations

import signal
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamcell.cli.outcome import ExitCode
from streamcell.transport.grpc.environment import grpc
from tests.kit.programs import LIMIT_S, Command, complaint, hub, run_command
from tests.kit.waiting import eventually

CELL_SERVICE = "streamcell.v1.CellService"


@pytest.fixture
def channel_to() -> Iterator[object]:
    channels = []

    def make(url: str) -> grpc.Channel:
        channels.append(grpc.insecure_channel(url.removeprefix("grpc://")))
        return channels[-1]

    yield make
    for channel in channels:
        channel.close()


def health(channel: grpc.Channel, service: str = "") -> str:
    """Return what the standard client is told."""
    from grpc_health.v1 import health_pb2

    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    answer = check(health_pb2.HealthCheckRequest(service=service), timeout=LIMIT_S)
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def metrics(url: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return every sample that Prometheus would read, by name and values of labels in their order."""
    with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
        text = answer.read().decode()
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_health_is_served_beside_the_cell(tmp_path: Path, channel_to: object) -> None:
    with hub(tmp_path) as (_, url):
        channel = channel_to(url)  # type: ignore[operator]
        assert health(channel) == "SERVING"
        assert health(channel, CELL_SERVICE) == "SERVING"
        with pytest.raises(grpc.RpcError) as caught:
            health(channel, "no.such.Service")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("wanted", [True, False])
def test_reflection_is_there_when_asked_for(tmp_path: Path, channel_to: object, wanted: bool) -> None:
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

    with hub(tmp_path, *(["--reflection"] if wanted else [])) as (_, url):
        database = ProtoReflectionDescriptorDatabase(channel_to(url))  # type: ignore[operator]
        if wanted:
            assert {CELL_SERVICE, "grpc.health.v1.Health"} <= set(database.get_services())
            assert "Exchange" in str(database.FindFileContainingSymbol(CELL_SERVICE))
        else:
            with pytest.raises(grpc.RpcError):
                database.get_services()


def test_metrics_count_what_has_happened(tmp_path: Path) -> None:
    (tmp_path / "some.bin").write_bytes(bytes(2_000_000))
    with hub(tmp_path, "--metrics", "127.0.0.1:0") as (command, url):
        address = command.output.wait_for(r"metrics at (\S+)")[1]
        before = metrics(address)
        assert before["streamcell_peers", ()] == 0
        for name, code in (("site", ExitCode.DONE), ("..", ExitCode.USAGE)):
            sent = run_command("send", "some.bin", "--to", "hub", "--connect", url, "--as", name, cwd=tmp_path)
            assert sent.returncode == code
        refused = run_command("send", "some.bin", "--name", "../x", "--to", "hub", "--connect", url, cwd=tmp_path)
        assert refused.returncode == ExitCode.FAILED
        with Command("recv", "--as", "far", "-c", url, "--into", "in", cwd=tmp_path) as peer:
            peer.errors.wait_for("far is linked")
            after = metrics(address)
    assert after["streamcell_peers", ()] == 1
    assert after["streamcell_payload_bytes_total", ("streamcell.files", "received")] >= 2_000_000
    assert after["streamcell_streams_opened_total", ("received",)] == 2
    assert after["streamcell_streams_finished_total", ("received",)] == 1
    assert after["streamcell_streams_failed_total", ("REJECTED", "received")] == 1
    assert after["streamcell_streams_running", ("received",)] == 0
    assert 0 <= after["streamcell_engine_lag_seconds", ()] < LIMIT_S
    for name in ("resumes", "resent_bytes", "reconnects", "corrupt_chunks", "callbacks_failed"):
        assert after[f"streamcell_{name}_total", ()] == 0
    assert after["streamcell_cell_info", ("hub", info_of(after))] == 1


def info_of(samples: dict[tuple[str, tuple[str, ...]], float]) -> str:
    """Return the incarnation that the metrics name."""
    return next(labels[1] for name, labels in samples if name == "streamcell_cell_info")


def test_draining_lets_transfers_end_and_says_so(tmp_path: Path, channel_to: object) -> None:
    (tmp_path / "some.bin").write_bytes(b"content")
    with hub(tmp_path, "--grace", "1000") as (command, url):
        channel = channel_to(url)  # type: ignore[operator]
        with Command("send", "-", "--to", "hub", "--connect", url, "--as", "site", cwd=tmp_path) as sender:
            sender.input.write(b"the beginning, ")
            sender.input.flush()
            eventually(lambda: any((tmp_path / "inbox").rglob("*.part")), seconds=LIMIT_S)
            command.signal(signal.SIGTERM)
            command.output.wait_for("hub is draining")
            eventually(lambda: health(channel, CELL_SERVICE) == "NOT_SERVING", seconds=LIMIT_S)
            assert health(channel) == "NOT_SERVING"
            late = run_command("send", "some.bin", "--to", "hub", "--connect", url, "--wait", "1", cwd=tmp_path)
            assert late.returncode == ExitCode.FAILED
            assert "some.bin: hub is stopping; trying again" in late.stderr.decode()
            assert "the inbox is being closed: send it again in a while" in late.stderr.decode()
            sender.input.write(b"the end")
            sender.input.close()
            assert sender.wait() == ExitCode.DONE, sender.errors.all
        assert command.wait() == ExitCode.DONE
    assert (tmp_path / "inbox/site/stdin").read_bytes() == b"the beginning, the end"
    assert command.output.all[-1] == "hub has ended"


@pytest.mark.parametrize("how", ["grace", "second signal"])
def test_draining_ends_with_its_grace_or_a_second_signal(tmp_path: Path, how: str) -> None:
    with (
        hub(tmp_path, "--grace", "0.5" if how == "grace" else "1000") as (command, url),
        Command("send", "-", "--to", "hub", "--connect", url, "--as", "site", cwd=tmp_path) as sender,
    ):
        sender.input.write(b"the beginning")
        sender.input.flush()
        eventually(lambda: any((tmp_path / "inbox").rglob("*.part")), seconds=LIMIT_S)
        command.signal(signal.SIGTERM)
        command.output.wait_for("hub is draining")
        if how == "second signal":
            command.signal(signal.SIGINT)
        assert command.wait() == ExitCode.DONE
        assert sender.wait() == ExitCode.FAILED
        assert any("streams that had not arrived: 1;" in line for line in command.errors.all)
    assert not any(path.is_file() for path in (tmp_path / "inbox").rglob("*"))


def test_draining_under_load_loses_no_file(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"file-{number}").write_bytes(bytes([number]) * 400_000)
    names = [f"file-{number}" for number in range(40)]
    with hub(tmp_path) as (command, url):
        arguments = ("send", *names, "--to", "hub", "--connect", url, "--as", "site", "--wait", "1")
        with Command(*arguments, cwd=tmp_path) as sender:
            sender.output.wait_for("file-0: 400,000 bytes")
            command.signal(signal.SIGTERM)
            assert command.wait() == ExitCode.DONE
            sender.wait()
    # Those that the sender calls done are there, whole; of the others there is nothing under their names.
    done = {line.split(":")[0] for line in sender.output.all if " bytes to hub" in line}
    arrived = {path.name for path in (tmp_path / "inbox/site").glob("file-*")}
    assert done == arrived
    for name in arrived:
        assert (tmp_path / "inbox/site" / name).read_bytes() == (tmp_path / name).read_bytes()


LIMITED = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)); "
LIMITED += "os.execv(sys.argv[1], sys.argv[1:])"


def test_full_disk_is_told_to_the_sender_and_the_cell_goes_on(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(3_000_000))
    (tmp_path / "small").write_bytes(bytes(100_000))
    with hub(tmp_path, prefix=[sys.executable, "-c", LIMITED]) as (command, url):
        ended = run_command("send", "big", "--to", "hub", "--connect", url, "--as", "site", cwd=tmp_path)
        assert "big: the inbox of hub cannot keep 'big': File too large" in complaint(ended).removeprefix(
            "streamcell: "
        )
        assert ended.returncode == ExitCode.FAILED
        again = run_command("send", "small", "--to", "hub", "--connect", url, "--as", "site", cwd=tmp_path)
        assert again.returncode == ExitCode.DONE
        command.signal(signal.SIGTERM)
        assert command.wait() == ExitCode.DONE
    assert [path.name for path in (tmp_path / "inbox/site").iterdir() if path.is_file()] == ["small"]


def test_too_little_space_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text('[inbox]\nfolder = "inbox"\nmin_free_bytes = 1_000_000_000_000_000_000\n')
    (tmp_path / "some.bin").write_bytes(bytes(1000))
    with hub(tmp_path, "--config", "hub.toml") as (_, url):
        ended = run_command("send", "some.bin", "--to", "hub", "--connect", url, "--as", "site", cwd=tmp_path)
    assert "there is not enough space in the inbox: 1,000 more bytes are needed" in complaint(ended)
    assert ended.returncode == ExitCode.FAILED
