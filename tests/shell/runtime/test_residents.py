import dataclasses

import pytest

from streamcell.runtime.engine.residents import Residents


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    fqcn: str
    listen_urls: tuple[str, ...] = ()


def test_cells_are_listed_in_the_order_of_their_starts_until_they_end() -> None:
    residents, first, second = Residents(), Cell("first"), Cell("second")
    residents.add(first)
    residents.add(second)
    assert residents.running() == [first, second]
    residents.remove(first)
    residents.remove(Cell("never ran"))
    assert residents.running() == [second]


@pytest.mark.parametrize(
    ("held", "wanted", "in_the_way"),
    [
        ("grpc://127.0.0.1:80", "grpc://127.0.0.1:80", True),
        ("grpc://127.0.0.1:80", "grpc://127.0.0.1:81", False),
        ("grpc://10.0.0.1:80", "grpc://10.0.0.2:80", False),
        ("grpc://10.0.0.1:80", "grpc://0.0.0.0:80", True),
        ("grpc://[::]:80", "grpc://10.0.0.1:80", True),
        ("grpc://localhost:80", "grpc://127.0.0.1:80", True),
        ("unix:///a/socket", "unix:///a/socket", True),
        ("unix:///a/socket", "unix:///another", False),
        ("unix:///a/socket", "grpc://127.0.0.1:80", False),
        ("memory://here", "memory://here", True),
    ],
)
def test_who_listens_where_another_one_wants_to(held: str, wanted: str, in_the_way: bool) -> None:
    residents, cell = Residents(), Cell("server", ("grpc://127.0.0.1:9", held))
    residents.add(cell)
    assert residents.listening_at(wanted) is (cell if in_the_way else None)


def test_namesake_is_another_cell_of_the_name() -> None:
    residents, one, other, third = Residents(), Cell("site"), Cell("site"), Cell("hub")
    for each in (one, other, third):
        residents.add(each)
    assert residents.namesake(one) is other
    assert residents.namesake(third) is None
