"""Names: a liar that wants to be taken for somebody else, with what everybody can know of that cell."""

from __future__ import annotations

import itertools
import random
from typing import Any

from streamcell.v1 import cell_pb2
from streamcell.v1.cell_pb2 import Announce, CellInfo, Frame, QueryReply
from tests.adversity.hostile.attacks import (
    CALL_ENDS,
    LIMIT,
    LINKED,
    NAME_IN_USE,
    NOTHING,
    REFUSED,
    TOLD_NAME_IN_USE,
    attack,
)
from tests.adversity.hostile.hub import HUB, RELAY
from tests.adversity.hostile.innocents import ALICE, BOB
from tests.adversity.hostile.liar import CutOff, Liar
from tests.adversity.hostile.scene import Scene
from tests.adversity.stranger import batch
from tests.kit.waiting import let_time_pass

_EVERY_S = 0.05
_FAR = 1 << 40


def _claim(scene: Scene, url: str = "", **fields: Any) -> None:
    """Say Hello as somebody else, stay until it is refused, and come again."""

    def stay(liar: Liar) -> None:
        if liar.wait_end(_EVERY_S):
            raise CutOff

    scene.repeat(stay, url=url, **fields)


def _announce(liar: Liar, name: str, life: int, epoch: int, *way: str) -> Frame:
    """Return an announcement of a cell below the liar, by way of others or directly."""
    return Frame(announce=Announce(fqcn=name, incarnation=life, epoch=epoch, path=(name, *way, liar.fqcn)))


@attack(NAME_IN_USE)
def a_hello_with_the_victims_incarnation(scene: Scene) -> None:
    _claim(scene, fqcn=ALICE, incarnation=scene.public["incarnations"][ALICE])


@attack(NAME_IN_USE)
def a_hello_with_another_incarnation(scene: Scene) -> None:
    _claim(scene, fqcn=BOB)


@attack(NAME_IN_USE)
def a_hello_with_a_guessed_link(scene: Scene) -> None:
    _claim(scene, fqcn=BOB, incarnation=scene.public["incarnations"][BOB], link_id=random.randbytes(16), lane_number=99)


@attack(NAME_IN_USE)
def a_hello_as_the_hub(scene: Scene) -> None:
    _claim(scene, fqcn=HUB, incarnation=scene.incarnation_of(HUB))


@attack(NAME_IN_USE, LINKED)
def a_hello_as_a_peer_with_the_victims_incarnation(scene: Scene) -> None:
    _claim(scene, fqcn=ALICE, incarnation=scene.public["incarnations"][ALICE], peer=True)


@attack(NAME_IN_USE, NOTHING)
def a_hello_below_a_relay_with_the_victims_incarnation(scene: Scene) -> None:
    """The relay announces it, and hears that the way is out of date: nobody takes the liar in, and nobody tells it."""
    _claim(scene, scene.relay_url, fqcn=ALICE, incarnation=scene.public["incarnations"][ALICE])


@attack(TOLD_NAME_IN_USE, NAME_IN_USE)
def an_announcement_with_a_higher_epoch(scene: Scene) -> None:
    epochs = itertools.count(2)

    def act(liar: Liar) -> None:
        for name in (ALICE, BOB):
            liar.say(_announce(liar, name, scene.public["incarnations"][name], next(epochs)))

    scene.repeat(act, _EVERY_S, capabilities=["routes"])


@attack(TOLD_NAME_IN_USE, NAME_IN_USE)
def an_announcement_from_below_a_relay(scene: Scene) -> None:
    epochs = itertools.count(2)

    def act(liar: Liar) -> None:
        liar.say(_announce(liar, BOB, scene.public["incarnations"][BOB], next(epochs)))

    scene.repeat(act, _EVERY_S, scene.relay_url, capabilities=["routes"])


@attack(TOLD_NAME_IN_USE, NAME_IN_USE)
def an_announcement_of_another_life(scene: Scene) -> None:
    scene.repeat(lambda liar: liar.say(_announce(liar, BOB, 7, 1)), _EVERY_S, capabilities=["routes"])


@attack(TOLD_NAME_IN_USE, NAME_IN_USE, REFUSED)
def answers_made_up_to_the_question_of_the_contest(scene: Scene) -> None:
    """Whoever holds the name is asked: the liar answers in its place, that it has moved, and that it is gone."""

    def act(liar: Liar) -> None:
        life = scene.public["incarnations"][BOB]
        liar.say(_announce(liar, BOB, life, _FAR))
        for number in range(64):
            for cells in (
                [],
                [CellInfo(fqcn=BOB, incarnation=life, via=liar.fqcn)],
                [CellInfo(fqcn=BOB, incarnation=7)],
            ):
                reply = QueryReply(query_id=number, asker=HUB, responder=BOB, cells=cells, hops_left=16)
                liar.say(Frame(query_reply=reply))

    scene.repeat(act, _EVERY_S, capabilities=["routes"])


@attack(TOLD_NAME_IN_USE, NAME_IN_USE)
def announcements_of_the_hub_and_of_the_relay(scene: Scene) -> None:
    def act(liar: Liar) -> None:
        liar.say(
            _announce(liar, HUB, scene.incarnation_of(HUB), _FAR),
            _announce(liar, RELAY, 7, _FAR),
            _announce(liar, "x", 7, 1, HUB),
            Frame(announce=Announce(fqcn="y", incarnation=7, epoch=1, path=("y", "z"))),
        )

    scene.repeat(act, _EVERY_S, capabilities=["routes"])


@attack(TOLD_NAME_IN_USE, NAME_IN_USE, LIMIT, bound_mib=32)
def a_flood_of_claims(scene: Scene) -> None:
    """Each of thousands of lives asks for a name, so that its holder is asked again and again."""
    lives = itertools.count(1)

    def claims(liar: Liar) -> None:
        names = itertools.cycle((ALICE, BOB, RELAY))
        liar.say_bytes(batch(*(_announce(liar, next(names), next(lives), 1) for _ in range(1000))))

    scene.repeat(claims, capabilities=["routes"])


@attack(NAME_IN_USE, LIMIT, CALL_ENDS, bound_mib=32)
def a_flood_of_hellos_in_one_name(scene: Scene) -> None:
    """Many at a time ask for a name that is held."""
    lives = itertools.count(1)
    while scene.goes_on():
        liars = [scene.liar(fqcn=ALICE, incarnation=next(lives)) for _ in range(20)]
        let_time_pass(_EVERY_S)
        for liar in liars:
            scene.leave(liar)


@attack(NOTHING)
def names_that_nobody_has(scene: Scene) -> None:
    """What is free may be had, and given up again; nobody is harmed by it."""
    numbers = itertools.count(1)

    def act(liar: Liar) -> None:
        number = next(numbers)
        name = f"nobody-{number % 50}"
        liar.say(
            _announce(liar, name, number, 1), Frame(withdraw=cell_pb2.Withdraw(fqcn=name, incarnation=number, epoch=1))
        )

    scene.repeat(act, _EVERY_S, capabilities=["routes"])
