"""Do attacks by hand, each on a stage of its own, and print what comes of them: ``python -m tests.adversity.hostile``.

With ``--rates`` the innocents send as fast as they can, once beside the attack and once beside a process that takes as
much of the processor as the liar did.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from tests.adversity.hostile.attacks import NOTHING, Attack
from tests.adversity.hostile.scene import Outcome, Scene, Stage, stage_for
from tests.adversity.hostile.table import ATTACKS

_SLICE_S = 0.02
_PATIENCE_S = 12.0
_TURNS = 3


def burner(share: float) -> Attack:
    """Return what takes a share of a processor, and does nothing else."""

    def burn(scene: Scene) -> None:
        while scene.goes_on():
            began = time.process_time()
            until = time.monotonic() + _SLICE_S
            while time.process_time() - began < share * _SLICE_S and time.monotonic() < until:
                pass
            time.sleep(max(0.0, until - time.monotonic()))

    return Attack("nothing", "a busy process", burn, (NOTHING,), from_parent=False, bound_mib=0)


def main() -> int:
    """Do those that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.adversity.hostile", description=__doc__)
    parser.add_argument("words", nargs="*", help="only attacks whose names have one of these words; all if not given")
    parser.add_argument("--rates", action="store_true", help="compare how fast the innocents are")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each goes on at least (%(default)s)")
    words = parser.parse_args()
    chosen = [each for each in ATTACKS if not words.words or any(word in str(each) for word in words.words)]
    bad = 0
    for attack in chosen:
        with stage_for(attack, *([0.0] if words.rates else [])) as stage:
            found = stage.play(attack, rounds=3, least_s=words.seconds, settle_s=5.0, patience_s=_PATIENCE_S)
            rates = _rates(stage, attack, found, words.seconds) if words.rates and not found.stood_still else ""
        problems = _problems(attack, found)
        bad += bool(problems)
        print(_line(attack, found, rates), *problems, *_sentences(found), sep="\n    ", flush=True)
    print(f"{len(chosen)} attacks, {bad} with something to say")
    return 1 if bad else 0


def _rates(stage: Stage, attack: Attack, found: Outcome, seconds: float) -> str:
    """Compare the innocents beside the attack and beside a busy process, in turns: the machine may have other work."""
    busy = burner(found.liar_s / found.elapsed_s)
    turns = [
        [stage.play(each, rounds=3, least_s=seconds, patience_s=_PATIENCE_S) for each in (busy, attack)]
        for _ in range(_TURNS)
    ]
    beside, attacked = (_each_second(outcomes) for outcomes in zip(*turns, strict=True))
    ratios = [attacked[name] / max(beside[name], 1e-9) for name in beside]
    return f"; rate {sum(ratios) / len(ratios):.2f}, of the slowest {min(ratios):.2f}"


def _each_second(outcomes: Sequence[Outcome]) -> dict[str, float]:
    elapsed_s = sum(outcome.elapsed_s for outcome in outcomes)
    return {name: sum(outcome.done[name] for outcome in outcomes) / elapsed_s for name in outcomes[0].done}


def _line(attack: Attack, found: Outcome, rates: str) -> str:
    told = ", ".join(found.told) or "nothing"
    return (
        f"{attack}: {found.elapsed_s:.1f} s, the liar {found.liar_s / found.elapsed_s:.0%} and the hub "
        f"{found.hub_s / found.elapsed_s:.0%} of a processor{rates}; memory {found.before >> 20} MiB "
        f"{found.grown_mib:+.0f}, in the end {found.left_mib:+.0f}; {found.refused} refused; told: {told}"
    )


def _problems(attack: Attack, found: Outcome) -> list[str]:
    problems = [f"WRONG: {each}" for each in [*found.failed[:5], *found.names_lost]]
    if found.stood_still:
        problems.append(f"STANDS STILL: {found.done}")
    if found.grown_mib > 64 + attack.bound_mib:
        problems.append(f"GROWN by more than 64 + {attack.bound_mib} MiB")
    if found.after > 1.1 * found.before:
        problems.append("LARGER by more than a tenth 5 s later")
    if not found.is_told(attack.told):
        problems.append(f"NOT TOLD in any of these ways: {', '.join(attack.told)}")
    return problems


def _sentences(found: Outcome) -> list[str]:
    return [f"{way}: {sentence[:180]}" for way, sentence in found.told.items() if sentence]


if __name__ == "__main__":
    sys.exit(main())
