"""The benchmarks of a study, from their report folders: what the asked edit did to the test images of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from emobench import contracts
from emobench.edits import predictions
from emobench.edits.predictions import Answers, of_benchmark, readable
from emobench.errors import UserError
from emobench.files import file_digest
from emobench.functional.combining import paired_variance
from emobench.layout import REFERENCE
from emobench.stored import READ_ERRORS

NEEDED = "verdicts.csv"
COUNTED = ("network.json", "baseline.json")
"""Where the numbers of images stand; the second name is an earlier version's."""


def report_folder(reports: Path, name: str) -> Path | None:
    """Where the report of a benchmark lies; None if there is none yet."""
    folders = [reports / name, reports / REFERENCE / name]
    return next((folder for folder in folders if (folder / NEEDED).is_file()), None)


def _yaml(path: Path) -> Any:
    """Reads YAML or JSON, by the C library where there is one: in Python alone a dvc.lock takes seconds."""
    return yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@dataclass(frozen=True)
class Member:
    """One benchmark of a study and its edit: ``verdict`` is its row of verdicts.csv, on ``images`` images of a set."""

    name: str
    folder: Path
    image_set: str
    images: int
    verdict: Mapping[str, Any]

    @property
    def root(self) -> Path:
        """The repository that the report lies in."""
        return next(folder for folder in self.folder.parents if folder.name == "reports").parent

    @property
    def counts(self) -> tuple[int, int]:
        """Images gained and lost."""
        return int(self.verdict["gains"]), int(self.verdict["losses"])

    @property
    def effect(self) -> float:
        """The difference in accuracy, edited minus baseline."""
        return (self.counts[0] - self.counts[1]) / self.images

    @property
    def variance(self) -> float:
        """Of the effect, by luck."""
        return paired_variance(*self.counts, self.images)

    @cached_property
    def data(self) -> str:
        """Tells whether two members have the same pictures: their digest in dvc.lock, else that of their audit."""
        for lock in (self.folder / "dvc.lock", self.root / "dvc.lock"):
            stages = (_yaml(lock) or {}).get("stages", {}) if lock.is_file() else {}
            outs = [out for stage in stages.values() for out in stage.get("outs", [])]
            found = {out["path"]: out.get("md5") for out in outs}.get(f"data/{self.name}/images.npy")
            if found:
                return str(found)
        audit = self.folder / "audit.json"
        return file_digest(audit) if audit.is_file() else self.name

    @cached_property
    def network(self) -> str:
        """Its architecture; empty where its params don't lie beside the report, or are an earlier version's."""
        for path in (self.folder / "params.yaml", self.root / "params.yaml"):
            values = _yaml(path) if path.is_file() else {}
            if values.get("name") == self.name and "network" in values:
                return str(values["network"].get("architecture", ""))
        return ""

    @property
    def contract(self) -> str:
        """Whether the test was read under one contract (see emobench.contracts)."""
        return contracts.in_words(contracts.known(self.folder)) or "none noted"

    @cached_property
    def answers(self) -> Answers | None:
        """What the networks answered, if it is at hand and of these results."""
        stored = [self.root / "artifacts" / self.name / file for file in predictions.FILES]
        stored.append(self.root / "data" / self.name / "index.parquet")
        if not all(path.is_file() for path in stored):
            return None
        preds, ids, index = (path.read_bytes() for path in stored)
        found = readable(lambda: of_benchmark(preds, ids, index), f"benchmark {self.name}")
        if self.verdict["config_id"] not in found.config_ids:
            return None
        done = self._outcomes(found)
        return found if ((done == 1).sum(), (done == -1).sum()) == self.counts else None

    def _outcomes(self, answers: Answers) -> np.ndarray:
        right = []
        for name in ("baseline", self.verdict["config_id"]):
            preds, labels = answers.of(name, self.image_set)
            right.append((preds == labels).astype(int))
        return right[1] - right[0]

    def outcomes_with(self, other: "Member") -> tuple[np.ndarray, np.ndarray] | None:
        """What both edits did to each image: 1 gained, -1 lost, 0 as before; None where that is not at hand."""
        if self.answers is None or other.answers is None or not self.answers.same_images(other.answers, self.image_set):
            return None
        return self._outcomes(self.answers), other._outcomes(other.answers)


def read_member(folder: Path, *, arm: str, selected_on: str, image_set: str) -> Member | None:
    """Reads a benchmark's verdict on the edit of one arm; None where no such edit was judged.

    Raises:
        UserError: a report file can't be read or lacks what is needed.
    """
    try:
        table = pd.read_csv(folder / NEEDED)
        asked = (table["arm"] == arm) & (table["selected_on"] == selected_on) & (table["images"] == image_set)
        counted = next(folder / name for name in COUNTED if (folder / name).is_file())
        images = int(_yaml(counted)[image_set]["images"])
        rows = table[asked].to_dict("records")
        needed = {"gains", "losses", "mcnemar_p", "verdict", "delta_accuracy", "ci_low_accuracy", "ci_high_accuracy"}
        if lacking := needed - set(table):
            raise KeyError(", ".join(sorted(lacking)))
    except (*READ_ERRORS, StopIteration, yaml.YAMLError) as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise UserError(f"{folder}: its report can't be read ({what}); run dvc repro report") from None
    return Member(folder.name, folder, image_set, images, {str(k): v for k, v in rows[0].items()}) if rows else None
