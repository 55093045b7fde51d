"""A benchmark's contract: params, splits and rules, written down before its test images are read (see contracts)."""

import dataclasses
import hashlib
from typing import Any

import pandas as pd

from emobench import contracts
from emobench.edits.family import LEVEL, NLL_MARGIN, PROTOCOLS, RANDOM_KINDS
from emobench.faces.imageset import ImageSet
from emobench.layout import Layout
from emobench.params import Params
from emobench.vocabulary import SPLITS

NO_MATTER = {
    "name", "device", "report", "track", "data.input", "annotate.input", "network.input", "network.file", "clip.input",
    "edit.memory_gib", "edit.jobs", "edit.scheduler",
}  # fmt: skip
"""Keys, or sections, that change no result: names, places, and what work is done with."""
RULES = {
    "choice": "on val: of each arm the best accuracy, of these the lowest NLL, of these the first; the published cell",
    "test": "exact two-sided McNemar, by Holm's method over the judged edits",
    "improves": "significant, more gains than losses, above each kind of control, NLL after temperature not higher",
    "level": LEVEL,
    "nll_margin": NLL_MARGIN,
    "image_sets": list(PROTOCOLS),
    "controls": list(RANDOM_KINDS),
}
"""What edits are chosen and judged by, beside params."""


def promised(params: Params) -> dict[str, Any]:
    """Params and rules, flat: what is known before there are images."""
    values = contracts.flat(dataclasses.asdict(params))
    kept = {key: value for key, value in values.items() if not NO_MATTER & {key, key.split(".")[0]}}
    return contracts.flat({"params": kept, "rules": RULES})


def contract_of(params: Params, imageset: ImageSet) -> dict[str, Any]:
    """The whole contract: params, rules, and digests of the images and of who is in which split."""
    index, columns = imageset.index, ["image_id", "label", "status", "leaks"]
    splits: dict[str, Any] = {"images": imageset.digest()}
    for split in SPLITS:
        rows = index.loc[index["split"] == split, columns]
        splits[split] = hashlib.sha256(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes()).hexdigest()
    return promised(params) | contracts.flat({"splits": splits})


def seal(params: Params, layout: Layout, imageset: ImageSet) -> None:
    """Writes the contract, before any answer on test is looked at; a smoke run (data.limit) has none.

    The file is nobody's output for DVC, which would delete it before a stage runs: it has to outlive every run.
    """
    if not params.data.limit:
        contracts.sealed(layout.reports, contract_of(params, imageset))


def contract_in_words(params: Params, layout: Layout) -> str:
    """What the benchmark's report folder tells of its contracts, against params as they are now; may be empty."""
    return "" if params.data.limit else contracts.in_words(contracts.known(layout.reports), promised(params))
