"""The command line as its user sees it: results, sentences, exit codes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from streamcell.cli.outcome import ExitCode
from tests.kit.programs import LIMIT_S, STREAMCELL, Command, complaint, environment, hub, run_command


def content(folder: Path) -> dict[str, str]:
    """Return the digest of every file below a folder that has arrived."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and ".streamcell" not in path.parts
    }


def test_file_is_sent_and_what_is_printed_are_plain_lines(tmp_path: Path) -> None:
    (tmp_path / "some.bin").write_bytes(random.Random(1).randbytes(3_000_000))
    with hub(tmp_path) as (_, url):
        ended = run_command(
            "send", "some.bin", "--to", "hub", "--connect", url, "--as", "site", "--digest", cwd=tmp_path
        )
    assert ended.returncode == ExitCode.DONE
    assert ended.stdout.decode().startswith("some.bin: 3,000,000 bytes to hub in ")
    assert ended.stderr == b""
    assert b"\x1b" not in ended.stdout
    assert (tmp_path / "inbox/site/some.bin").read_bytes() == (tmp_path / "some.bin").read_bytes()


def test_results_as_json(tmp_path: Path) -> None:
    (tmp_path / "some.bin").write_bytes(b"content")
    with hub(tmp_path) as (_, url):
        variables = {"STREAMCELL_CONNECT": url}
        sent = run_command("send", "some.bin", "--to", "hub", "--json", cwd=tmp_path, variables=variables)
        pinged = run_command(
            "ping", "hub", "--json", "--count", "2", "--interval", "0", cwd=tmp_path, variables=variables
        )
        measured = run_command("bench", "hub", "--json", "--seconds", "1", cwd=tmp_path, variables=variables)
    result = json.loads(sent.stdout)
    assert (result["name"], result["size_bytes"], result["peer"]) == ("some.bin", 7, "hub")
    assert len(json.loads(pinged.stdout)["round_trips_s"]) == 2
    figures = json.loads(measured.stdout)
    assert figures["bytes_per_s"] > 0
    assert figures["round_trip_s"]["p99"] >= figures["round_trip_s"]["median"] > 0


def test_folder_of_odd_names(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    (folder / "deep/deeper").mkdir(parents=True)
    names = [
        "plain",
        "with blank",
        ".hidden",
        "-dash",
        "quo\"te's",
        "[red]markup",
        "percent%41",
        "ünïcödé 文件",
        "x" * 255,
        "deep/one",
        "deep/deeper/two",
    ]
    for number, name in enumerate(names):
        (folder / name).write_bytes(bytes([number]) * number * 1000)
    odd = {b"new\nline": "new%0Aline", b"caf\xe9": "caf%E9", b"esc\x1b[2J": "esc%1B[2J"}
    for raw in odd:
        with open(os.fsencode(folder) + b"/" + raw, "wb") as file:  # noqa: PTH123 - a path of bytes
            file.write(raw)
    with hub(tmp_path) as (_, url):
        ended = run_command("send", "odd", "--to", "hub", "--connect", url, "--as", "site", cwd=tmp_path)
    assert ended.returncode == ExitCode.DONE, ended.stderr
    arrived = content(tmp_path / "inbox/site/odd")
    assert arrived.keys() == {*names, *odd.values()}
    for name in names:
        assert arrived[name] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    for raw, name in odd.items():
        assert arrived[name] == hashlib.sha256(raw).hexdigest()
    assert f"{len(names) + len(odd)} files, " in ended.stdout.decode()
    assert b"\x1b" not in ended.stdout


def test_names_in_json_are_what_they_are(tmp_path: Path) -> None:
    """What is not UTF-8, and what no terminal should be shown, can be told from what another name looks like."""
    raw = [b"caf\xe9", b"caf\xff", "café?".encode(), b"new\nline", b"esc\x1b[2J"]
    (tmp_path / "odd").mkdir()
    for name in raw:
        with open(os.fsencode(tmp_path) + b"/odd/" + name, "wb") as file:  # noqa: PTH123 - a path of bytes
            file.write(name)
    os.mkdir(os.fsencode(tmp_path) + b"/odd/empty\xfe")  # noqa: PTH102 - a path of bytes
    into = os.fsdecode(b"in\xe9")
    receive = ("recv", "--as", "far", "--listen", "grpc://127.0.0.1:0", "--into", into, "--count", "5", "--json")
    with Command(*receive, cwd=tmp_path) as receiver:
        url = receiver.errors.wait_for(r"listens at (\S+);")[1]
        sent = run_command("send", "odd", "--to", "far", "-c", url, "--as", "site", "--json", cwd=tmp_path)
        assert sent.returncode == ExitCode.DONE, sent.stderr
        assert receiver.wait() == ExitCode.DONE
    told = [json.loads(line) for line in sent.stdout.splitlines()]
    heard = [json.loads(line) for line in receiver.output.all]
    files = {b"odd/" + name for name in raw}
    assert {os.fsencode(each["name"]) for each in told} == files | {b"odd/empty\xfe/"}
    assert {os.fsencode(each["name"]) for each in heard if not each["name"].endswith("/")} == files
    for each in heard:
        path = Path(tmp_path, each["path"])
        assert path.is_dir() if each["name"].endswith("/") else path.read_bytes() in raw
    for line in (*sent.stdout.splitlines(), *(text.encode() for text in receiver.output.all)):
        assert line.isascii()


def test_standard_input_to_standard_output(tmp_path: Path) -> None:
    data = random.Random(2).randbytes(5_000_000)
    receive = ["recv", "--as", "far", "--listen", "grpc://127.0.0.1:0", "--into", "-"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with contextlib.ExitStack() as ends:
        receiver = subprocess.Popen([*STREAMCELL, *receive], env=environment(), **pipes)  # type: ignore[call-overload]
        ends.enter_context(receiver)
        ends.callback(receiver.kill)
        url = receiver.stderr.readline().decode().split("listens at ")[1].split(";")[0]
        send = ["send", "-", "--to", "far", "--connect", url]
        sender = subprocess.Popen([*STREAMCELL, *send], env=environment(), **pipes)  # type: ignore[call-overload]
        ends.enter_context(sender)
        ends.callback(sender.kill)
        sender.stdin.write(b"early")
        sender.stdin.flush()
        # What is written early arrives early: nothing waits for a whole chunk.
        assert receiver.stdout.read(5) == b"early"
        writer = threading.Thread(target=lambda: (sender.stdin.write(data), sender.stdin.close()))
        writer.start()
        received = receiver.stdout.read()
        writer.join(LIMIT_S)
        assert sender.wait(LIMIT_S) == ExitCode.DONE
        assert receiver.wait(LIMIT_S) == ExitCode.DONE
        assert sender.stdout.read().startswith(b"stdin: 5,000,005 bytes to far")
    assert received == data


def test_receiver_ends_after_a_count(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "two").write_bytes(b"22")
    receive = ("recv", "--as", "far", "--listen", "grpc://127.0.0.1:0", "--into", "in", "--count", "2")
    with Command(*receive, cwd=tmp_path) as receiver:
        url = receiver.errors.wait_for(r"listens at (\S+);")[1]
        sent = run_command("send", "one", "two", "--to", "far", "--connect", url, "--as", "near", cwd=tmp_path)
        assert sent.returncode == ExitCode.DONE, sent.stderr
        assert receiver.wait() == ExitCode.DONE
    printed = sorted(line.split(" in ")[0] for line in receiver.output.all)
    assert printed == ["in/near/one: 1 bytes", "in/near/two: 2 bytes"]
    assert content(tmp_path / "in/near").keys() == {"one", "two"}


def test_receiver_dials_its_parent(tmp_path: Path) -> None:
    with hub(tmp_path) as (_, url), Command("recv", "--as", "far", "-c", url, "--into", "in", cwd=tmp_path) as receiver:
        receiver.errors.wait_for(r"far is linked; waiting for files")


def test_interrupted_before_there_is_a_link(tmp_path: Path) -> None:
    receive = ("recv", "--as", "far", "-c", "grpc://127.0.0.1:1", "--into", "in", "--wait", "1000", "-v")
    with Command(*receive, cwd=tmp_path) as receiver:
        receiver.errors.wait_for("no lane: grpc://127.0.0.1:1")
        receiver.signal(signal.SIGINT)
        assert receiver.wait() == ExitCode.INTERRUPTED
    assert receiver.errors.all[-1] == "streamcell: interrupted"
    assert not any("Traceback" in line for line in receiver.errors.all)


def test_ping_and_bench_for_people(tmp_path: Path) -> None:
    with hub(tmp_path) as (_, url):
        pinged = run_command("ping", "hub", "--connect", url, "--count", "2", "--interval", "0", cwd=tmp_path)
        measured = run_command("bench", "hub", "--connect", url, "--seconds", "0.2", cwd=tmp_path)
    lines = pinged.stdout.decode().splitlines()
    assert [line.split(" in ")[0] for line in lines[:2]] == ["hub answered", "hub answered"]
    assert lines[2].startswith("2 answers: shortest ")
    assert [line.split()[0] for line in measured.stdout.decode().splitlines()] == ["throughput", "round"]


def test_any_cell_can_be_pinged_but_not_measured(tmp_path: Path) -> None:
    script = "from streamcell import CoreCell\nwith CoreCell('bare', listen='grpc://127.0.0.1:0') as cell:\n"
    script += "    print(cell.listen_urls[0], flush=True)\n    input()\n"
    with subprocess.Popen(
        [sys.executable, "-c", script], env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as bare:
        try:
            assert bare.stdout is not None
            url = bare.stdout.readline().decode().strip()
            pinged = run_command("ping", "bare", "--connect", url, "--count", "1", cwd=tmp_path)
            measured = run_command("bench", "bare", "--connect", url, cwd=tmp_path)
        finally:
            bare.kill()
    assert pinged.returncode == ExitCode.DONE
    assert measured.returncode == ExitCode.USAGE
    assert "bare does not answer benchmarks" in complaint(measured)


WRONG = [
    ((), ExitCode.USAGE, "missing option '--to'"),
    (("--to", "hub"), ExitCode.USAGE, "missing option '--connect'"),
    (("--to", "a b", "-c", "URL"), ExitCode.USAGE, "'a b' is not a cell name"),
    (("--to", "hub", "-c", "http://x"), ExitCode.USAGE, "connect: "),
    (("--to", "hub", "-c", "URL", "--wait", "soon"), ExitCode.USAGE, "invalid value for '--wait'"),
    (("--to", "hub", "-c", "URL", "nothing-here"), ExitCode.USAGE, "nothing-here cannot be sent: No such file"),
    (("--to", "hub", "-c", "URL", "--name", "x", "also"), ExitCode.USAGE, "--name is for a single path"),
    (("--to", "hub", "-c", "URL", "-", "-"), ExitCode.USAGE, "standard input can be sent once"),
    (("--to", "hub", "-c", "URL", "--as", ".."), ExitCode.USAGE, "'..' is not a cell name"),
    (("--to", "hub", "-c", "grpc://127.0.0.1:1", "--wait", "0.5"), ExitCode.UNREACHABLE, "Connection refused"),
    (("--to", "nobody", "-c", "URL", "--wait", "0.5"), ExitCode.UNREACHABLE, "some: nobody cannot be reached"),
]


def test_whatever_is_wrong_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "some").write_bytes(b"content")
    (tmp_path / "also").write_bytes(b"content")
    with hub(tmp_path) as (_, url):
        for arguments, code, sentence in WRONG:
            given = [url if argument == "URL" else argument for argument in arguments]
            ended = run_command("send", "some", *given, cwd=tmp_path)
            assert sentence in complaint(ended), arguments
            assert ended.returncode == code, arguments


def test_unknown_verb_and_no_verb(tmp_path: Path) -> None:
    assert "no such command 'sned'" in complaint(run_command("sned", cwd=tmp_path))
    helped = run_command("--help", cwd=tmp_path)
    assert helped.returncode == ExitCode.DONE
    for word in (b"serve", b"send", b"recv", b"ping", b"bench", b"Exit codes: 0"):
        assert word in helped.stdout
    assert run_command(cwd=tmp_path).returncode == ExitCode.USAGE
    assert run_command("--version", cwd=tmp_path).stdout.startswith(b"streamcell 0.")


def test_busy_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = run_command("serve", "--fqcn", "hub", "--listen", f"grpc://127.0.0.1:{port}", cwd=tmp_path)
        sentence = complaint(ended)
        assert f"cannot listen at 127.0.0.1 port {port}: Address already in use" in sentence
        assert ended.returncode == ExitCode.UNREACHABLE
        listen = ("--listen", "grpc://127.0.0.1:0")
        ended = run_command("serve", "--fqcn", "hub", *listen, "--metrics", f"127.0.0.1:{port}", cwd=tmp_path)
        assert f"metrics cannot be served at 127.0.0.1:{port}: Address already in use" in complaint(ended)


CONFIGURATIONS = [
    ("", "the cell has no name"),
    ("fqcn = hub", "is not TOML"),
    ('fqcn = "hub"', "neither listens nor dials"),
    ('fqcn = "h b"\nlisten = "grpc://127.0.0.1:0"', "'h b' is not a cell name"),
    ('fqcn = "hub"\nlisten = "127.0.0.1"', "listen: "),
    ('fqcn = "hub"\nlisten = "grpc://0.0.0.0:0"', "can be reached from other machines and is not encrypted"),
    ('fqcn = "hub"\nlisten = "grpc://127.0.0.1:0"\nlisen = 1', "did you mean listen?"),
    ('fqcn = "hub"\nlisten = "grpc://127.0.0.1:0"\ngrace_s = "long"', "grace_s must be a number"),
    ('fqcn = "hub"\nlisten = "grpc://127.0.0.1:0"\n[inbox]\nfolder = "hub.toml"', "the inbox hub.toml cannot be used"),
    ('fqcn = "hub"\nlisten = "grpc://127.0.0.1:0"\n[cell]\nchunk_bytes = 5', "[cell] chunk_bytes must be between"),
    ('fqcn = "hub"\nlisten = "grpc://127.0.0.1:0"\n[metrics]\nlisten = "here"', "must be HOST:PORT"),
]


@pytest.mark.parametrize(("text", "sentence"), CONFIGURATIONS)
def test_wrong_configuration(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "hub.toml").write_text(text, encoding="utf-8")
    ended = run_command("serve", "--config", "hub.toml", cwd=tmp_path)
    assert sentence in complaint(ended)
    assert ended.returncode == ExitCode.USAGE


def test_without_the_extra_the_command_says_what_to_install(tmp_path: Path) -> None:
    script = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'typer' else find(name)\n"
        "from streamcell.cli import main\n"
        "sys.exit(main())\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, timeout=LIMIT_S, check=False
    )
    assert "the command line needs typer: pip install 'streamcell[cli]'" in complaint(ended)
    assert ended.returncode == ExitCode.USAGE
