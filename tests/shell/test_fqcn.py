import pytest

from streamcell import UsageError
from streamcell.fqcn import check_callback_name, check_fqcn, is_fqcn


@pytest.mark.parametrize("name", ["server", "site-1", "site-1.job-7", "A_b~c-9", "a.b.c", "x" * 255])
def test_names(name: str) -> None:
    assert is_fqcn(name)
    assert check_fqcn(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "a.", ".a", "a..b", "a b", "a/b", "a*", "ä", "a\n", "x" * 256, None, 5, b"server"]
)
def test_what_is_no_name(name: object) -> None:
    if isinstance(name, str):
        assert not is_fqcn(name)
    with pytest.raises(UsageError, match="is not a cell name"):
        check_fqcn(name)


@pytest.mark.parametrize("name", ["channel", "*", "with spaces and ümlauts", "x" * 255])
def test_names_of_callbacks(name: str) -> None:
    assert check_callback_name(name, "channel") == name


@pytest.mark.parametrize("name", ["", None, 5, "x" * 256, "ä" * 128, "\ud800"])
def test_what_is_no_name_of_a_callback(name: object) -> None:
    with pytest.raises(UsageError, match=r"^topic "):
        check_callback_name(name, "topic")
