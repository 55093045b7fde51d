"""Parts of a graph, against a plain search."""

import numpy as np

from emobench.functional.linking import linked_parts


def test_parts_are_what_a_search_reaches() -> None:
    rng, count = np.random.default_rng(0), 60
    for _ in range(5):
        targets = [np.where(rng.random(count) < 0.3, rng.integers(count, size=count), np.arange(count)) for _ in "ab"]
        near = {row: {row} for row in range(count)}
        for target in targets:
            for row, other in enumerate(target):
                near[row].add(other)
                near[other].add(row)
        parts = linked_parts(*targets)
        for row in range(count):
            seen, ahead = set(), [row]
            while ahead:
                one = ahead.pop()
                if one not in seen:
                    seen.add(one)
                    ahead += near[one]
            assert set(np.flatnonzero(parts == parts[row])) == seen
