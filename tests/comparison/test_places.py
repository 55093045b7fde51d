import pytest

from emobench.comparison.places import benchmarks, chosen
from emobench.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """What ran here: a; what is kept: a and b."""
    for name in ("a", "reference/a", "reference/b", "planted"):
        (tmp_path / name).mkdir(parents=True)
        if name != "planted":
            (tmp_path / name / "configs.csv").touch()
    return tmp_path


def test_what_ran_here_comes_before_what_is_kept(folder) -> None:
    assert benchmarks(folder) == {"a": folder / "a", "reference/b": folder / "reference/b"}


def test_names_mean_what_ran_here_else_the_reference(folder) -> None:
    assert chosen(folder, ["b", "a"]) == {"a": folder / "a", "reference/b": folder / "reference/b"}
    assert chosen(folder, ["reference/a"]) == {"reference/a": folder / "reference/a"}
    with pytest.raises(UserError, match="unknown benchmark 'c'; known: a, reference/b"):
        chosen(folder, ["c"])


def test_nothing_at_all(tmp_path) -> None:
    with pytest.raises(UserError, match="no benchmark with results below .*; run dvc repro report"):
        chosen(tmp_path)
