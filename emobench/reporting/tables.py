"""The small tables and choices that the report and the tracking share.

Shares (accuracies, recalls, proportions) are in [0, 1]; differences are edited minus baseline, in points (hundredths).
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from emobench.edits.layer_choice import choose_layer
from emobench.functional.binomial import upper_tail
from emobench.own_code import short_name
from emobench.reporting.results import Results


def dissections(results: Results) -> Iterator[tuple[str, str]]:
    """The dissections that were made: (concept set, similarity function), the edited one's first."""
    edit = results.params.edit
    functions = [short_name(function) for function in results.params.dissect.similarity_fns]
    pairs = [(name, function) for name in results.concept_sets for function in functions]
    yield from sorted(pairs, key=lambda pair: pair != (edit.concept_set, edit.similarity_fn))


def of_dissection(table: pd.DataFrame, concepts: str, function: str) -> pd.DataFrame:
    """The rows of one dissection in units or layers."""
    return table[(table["concept_set"] == concepts) & (table["similarity_fn"] == function)]


def places(results: Results, table: pd.DataFrame) -> list[int]:
    """Where the layers of a table's rows stand in forward order."""
    return [results.layer_names.index(layer) for layer in table["layer"]]


def null_of(results: Results, layer: str, concepts: str) -> pd.Series:
    """The null of one layer of the trained network, for the function that the edits follow."""
    nulls = of_dissection(results.nulls, concepts, results.params.edit.similarity_fn)
    return nulls[(nulls["network"] == "trained") & (nulls["layer"] == layer)].iloc[0]


def top_units(units: pd.DataFrame, count: int, layers: Sequence[str]) -> pd.DataFrame:
    """The ``count`` units with the highest similarity of each layer and dissection, dead ones left out.

    Args:
        units: the unit table.
        count: how many of each.
        layers: in forward order.

    Returns:
        The rows of ``units`` in forward order of the layers, best first, with the column ``rank`` (1 is best).
    """
    position = units["layer"].map({name: number for number, name in enumerate(layers)})
    order = ["_position", "concept_set", "similarity_fn", "similarity", "unit"]
    alive = units[~units["dead"].astype(bool)].assign(_position=position)
    alive = alive.sort_values(order, ascending=[True, True, True, False, True])
    rank = alive.groupby(["layer", "concept_set", "similarity_fn"]).cumcount() + 1
    return alive.assign(rank=rank)[rank <= count].drop(columns="_position").reset_index(drop=True)


def edited_layer(results: Results) -> str:
    """The layer that the edits changed, or would change."""
    edits = results.configs.loc[results.configs["arm"] != "baseline", "layer"]
    return edits.iloc[0] if len(edits) else choose_layer(results.params.edit, results.layers, results.network)


def description_shares(units: pd.DataFrame, images: int) -> pd.DataFrame:
    """Figure 5: how the units whose description is right spread over the concepts.

    A description is right if most of the unit's top images are of a class that it speaks for. Chance is the same share
    if every unit kept its description but its top images were drawn at random from the probe: Binomial(images, chance).

    Args:
        units: one layer of one dissection.
        images: top images a unit, which ``label_accuracy`` is a share of.

    Returns:
        One row a description, most frequent first: description, units, right, share (of all right ones), expected.
    """
    known = units[units["label_accuracy"].notna()]
    right = known["label_accuracy"] > 0.5
    by_chance = upper_tail(images // 2 + 1, images, known["chance"].astype(float))
    table = known.assign(right=right, by_chance=by_chance).groupby("description", as_index=False)
    table = table.agg(units=("unit", "size"), right=("right", "sum"), by_chance=("by_chance", "sum"))
    table["share"] = table["right"] / max(table["right"].sum(), 1)
    table["expected"] = table["by_chance"] / max(table["by_chance"].sum(), 1e-12)
    order = table.sort_values(["right", "expected", "description"], ascending=[False, False, True])
    return order.drop(columns="by_chance").reset_index(drop=True)


def judged(results: Results) -> dict[str, str]:
    """The edit of each arm that was best on val: arm -> config_id."""
    chosen = results.verdicts[results.verdicts["selected_on"] == "val"].drop_duplicates("arm")
    return dict(zip(chosen["arm"], chosen["config_id"], strict=True))


def accompanied_name(results: Results, config_id: str) -> str:
    """What the controls of an edit carry as criterion: its arm, or ``paper`` where only the paper chose it."""
    arms = {name: arm for arm, name in judged(results).items()}
    return arms.get(config_id, "paper")


def controls_of(results: Results, config_id: str | None, name: str, images: str) -> pd.DataFrame:
    """The controls that accompany an edit under this name, on one image set."""
    table = results.controls
    own = (table["control_of"] == config_id) & (table["criterion"] == name) & (table["images"] == images)
    return table[own]


def control_summary(results: Results) -> pd.DataFrame:
    """How the controls of each judged edit did: a row an edit, kind of control and image set.

    Returns:
        control_of, criterion, kind, images, draws, and the least, 5 %, median, 95 % and largest accuracy.
    """
    groups = results.controls.groupby(["control_of", "criterion", "arm", "images"], sort=False)["accuracy"]
    table = groups.agg(
        draws="size", least="min", p05=lambda drawn: drawn.quantile(0.05), median="median",
        p95=lambda drawn: drawn.quantile(0.95), largest="max",
    )  # fmt: skip
    return table.reset_index().rename(columns={"arm": "kind"})


def differences(results: Results, images: str, metric: str = "accuracy") -> pd.DataFrame:
    """The edits on one image set with their difference against the baseline, in points (hundredths): ``points``."""
    configs = results.configs
    base = results.config(results.baseline_id, images)[metric]
    edits = configs[(configs["images"] == images) & (configs["arm"] != "baseline")]
    return edits.assign(points=100 * (edits[metric] - base))


def per_class(table: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """Images, recall, precision and F1 of each class from a confusion matrix (classes, classes); NaN if absent."""
    right, labelled, predicted = table.diagonal().astype(float), table.sum(1), table.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = {"recall": right / labelled, "precision": right / predicted, "f1": 2 * right / (labelled + predicted)}
    return pd.DataFrame({"class": list(classes), "images": labelled, **columns})


def verdict_of(results: Results, config_id: str, images: str = "test") -> pd.Series:
    """The test of one configuration against the baseline."""
    rows = results.verdicts[(results.verdicts["config_id"] == config_id) & (results.verdicts["images"] == images)]
    return rows.iloc[0]
