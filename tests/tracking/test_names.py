from collections import Counter

import numpy as np
import pytest

from emobench.tracking.names import SHOWN, distinct, edit_name

USUAL = {"layer": "lin2", "concept_set": "expressions", "similarity_fn": "soft_wpmi"}
ROW = USUAL | {"arm": "similarity", "criterion": "similarity", "operation": "rows", "tau": 0.75, "factor": 2.0}


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({}, "similarity tau0.75 x2"),
        ({"tau": np.nan, "operation": "rows_bias", "layer": "lin1"}, "lin1 similarity bias x2"),
        (
            {
                "arm": "description",
                "criterion": "description:angry",
                "tau": np.nan,
                "operation": "zero",
                "factor": None,
            },
            "angry zero description",
        ),
        (
            {"arm": "search_free", "criterion": "free:penalty1", "tau": np.nan, "factor": 1.0},
            "free penalty1 x1 search_free",
        ),
        ({"arm": "weight_norm", "criterion": np.nan, "tau": np.nan}, "weight_norm x2"),
    ],
)
def test_an_edit_is_named_by_what_tells_it_from_others(change, name):
    assert edit_name(ROW | change, USUAL) == name


def test_names_that_would_be_cut_alike_get_their_place_in_front():
    long = [f"blocks.3.second.pointwise soft_wpmi {number}" for number in range(3)]
    names = distinct(["short", *long, "another"])
    assert names == ["short", *(f"{at} {name}" for at, name in enumerate(long, start=2)), "another"]
    assert max(Counter(name[:SHOWN] for name in names).values()) == 1
