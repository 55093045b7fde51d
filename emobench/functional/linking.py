"""Which items belong together: parts of a graph whose links are known item by item."""

import numpy as np


def linked_parts(*targets: np.ndarray) -> np.ndarray:
    """Numbers the parts of items that are linked, directly or by way of others.

    Args:
        targets: each int64 (items,): for each item the row of another that it belongs with, or its own.

    Returns:
        The number of each item's part (items,), from 0.

    >>> linked_parts(np.array([0, 0, 2, 3]), np.array([0, 2, 2, 3]))
    array([0, 0, 0, 1], dtype=int32)
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(targets[0])
    rows, columns = np.tile(np.arange(count), len(targets)), np.concatenate(targets)
    links = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(count, count))
    return connected_components(links, directed=False)[1]
