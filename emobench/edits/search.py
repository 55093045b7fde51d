"""Searching for row scales: each unit has its own, or units share one; on images of one split, train or val.

Scales fitted on train are chosen on val like any arm's: every penalty and exponent is a configuration (a exponent t
raises the scales to the power t). Scales fitted on val cannot be compared by val images that they were fitted on: there
penalty and exponent are chosen by cross-fitting, each image scored by scales fitted on the other folds, and one
configuration of each kind is fitted on all of val. What val then says of it is not evidence; test is.

``split: val`` is what the presets have: on train images the network is nearly as good as it can be (measured on
FER2013: nothing is left to gain there).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from emobench.cores import one_a_core
from emobench.edits.found import Found
from emobench.edits.target import unit_table
from emobench.errors import UserError
from emobench.faces.imageset import ImageSet
from emobench.functional.calibration import fit_temperature
from emobench.functional.classification import classification_metrics
from emobench.networks.augmented import Augmented
from emobench.networks.network import Network, Pictures
from emobench.progress import progress
from emobench.settings.data import Augment
from emobench.settings.edit import BY_LAYER, Edit, Search
from emobench.sweeps.scaled import ScaledNetwork, search_scales

NOTHING = pd.DataFrame(columns=["layers", "kind", "penalty", "exponent", "nll_t", "accuracy"])
"""What was tried where no search is asked for."""


@dataclass(frozen=True)
class SearchImages:
    """All that a search may look at: what the network takes, labels (images,) int64, and which are copies.

    ``copies`` (images,) int64 has the same number for copies of one picture: a fold has all of them or none.
    ``augmented``: the images as scales are fitted on them, if not as they are.
    """

    inputs: Tensor | Pictures
    labels: Tensor
    copies: np.ndarray
    augmented: Augmented | None = None


def search_images(
    search: Search, network: Network, imageset: ImageSet, *, seed: int, augment: Augment | None = None
) -> SearchImages:
    """The kept images of the split that params name, or as many of them, drawn at random, as params allow.

    ``augment``: how they are changed while scales are fitted.
    """
    rows = imageset.rows(search.split)
    if 0 < search.images < len(rows):
        rows = np.sort(np.random.default_rng(seed).choice(rows, search.images, replace=False))
    index = imageset.index.iloc[rows]
    copies, _ = pd.factorize(index["duplicate_of"].fillna(index["image_id"]))
    labels = torch.from_numpy(imageset.labels[rows])
    augmented = None if augment is None else Augmented(network, imageset.images, rows, augment)
    return SearchImages(network.given(imageset.images, rows, imageset.digest()), labels, copies, augmented)


def run_search(
    edit: Edit, network: Network, imageset: ImageSet, layer: str, units: pd.DataFrame, *, seed: int,
    augment: Augment | None = None,
) -> tuple[list[Found], pd.DataFrame]:  # fmt: skip
    """All searches that params ask for, in the edited layer and in several together; ``augment``: of the training."""
    search = edit.search
    joint = search.joint_layers([card.name for card in network.card.editable])
    asked = [
        (layers, kinds) for layers, kinds in (([layer], search.kinds), (joint, search.joint_kinds)) if layers and kinds
    ]
    if not asked:
        return [], NOTHING
    images = search_images(search, network, imageset, seed=seed, augment=augment if search.augment else None)
    results = [search_edits(edit, network, images, layers, kinds, units, seed=seed) for layers, kinds in asked]
    return [one for found, _ in results for one in found], pd.concat([table for _, table in results], ignore_index=True)


def search_edits(
    edit: Edit, network: Network, images: SearchImages, layers: Sequence[str], kinds: Sequence[str],
    units: pd.DataFrame, *, seed: int,
) -> tuple[list[Found], pd.DataFrame]:  # fmt: skip
    """Searches the scales of the rows of some layers together.

    Args:
        edit: what is asked for (edit.search), which dissection describes the units, and the bound of the memory.
        network: the baseline.
        images: the images to search on.
        layers: one layer or several.
        kinds: see groups_of.
        units: units.parquet.
        seed: of the batches and the folds.

    Returns:
        The edits found, and what was tried: a row for each kind, penalty and exponent with layers, kind, penalty,
        exponent, and, where the split is val, nll_t and accuracy of each image under scales fitted on the others.
        Exponent 0 is the baseline.

    Raises:
        UserError: fewer pictures than folds, a layer without a description of its units, or a search that diverged.
    """
    search = edit.search
    scaled = ScaledNetwork(network, layers, images.inputs, memory_gib=edit.memory_gib, augmented=images.augmented)
    tables = {layer: unit_table(edit, layer, units) for layer in scaled.layers}
    found, tried = [], []
    for kind in kinds:
        fit = _Fit(scaled, network.classes, images, groups_of(kind, tables, edit.paper.tau), search, seed)
        if search.split == "val":
            table = fit.cross_fitted()
            order = table[table["exponent"] > 0].sort_values(
                ["accuracy", "nll_t"], ascending=[False, True], kind="stable"
            )
            best = order.iloc[0]
            cells = [(float(best["penalty"]), [float(best["exponent"])])]
        else:
            cells = [(penalty, search.exponents) for penalty in search.penalties]
            pairs = [(penalty, exponent) for penalty, exponents in cells for exponent in exponents]
            table = pd.DataFrame(pairs, columns=["penalty", "exponent"])
        tried.append(table.assign(kind=kind, layers="+".join(tables)))
        for penalty, exponents in cells:
            scales = fit.scales(np.arange(len(images.labels)), penalty)
            found += [Found(kind, penalty, one, raised(scales, one)) for one in exponents]
    table = pd.concat(tried, ignore_index=True)
    return found, table[[name for name in NOTHING if name in table]]


def groups_of(kind: str, tables: Mapping[str, pd.DataFrame], tau: float) -> dict[str, Tensor]:
    """Which units share a scale: layer -> (units,) int64, numbered over all layers together.

    Args:
        kind: ``free``: each unit has its own; ``descriptions``: units of the same description share one;
            ``interpretable``: one for the units whose best similarity is above tau, one for the others; the two
            ``_by_layer``: the same within each layer.
        tables: layer -> its unit table, in the order of units.
        tau: the threshold.
    """
    if kind == "free":
        keys = pd.Series(range(sum(map(len, tables.values()))))
    else:
        units = pd.concat(tables.values(), ignore_index=True)
        tied = kind.removesuffix(BY_LAYER)
        keys = units["similarity"] > tau if tied == "interpretable" else units["description"].fillna("")
        if tied != kind:
            layers = pd.Series(range(len(tables))).repeat([len(table) for table in tables.values()])
            keys = pd.Series(zip(layers, keys, strict=True))
    numbers = torch.from_numpy(pd.factorize(keys, sort=True)[0].astype(np.int64))
    return dict(zip(tables, numbers.split([len(table) for table in tables.values()]), strict=True))


def raised(scales: Mapping[str, Tensor], exponent: float) -> dict[str, Tensor]:
    """Scales to the power of a exponent: 0 gives the baseline, 1 the scales themselves."""
    return {layer: scale**exponent for layer, scale in scales.items()}


@dataclass(frozen=True)
class _Fit:
    """One kind of search on one set of images."""

    network: ScaledNetwork
    classes: tuple[str, ...]
    images: SearchImages
    groups: dict[str, Tensor]
    search: Search
    seed: int

    def scales(self, rows: np.ndarray, penalty: float) -> dict[str, Tensor]:
        """Fitted on some of the images."""
        search = self.search
        return search_scales(
            self.network, self.images.labels, rows, self.groups,
            penalty=penalty, steps=search.steps, batch_size=search.batch_size, learning_rate=search.learning_rate,
            seed=self.seed,
        )  # fmt: skip

    def cross_fitted(self) -> pd.DataFrame:
        """Each penalty and exponent scored on images that the scales weren't fitted on, with nll_t and accuracy.

        The temperature is fitted on the scored logits of all folds together.
        """
        labels, search = self.images.labels, self.search
        exponents = [0.0, *search.exponents]
        folds = list(_folds(self.images.copies, search.folds, self.seed))
        asked = [(penalty, *fold) for penalty in search.penalties for fold in folds]
        with progress(total=len(asked), desc="search", unit="fit") as bar:

            def scored_logits(one: tuple[float, np.ndarray, np.ndarray]) -> list[Tensor]:
                penalty, fitted, scored = one
                scales = self.scales(fitted, penalty)
                bar.update()
                return [self.network.all_logits(raised(scales, exponent), scored) for exponent in exponents]

            found = one_a_core(scored_logits, asked, self.network.device)
        logits = torch.empty(len(search.penalties), len(exponents), len(labels), len(self.classes))
        for number, ((_, _, scored), each) in enumerate(zip(asked, found, strict=True)):
            logits[number // len(folds)][:, scored] = torch.stack(each)
        records = []
        for penalty, of_penalty in zip(search.penalties, logits, strict=True):
            for exponent, one in zip(exponents, of_penalty, strict=True):
                scores = classification_metrics(one / fit_temperature(one, labels), labels, self.classes)
                records.append((penalty, exponent, scores["nll"], scores["accuracy"]))
        return pd.DataFrame(records, columns=["penalty", "exponent", "nll_t", "accuracy"])


def _folds(copies: np.ndarray, folds: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows to fit on, rows to score) of each fold; copies of a picture are on the same side."""
    pictures = len(np.unique(copies))
    if pictures < folds:
        raise UserError(f"params: edit.search.folds is {folds}, but there are only {pictures} pictures to search on")
    from sklearn.model_selection import GroupKFold

    return GroupKFold(folds, shuffle=True, random_state=seed).split(copies, groups=copies)
