"""What the results of a benchmark are: which configurations are shown, on which images, and what they answered."""

from functools import cached_property

import numpy as np
import pandas as pd

from emobench.edits.family import PAPER_ARM
from emobench.errors import UserError
from emobench.reporting.published import PUBLISHED_ACCURACY, PUBLISHED_CLASSES
from emobench.reporting.result_files import ResultFiles

IMAGE_SETS = {
    "val": "validation",
    "test": "test",
    "test_noleaks": "test without copies of training images",
    "val_test": "validation and test together, nothing removed (the paper's protocol)",
}


class Results(ResultFiles):
    """The results of one benchmark, from its files."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the data, in the order of their labels."""
        return self.card.classes

    @cached_property
    def layer_names(self) -> list[str]:
        """The layers that were recorded, in forward order."""
        return [layer.name for layer in self.network.chosen]

    @property
    def concept_sets(self) -> list[str]:
        """Short names of the concept sets, in the order of params."""
        return list(self.vocabulary.sets)

    @cached_property
    def configs(self) -> pd.DataFrame:
        """A row a configuration (the baseline is one, controls are not) and image set."""
        return self._configs[self._configs["control_of"].isna()].reset_index(drop=True)

    @cached_property
    def controls(self) -> pd.DataFrame:
        """The same of the controls: ``control_of`` names the edit, ``criterion`` its arm or ``paper``."""
        return self._configs[self._configs["control_of"].notna()].reset_index(drop=True)

    @property
    def config_ids(self) -> list[str]:
        """Configuration of each row of ``predictions``."""
        return self._prediction_ids.config_ids

    @property
    def evaluated(self) -> int:
        """How many configurations were looked at in all, most of them by controls and on val alone."""
        return self._prediction_ids.evaluated

    @property
    def edit_ids(self) -> list[str]:
        """The edits: neither the baseline nor controls."""
        return [name for name in self.configs["config_id"].unique() if name != self.baseline_id]

    @property
    def control_ids(self) -> list[str]:
        """The random controls."""
        return list(self.controls.loc[self.controls["seed"].notna(), "config_id"].unique())

    @cached_property
    def image_rows(self) -> np.ndarray:
        """Row in the image set of each column of ``predictions``."""
        return np.array(self._prediction_ids.image_rows, dtype=np.int64)

    @cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        """Which columns of ``predictions`` belong to each image set."""
        return {name: np.isin(self.image_rows, rows) for name, rows in self.imageset.evaluation_rows().items()}

    @property
    def limited(self) -> bool:
        """Whether this is the smoke mode's subset of the images, so that no number counts."""
        return self.params.data.limit > 0

    @property
    def private(self) -> bool:
        """Whether the pictures may show people: their pixels must never reach git."""
        return self.card.private

    @property
    def fer2013(self) -> bool:
        """Whether the pictures are FER2013's."""
        return self.params.data.source == "fer2013"

    @property
    def published(self) -> float | None:
        """The published accuracy, where images, labels and architecture are those that it was measured with."""
        data = self.params.data
        alike = data.source == "fer2013" and data.labels == "file" and self.classes == PUBLISHED_CLASSES
        return PUBLISHED_ACCURACY if alike and self.network.architecture == "vggnet" else None

    @cached_property
    def unmeasured(self) -> list[str]:
        """Concepts of the concept sets, other than classes, for which no image has an annotation."""
        measured = set(self.annotations.columns[self.annotations.notna().any()])
        return [name for name in self.vocabulary.every if name not in measured and name not in self.classes]

    @cached_property
    def image_sets(self) -> list[str]:
        """The image sets that the configurations were measured on, in the order of IMAGE_SETS; empty ones lack."""
        measured = set(self.configs["images"])
        return [name for name in IMAGE_SETS if name in measured]

    @cached_property
    def baseline_id(self) -> str:
        """The configuration that changes nothing."""
        return self.configs.loc[self.configs["arm"] == "baseline", "config_id"].iloc[0]

    @cached_property
    def chosen_id(self) -> str | None:
        """The edit that did best on val: of those the verdicts name, the first. None if every edit was degenerate."""
        chosen = self.verdicts.loc[self.verdicts["selected_on"] == "val", "config_id"]
        return None if chosen.empty else chosen.iloc[0]

    @cached_property
    def paper_id(self) -> str | None:
        """The published edit (arm similarity, params.edit.paper); None if it is not among the configurations."""
        configs, cell = self.configs, self.params.edit.paper
        found = configs[
            (configs["arm"] == PAPER_ARM)
            & np.isclose(configs["tau"].astype(float), cell.tau)
            & np.isclose(configs["factor"].astype(float), cell.factor)
        ]
        return None if found.empty else found["config_id"].iloc[0]

    def config(self, config_id: str, images: str = "test") -> pd.Series:
        """One row of the configurations: settings and metrics."""
        rows = self.configs[(self.configs["config_id"] == config_id) & (self.configs["images"] == images)]
        if rows.empty:
            raise UserError(f"configs.parquet has no {config_id} on {images}; run dvc repro edit")
        return rows.iloc[0]

    def columns_of(self, images: str) -> tuple[np.ndarray, np.ndarray]:
        """Which columns of ``predictions`` belong to an image set (bool), and the labels there."""
        at = self._columns[images]
        return at, self.imageset.labels[self.image_rows[at]]

    def confusion(self, config_id: str, images: str = "test") -> np.ndarray:
        """Counts (classes, classes) int64 of one configuration: rows are true classes, columns predictions."""
        at = self._columns[images]
        preds = self.predictions[self.config_ids.index(config_id)][at].astype(np.int64)
        count = len(self.classes)
        cells = self.imageset.labels[self.image_rows[at]] * count + preds
        return np.bincount(cells, minlength=count**2).reshape(count, count)

    def shown_edits(self) -> dict[str, str]:
        """The edits that get pictures of their own: name -> config_id. The paper's and the chosen one may be one."""
        named = {"paper's edit": self.paper_id, "chosen edit": self.chosen_id}
        if self.paper_id == self.chosen_id:
            named = {"chosen edit, which is the paper's": self.chosen_id}
        return {name: config_id for name, config_id in named.items() if config_id is not None}
