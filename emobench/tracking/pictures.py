"""Drawing the pictures of runs in a process beside, while the runs before them are logged."""

import dataclasses
from collections.abc import Callable, Iterator

from emobench.forked import Do
from emobench.tracking.runs import RunRecord

Place = tuple[int, str]
"""Which record, and the picture's name."""


def drawn_beside(records: list[RunRecord], do: Do) -> list[RunRecord]:
    """The same records; the first picture that is asked for has it and all after it drawn by ``do``, in their order.

    Threads that log to a server may ask for one before it later: that is drawn where it is asked for.

    Args:
        records: in the order in which they are logged.
        do: of processes that hold these records.
    """
    order = [(at, name) for at, record in enumerate(records) for name in record.pictures]
    drawn: dict[Place, bytes] = {}
    begun: list[tuple[int, Iterator[tuple[Place, bytes]]]] = []

    def ask(place: Place) -> Callable[[], bytes]:
        def picture() -> bytes:
            number = order.index(place)
            if not begun:
                begun.append((number, iter(do(_draw, order[number:]))))
            first, coming = begun[0]
            if number < first:
                return _draw(records, place)[1]
            while place not in drawn:
                found, png = next(coming)
                drawn[found] = png
            return drawn.pop(place)

        return picture

    return [
        dataclasses.replace(record, pictures={name: ask((at, name)) for name in record.pictures})
        for at, record in enumerate(records)
    ]


def _draw(records: list[RunRecord], place: Place) -> tuple[Place, bytes]:
    at, name = place
    return place, records[at].pictures[name]()
