from emobench.tracking.pictures import drawn_beside
from emobench.tracking.runs import RunRecord


def records() -> list[RunRecord]:
    names = {0: ["a"], 1: [], 2: ["b", "c"], 3: ["d"]}
    return [
        RunRecord(f"run/{at}", "edit", {}, {}, pictures={name: (lambda name=name: name.encode()) for name in some})
        for at, some in names.items()
    ]


def test_pictures_are_drawn_from_the_first_that_is_asked_for() -> None:
    asked: list = []

    def do(task, items):
        asked.extend(items)
        return (task(records(), item) for item in items)

    beside = drawn_beside(records(), do)
    assert asked == []
    assert [list(record.pictures) for record in beside] == [["a"], [], ["b", "c"], ["d"]]
    assert beside[2].pictures["b"]() == b"b"
    assert asked == [(2, "b"), (2, "c"), (3, "d")]
    assert beside[3].pictures["d"]() == b"d"  # one between was not asked for
    assert beside[2].pictures["c"]() == b"c"
    assert beside[0].pictures["a"]() == b"a"  # a thread that was slower
    assert asked == [(2, "b"), (2, "c"), (3, "d")]


def test_records_without_pictures_stay_as_they_are() -> None:
    plain = [RunRecord("run/0", "edit", {}, {})]
    assert drawn_beside(plain, lambda task, items: iter(())) == plain
