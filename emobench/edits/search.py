"""Searching for row scales: each unit has its own, or units share one; on images of one split, train or val.

Scales fitted on train are chosen on val like any arm's: every pull and strength is a configuration (a strength t
raises the scales to the power t). Scales fitted on val cannot be compared by val images that they were fitted on: there
pull and strength are chosen by cross-fitting, each image scored by scales fitted on the other folds, and one
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

from emobench.edits.target import Configuration, unit_table
from emobench.errors import UserError
from emobench.faces.imageset import ImageSet
from emobench.functional.calibration import fit_temperature
from emobench.functional.classification import classification_metrics
from emobench.networks.loading import LoadedNetwork
from emobench.progress import progress
from emobench.settings.edit import Edit, Search
from emobench.sweeps.cores import one_a_core
from emobench.sweeps.scaled import ScaledNetwork, search_scales
from emobench.vocabulary import CLASSES

NOTHING = pd.DataFrame(columns=["layers", "kind", "pull", "strength", "nll_t", "accuracy"])
"""What was tried where no search is asked for."""


@dataclass(frozen=True)
class SearchImages:
    """All that a search may look at: inputs (images, 1, 40, 40), labels (images,) int64, and which are copies.

    ``copies`` (images,) int64 has the same number for copies of one picture: a fold has all of them or none.
    """

    inputs: Tensor
    labels: Tensor
    copies: np.ndarray


@dataclass(frozen=True)
class Found:
    """Scales that a search found, as an edit: layer -> (units,) float32, already raised to the strength."""

    kind: str
    pull: float
    strength: float
    scales: dict[str, Tensor]

    @property
    def arm(self) -> str:
        """search_<kind>, and for several layers search_<kind>_joint."""
        return f"search_{self.kind}" + ("_joint" if len(self.scales) > 1 else "")

    @property
    def config_id(self) -> str:
        """A readable name, unique within one benchmark."""
        return f"{'+'.join(self.scales)}-{self.arm}-pull{self.pull:g}-f{self.strength:.2f}"

    def configuration(self) -> Configuration:
        """As a configuration, whose factor is the strength.

        That of several layers has their scales one after the other: it is measured by emobench.edits.joint alone.
        """
        scale = torch.cat(list(self.scales.values()))
        status = "degenerate" if (scale == scale[0]).all() else "ok"
        criterion = f"{self.kind}:pull{self.pull:g}"
        return Configuration(self.config_id, self.arm, scale, status, criterion, factor=self.strength)


def search_images(search: Search, network: LoadedNetwork, imageset: ImageSet, *, seed: int) -> SearchImages:
    """The kept images of the split that params name, or as many of them, drawn at random, as params allow."""
    rows = imageset.rows(search.split)
    if 0 < search.images < len(rows):
        rows = np.sort(np.random.default_rng(seed).choice(rows, search.images, replace=False))
    index = imageset.index.iloc[rows]
    copies, _ = pd.factorize(index["duplicate_of"].fillna(index["image_id"]))
    labels = torch.from_numpy(imageset.labels[rows])
    return SearchImages(network.transform(imageset.images[rows]), labels, copies)


def run_search(
    edit: Edit, network: LoadedNetwork, imageset: ImageSet, layer: str, units: pd.DataFrame, *, seed: int
) -> tuple[list[Found], pd.DataFrame]:
    """All searches that params ask for: in the edited layer, and in several layers together (see search_edits)."""
    search = edit.search
    asked = [
        (layers, kinds)
        for layers, kinds in (([layer], search.kinds), (search.joint, search.joint_kinds))
        if layers and kinds
    ]
    if not asked:
        return [], NOTHING
    images = search_images(search, network, imageset, seed=seed)
    results = [search_edits(edit, network, images, layers, kinds, units, seed=seed) for layers, kinds in asked]
    return [one for found, _ in results for one in found], pd.concat([table for _, table in results], ignore_index=True)


def search_edits(
    edit: Edit, network: LoadedNetwork, images: SearchImages, layers: Sequence[str], kinds: Sequence[str],
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
        The edits found, and what was tried: a row for each kind, pull and strength with layers, kind, pull, strength,
        and, where the split is val, nll_t and accuracy of each image under scales fitted on the others. Strength 0 is
        the baseline.

    Raises:
        UserError: fewer pictures than folds, a layer without a description of its units, or a search that diverged.
    """
    search = edit.search
    scaled = ScaledNetwork(network.model, layers, images.inputs, memory_gib=edit.memory_gib)
    tables = {layer: unit_table(edit, layer, units) for layer in scaled.layers}
    found, tried = [], []
    for kind in kinds:
        fit = _Fit(scaled, images, groups_of(kind, tables, edit.paper.tau), search, seed)
        if search.split == "val":
            table = fit.cross_fitted()
            order = table[table["strength"] > 0].sort_values(
                ["accuracy", "nll_t"], ascending=[False, True], kind="stable"
            )
            best = order.iloc[0]
            cells = [(float(best["pull"]), [float(best["strength"])])]
        else:
            cells = [(pull, search.strengths) for pull in search.pulls]
            table = pd.DataFrame([(pull, one) for pull, many in cells for one in many], columns=["pull", "strength"])
        tried.append(table.assign(kind=kind, layers="+".join(tables)))
        for pull, strengths in cells:
            scales = fit.scales(np.arange(len(images.labels)), pull)
            found += [Found(kind, pull, one, raised(scales, one)) for one in strengths]
    table = pd.concat(tried, ignore_index=True)
    return found, table[[name for name in NOTHING if name in table]]


def groups_of(kind: str, tables: Mapping[str, pd.DataFrame], tau: float) -> dict[str, Tensor]:
    """Which units share a scale: layer -> (units,) int64, numbered over all layers together.

    Args:
        kind: ``free``: each unit has its own; ``descriptions``: units of the same description share one;
            ``interpretable``: one for the units whose best similarity is above tau, one for the others.
        tables: layer -> its unit table, in the order of units.
        tau: the threshold.
    """
    if kind == "free":
        keys = pd.Series(range(sum(map(len, tables.values()))))
    else:
        units = pd.concat(tables.values(), ignore_index=True)
        keys = units["similarity"] > tau if kind == "interpretable" else units["description"].fillna("")
    numbers = torch.from_numpy(pd.factorize(keys, sort=True)[0].astype(np.int64))
    return dict(zip(tables, numbers.split([len(table) for table in tables.values()]), strict=True))


def raised(scales: Mapping[str, Tensor], strength: float) -> dict[str, Tensor]:
    """Scales to the power of a strength: 0 gives the baseline, 1 the scales themselves."""
    return {layer: scale**strength for layer, scale in scales.items()}


@dataclass(frozen=True)
class _Fit:
    """One kind of search on one set of images."""

    network: ScaledNetwork
    images: SearchImages
    groups: dict[str, Tensor]
    search: Search
    seed: int

    def scales(self, rows: np.ndarray, pull: float) -> dict[str, Tensor]:
        """Fitted on some of the images."""
        search = self.search
        return search_scales(
            self.network, self.images.labels, rows, self.groups,
            pull=pull, steps=search.steps, batch_size=search.batch_size, learning_rate=search.learning_rate,
            seed=self.seed,
        )  # fmt: skip

    def cross_fitted(self) -> pd.DataFrame:
        """Each pull and strength scored on images that the scales weren't fitted on: pull, strength, nll_t, accuracy.

        The temperature is fitted on the scored logits of all folds together.
        """
        labels, search = self.images.labels, self.search
        strengths = [0.0, *search.strengths]
        folds = list(_folds(self.images.copies, search.folds, self.seed))
        asked = [(pull, *fold) for pull in search.pulls for fold in folds]
        with progress(total=len(asked), desc="search", unit="fit") as bar:

            def scored_logits(one: tuple[float, np.ndarray, np.ndarray]) -> list[Tensor]:
                pull, fitted, scored = one
                scales = self.scales(fitted, pull)
                bar.update()
                return [self.network.all_logits(raised(scales, strength), scored) for strength in strengths]

            found = one_a_core(scored_logits, asked, self.network.device)
        logits = torch.empty(len(search.pulls), len(strengths), len(labels), len(CLASSES))
        for number, ((_, _, scored), each) in enumerate(zip(asked, found, strict=True)):
            logits[number // len(folds)][:, scored] = torch.stack(each)
        records = []
        for pull, of_pull in zip(search.pulls, logits, strict=True):
            for strength, one in zip(strengths, of_pull, strict=True):
                scores = classification_metrics(one / fit_temperature(one, labels), labels, CLASSES)
                records.append((pull, strength, scores["nll"], scores["accuracy"]))
        return pd.DataFrame(records, columns=["pull", "strength", "nll_t", "accuracy"])


def _folds(copies: np.ndarray, folds: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows to fit on, rows to score) of each fold; copies of a picture are on the same side."""
    pictures = len(np.unique(copies))
    if pictures < folds:
        raise UserError(f"params: edit.search.folds is {folds}, but there are only {pictures} pictures to search on")
    from sklearn.model_selection import GroupKFold

    return GroupKFold(folds, shuffle=True, random_state=seed).split(copies, groups=copies)
