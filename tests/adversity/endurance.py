"""The long story: a file crosses a path that is cut again and again, while receiver and sender are killed.

``scripts/endurance`` runs it with any size; a small one is part of the tests. Cuts and kills come at random bytes that
a seed chooses. The receiver syncs its file now and then and, after a kill, trusts only what it had synced.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import queue
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from streamcell.limits import INITIAL_CREDIT_BYTES, MIB
from tests.kit.programs import Script
from tests.kit.proxy import Proxy, Way, proxy_to

# What gRPC and the protocol add to the payload, of which the proxy cannot tell what is sent again.
_OVERHEAD = 0.01

RECEIVER = """
server = CoreCell("server", listen={url!r}, config=CellConfig(max_window_bytes={window}))
target, mark = {target!r}, {target!r} + ".synced"

def synced():
    return int(open(mark).read() or 0) if os.path.exists(mark) else 0

def sync(file, offset):
    file.flush()
    os.fsync(file.fileno())
    with open(mark + ".new", "w") as new:
        new.write(str(offset))
    os.replace(mark + ".new", mark)

def receive(future, stream, resume):
    have = synced()
    with open(target, "r+b" if os.path.exists(target) else "w+b") as file:
        if have:
            stream.resume_from(have, file)
        file.seek(have)
        file.truncate()
        at = have
        for piece in stream.pieces():
            file.write(piece)
            if stream.get_pos() - at >= {sync}:
                at = stream.get_pos()
                sync(file, at)
        sync(file, stream.get_pos())
    say("received", stream.get_pos(), have)

StreamCell(server).register_stream_cb("files", "*", receive)
server.start()
say(server.listen_urls[0])
sys.stdin.readline()
"""

SENDER = """
from streamcell import FileStream
site = CoreCell("site", connect={url!r}, config=CellConfig(max_window_bytes={window}, backoff_max_s=0.5))
site.start()
message = Message({{}}, FileStream({source!r}))
future = StreamCell(site).send_stream("files", "f", "server", message, resume_id="the file", digest="sha256")
say("sent", future.result())
site.stop()
"""


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long the story is, and what happens in it."""

    size: int
    cuts: int
    receiver_kills: int
    sender_kills: int
    seed: int
    window_bytes: int = 32 * MIB
    sync_bytes: int = 4 * MIB
    time_limit_s: float = 1200.0


class Story:
    """A file that crosses a path, and what is done meanwhile."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._source = folder / "source"
        self._target = folder / "target"
        self._happenings: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._programs: dict[str, Script] = {}

    def run(self) -> dict[str, Any]:
        """Tell it, and return what there is to say."""
        plan = self._plan
        digest = self._make_source()
        began = time.monotonic()
        with ExitStack() as stack:
            stack.callback(self._end_programs)
            url = self._start_receiver("grpc://127.0.0.1:0")
            proxy = stack.enter_context(proxy_to(url))
            self._start_sender(proxy)
            done = self._make_trouble(proxy, url, began)
            passed = proxy.passed[Way.UP]
        happened = plan.cuts + plan.receiver_kills + plan.sender_kills
        resent = max(0, passed - plan.size)
        most = happened * (plan.window_bytes + INITIAL_CREDIT_BYTES + plan.sync_bytes) + int(plan.size * _OVERHEAD)
        return {
            **dataclasses.asdict(plan),
            "intact": done and file_digest(self._target) == digest,
            "passed_bytes": passed,
            "resent_bytes_and_overhead": resent,
            "allowed_bytes": most,
            "elapsed_s": round(time.monotonic() - began, 1),
        }

    def _make_source(self) -> str:
        chance, digest, left = random.Random(self._plan.seed), hashlib.sha256(), self._plan.size
        with self._source.open("wb") as file:
            while left > 0:
                block = chance.randbytes(min(left, MIB))
                file.write(block)
                digest.update(block)
                left -= len(block)
        return digest.hexdigest()

    def _start_receiver(self, url: str) -> str:
        plan = self._plan
        script = RECEIVER.format(url=url, target=str(self._target), window=plan.window_bytes, sync=plan.sync_bytes)
        receiver = self._programs["receiver"] = Script(script)
        return receiver.hear()

    def _start_sender(self, proxy: Proxy) -> None:
        script = SENDER.format(url=proxy.url, source=str(self._source), window=self._plan.window_bytes)
        self._programs["sender"] = Script(script)

    def _end_programs(self) -> None:
        for program in self._programs.values():
            program.kill()

    def _make_trouble(self, proxy: Proxy, url: str, began: float) -> bool:
        """Cut and kill at random bytes, then wait for the end; returns whether the sender says that it has arrived."""
        plan = self._plan
        chance = random.Random(plan.seed)
        kinds = ["cut"] * plan.cuts + ["receiver"] * plan.receiver_kills + ["sender"] * plan.sender_kills
        chance.shuffle(kinds)
        places = sorted(chance.randrange(plan.size) for _ in kinds)
        for place, kind in zip(places, kinds, strict=True):
            way = max(1, place - proxy.passed[Way.UP])
            proxy.strike(Way.UP, way, self._cut if kind == "cut" else self._tell)
            left_s = plan.time_limit_s - (time.monotonic() - began)
            self._happenings.get(timeout=max(1.0, left_s))
            if kind == "receiver":
                self._programs["receiver"].kill()
                self._start_receiver(url)
            elif kind == "sender":
                self._programs["sender"].kill()
                self._start_sender(proxy)
        heard = self._programs["sender"].hear(plan.time_limit_s)
        return heard == f"sent {plan.size}"

    def _cut(self, proxy: Proxy) -> None:
        proxy.reset_now()
        self._tell(proxy)

    def _tell(self, _: Proxy) -> None:
        self._happenings.put("the place is reached")


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run(plan: Plan, folder: Path) -> dict[str, Any]:
    """Tell the story in ``folder`` and return what there is to say of it."""
    return Story(plan, folder).run()


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/endurance", description=__doc__)
    parser.add_argument("--mib", type=int, default=2048, help="size of the file (%(default)s)")
    parser.add_argument("--cuts", type=int, default=50)
    parser.add_argument("--kills", type=int, default=5, help="of the receiver, and as many of the sender")
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    plan = Plan(words.mib * MIB, words.cuts, words.kills, words.kills, words.seed)
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(plan, Path(folder))
    print(json.dumps(outcome))
    return 0 if outcome["intact"] and outcome["resent_bytes_and_overhead"] <= outcome["allowed_bytes"] else 1


if __name__ == "__main__":
    sys.exit(main())
