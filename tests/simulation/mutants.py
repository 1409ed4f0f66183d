"""Deliberate bugs, put one at a time into a copy of the core, to see that the simulator finds them.

``python -m tests.simulation.mutants`` looks for the first seed that catches each, and writes the table of the README.
A change of the core or of the simulator changes what a seed stands for, so the seeds of the table go out of date; that
each bug is found is what counts, and what a test checks.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- mutants: begin -->", "<!-- mutants: end -->"
# Most seeds that may be needed to find a bug.
SEEDS = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Mutant:
    """A bug: in ``module`` of the core (its path below ``protocol``), ``code`` becomes ``bug``.

    ``options``: of the command, for histories other than the usual ones.
    """

    name: str
    module: str
    code: str
    bug: str
    options: tuple[str, ...] = ()


MUTANTS = (
    Mutant(
        "an ack too early: a stream counts as complete when all has arrived, read or not",
        "receiving/half",
        "if not (self.released and self.progress.end_said):\n            return\n"
        "        if self.allowance.assembled and",
        "if not self.progress.whole:\n            return\n        if",
    ),
    Mutant(
        "a success before the digest was compared: what all was read and released counts as complete",
        "receiving/half",
        "if self.allowance.assembled and self.state is",
        "if self.progress.whole and self.progress.consumed == self.progress.size and self.state is",
    ),
    Mutant(
        "outcome by race: whether a close where the stream is to end is early depends on whether the end is known yet",
        "receiving/half",
        "if offset == self.progress.size:",
        "if self.progress.whole and offset == self.progress.size:",
    ),
    Mutant(
        "a dedupe left out: bytes that are there already are delivered again",
        "receiving/progress",
        "pieces: list[Payload] = []\n        if end > self.received",
        "pieces: list[Payload] = [payload] * (0 < end <= self.received)\n        if end > self.received",
    ),
    Mutant(
        "a credit leak: the window of a stream that has ended is not given back",
        "flow/credit",
        "self._budget.give_back(self._party, self.size - INITIAL_CREDIT_BYTES)",
        "pass",
    ),
    Mutant(
        "a wrong offset after a break: the origin goes on behind what it has sent instead of where it is told",
        "sending/half",
        "self._begin_at(offset, self.link",
        "self._begin_at(max(offset, self._cutter.sent_end - 1), self.link",
    ),
    Mutant(
        "a wrong offset after a restart: a stream that goes on in the middle is counted from 0",
        "receiving/progress",
        "self.received = self.consumed = offset",
        "self.received = self.consumed = 0",
    ),
    Mutant(
        "another source under the same name: its stamp is not compared",
        "receiving/orphans",
        "if before == now:",
        "if before:",
    ),
    Mutant(
        "memory of the past left out: an id that is settled can be opened again",
        "receiving/lives",
        "if key.stream_id not in life.settled:",
        "if last_word is None:",
    ),
    Mutant(
        "of two lives the one with the higher number is taken for the later one",
        "tree/presence",
        "present = frame.cells[0].incarnation",
        "present = max(known.present, frame.cells[0].incarnation)",
    ),
    Mutant(
        "any life that is heard of takes the place of the one that is there",
        "tree/presence",
        "        if known.present == incarnation:\n            return True\n",
        "        self._replace(known, fqcn, incarnation, {known.present}, now)\n        return True\n",
    ),
    Mutant(
        "the checksum is not compared",
        "wire/integrity",
        "== chunk.checksum",
        "== chunk.checksum or len(chunk.payload) > 0",
    ),
    Mutant(
        "an unknown outcome is taken for a failure: a blob that may have arrived is sent to the next life",
        "sending/starting_point",
        "if not sender.whole or not sender.attempt.end_sent or sender.spec.retry_unknown:",
        "if not sender.whole or not sender.confirmed.acknowledged or sender.spec.retry_unknown:",
    ),
    Mutant(
        "the end is believed before all has arrived",
        "receiving/progress",
        "self.whole = self.end_said and self.received == self.size",
        "self.whole = self.end_said",
    ),
    Mutant(
        "a lane that breaks takes the last chunk with it, and nobody asks",
        "sending/attempt",
        "return self.next_offset > received or self.last_sent or not self.answered or waits",
        "return self.next_offset > received and not self.last_sent",
    ),
    Mutant(
        "a slot leak: a stream that has ended keeps its slot",
        "sending/slots",
        "slots.taken.remove(sender.key.stream_id)",
        "pass",
    ),
    Mutant(
        "a memory leak: a blob that has ended keeps its part of the budget",
        "flow/admission",
        "self._shares.give_back(party, held)",
        "pass",
    ),
    Mutant(
        "no credit is given to a new attempt",
        "receiving/allowance",
        "self.told = self.due = False\n        if admitted",
        "self.told, self.due = True, False\n        if admitted",
    ),
    Mutant(
        "each attempt has an initial credit of its own, read or not",
        "receiving/allowance",
        "self.allowed_to_previous = min(offset + INITIAL_CREDIT_BYTES, max(self.allowed_ever, self._initial))",
        "self.allowed_to_previous = offset + INITIAL_CREDIT_BYTES",
    ),
    Mutant(
        "a silent lane is never suspected",
        "links/lane",
        "self.step(LaneInput.SILENT, now)",
        "return",
    ),
    Mutant(
        "anybody's word about a stream counts as its target's",
        "sending/table",
        "if frame.target == sender.spec.target:",
        "if frame.target:",
        ("--liar",),
    ),
    Mutant(
        "a loss counts whoever tells of it, by whatever way",
        "sending/table",
        "if is_known and (sender.goes_by(link) or frame.reporter == frame.target):",
        "if is_known:",
        ("--liar",),
    ),
    Mutant(
        "a relay believes in a loss from behind any link",
        "relaying/table",
        "elif by_target or stream.goes_by(link):",
        "elif link:",
        ("--liar",),
    ),
    Mutant(
        "a relay takes a word about a stream for its target's, whose it ever is",
        "relaying/table",
        "if stream is not None and stream.target != frame.target:",
        "if stream is not None and not frame.target:",
        ("--liar",),
    ),
    Mutant(
        "a name is given to whoever claims it before its holder could answer",
        "links/contest",
        "CLAIM_S = 3.0",
        "CLAIM_S = 0.0",
        ("--liar",),
    ),
    Mutant(
        "a target takes in what its policy does not allow",
        "receiving/table",
        "if fault_by_rules:",
        "if fault_by_rules and link is None:",
        ("--policy",),
    ),
    Mutant(
        "what is under way goes on when its target's policy has changed",
        "receiving/table",
        "receiver.give_up(receive_errors.not_allowed(fault), now)",
        "pass",
        ("--policy",),
    ),
)


def run(mutant: Mutant, seeds: str) -> tuple[int, str] | None:
    """Run the simulator over a mutant, up to the first seed that fails; return that and what it says, or None."""
    with tempfile.TemporaryDirectory() as folder:
        for package in ("streamcell", "tests"):
            shutil.copytree(ROOT / package, Path(folder, package), ignore=shutil.ignore_patterns("__pycache__"))
        path = Path(folder, "streamcell", "protocol", f"{mutant.module}.py")
        source = path.read_text(encoding="utf-8")
        if source.count(mutant.code) != 1:
            raise AssertionError(f"{mutant.module} does not have once: {mutant.code}")
        path.write_text(source.replace(mutant.code, mutant.bug), encoding="utf-8")
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.simulation",
                "--seeds",
                seeds,
                "--jobs",
                "1",
                "--failures",
                "1",
                *mutant.options,
            ],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    summary = json.loads(done.stdout.splitlines()[-1]) if done.stdout else None
    if summary is None:
        raise AssertionError(f"the simulator itself failed: {done.stderr}")
    return next(((int(seed), str(said)) for seed, said in summary["failed"].items()), None)


def table(rows: list[tuple[Mutant, int, str]]) -> str:
    """Return the table of the README."""
    lines = ["| the bug | in | seed | what the simulator says |", "|---|---|---|---|"]
    for mutant, seed, said in rows:
        sentence = re.sub(r"^Violation: ", "", said).replace("|", "/")[:110].strip()
        lines.append(f"| {mutant.name} | `{mutant.module}.py` | {seed} | {sentence} |")
    return "\n".join(lines)


def known_seeds() -> dict[str, int]:
    """Return the seed that catches each bug, as the README has it."""
    text = README.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    rows = re.findall(r"^\| (.+?) \| `[\w/]+\.py` \| (\d+) \|", text, re.MULTILINE)
    return {name: int(seed) for name, seed in rows}


def find_all() -> int:
    """Find the first seed for each bug and write the table; returns the exit status."""
    rows, missed = [], []
    for mutant in MUTANTS:
        found = run(mutant, f"0..{SEEDS - 1}")
        print(found, mutant.name, flush=True)
        if found is None:
            missed.append(mutant)
        else:
            rows.append((mutant, *found))
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    README.write_text(f"{before}{BEGIN}\n{table(rows)}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    return len(missed)


def find(mutant: Mutant) -> bool:
    """Return whether a bug is found: by the seed that the README has for it, or by any."""
    known = known_seeds().get(mutant.name)
    return (known is not None and run(mutant, str(known)) is not None) or run(mutant, f"0..{SEEDS - 1}") is not None


if __name__ == "__main__":
    sys.exit(find_all())
