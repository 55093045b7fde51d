"""One row a benchmark: how good its network is, what of it can be read, and what the paper's edit does to it.

From the small files in reports/. Points are edited minus baseline in hundredths.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from emobench.comparison.listing import listing
from emobench.comparison.places import chosen
from emobench.errors import UserError

COLUMNS = (
    "benchmark", "accuracy", "layer", "units", "above_tau", "significant", "untrained_significant", "auprc",
    "auprc_random", "auprc_best", "auprc_untrained", "paper_points_val_test", "paper_p_val_test", "paper_points_test",
    "paper_p_test", "verdicts",
)  # fmt: skip
EVIDENCE = ("measured", "clip")


def networks(folder: Path, names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The edited layer of each benchmark, by the dissection that its edits follow.

    Args:
        folder: the reports folder.
        names: of benchmarks (a bare name is what ran here, else the reference); all of them without any.

    Returns:
        Rows with COLUMNS: accuracy on test; of the layer's units those above tau, and the shares that are significant
        in the trained and the untrained network; the mean held-out AUPRC of the described, a random and the best
        concept and of the untrained network; the paper's edit on val and test together and on test alone, with the p of
        McNemar's exact test before any correction; how many judged edits got which verdict on test.

    Raises:
        UserError: no benchmark, an unknown name, or a file that lacks what is needed.
    """
    return [_row(name, path) for name, path in chosen(folder, names).items()]


def text(rows: Sequence[dict[str, Any]], form: str) -> str:
    """As table or md for people, in percent and points; as csv or json for programs."""
    if form in ("csv", "json"):
        return listing(rows, COLUMNS, form)
    shown = [_for_people(row) for row in rows]
    return listing(shown, list(shown[0]), form)


def _for_people(row: dict[str, Any]) -> dict[str, str]:
    """Fewer columns, a number with what it is held against."""
    share, two = "{:.0%}", "{:.2f}"
    edit = {
        images: f"{_text(row[f'paper_points_{images}'], '{:+.2f}')} (p {_text(row[f'paper_p_{images}'], '{:.2g}')})"
        for images in ("val_test", "test")
    }
    return {
        "benchmark": row["benchmark"],
        "accuracy": _text(row["accuracy"], "{:.1%}"),
        "layer": row["layer"],
        "above tau": f"{row['above_tau']} of {row['units']}",
        "significant (untrained)": f"{_text(row['significant'], share)} ({_text(row['untrained_significant'], share)})",
        "AUPRC (untrained)": f"{_text(row['auprc'], two)} ({_text(row['auprc_untrained'], two)})",
        "random to best": f"{_text(row['auprc_random'], two)} to {_text(row['auprc_best'], two)}",
        "paper's edit, val and test": edit["val_test"],
        "on test": edit["test"],
        "verdicts": row["verdicts"],
    }


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _row(name: str, folder: Path) -> dict[str, Any]:
    configs, layers, verdicts = (_read(folder / f"{name}.csv") for name in ("configs", "layers", "verdicts"))
    try:
        baseline = configs[(configs["arm"] == "baseline") & (configs["images"] == "test")].iloc[0]
        edited = configs[(configs["arm"] != "baseline")].iloc[0]
        same = layers[["layer", "concept_set", "similarity_fn"]] == edited[["layer", "concept_set", "similarity_fn"]]
        layer = layers[same.all(axis=1)].iloc[0]
        row = {"benchmark": name, "accuracy": float(baseline["accuracy"]), "layer": edited["layer"]}
        row |= {"units": int(layer["num_units"]), "above_tau": int(layer["num_interp"])}
        row |= {"significant": layer["prop_significant"]}
        row |= {"untrained_significant": layer.get("untrained_prop_significant")}
        source = next((name for name in EVIDENCE if pd.notna(layer.get(f"{name}_auprc_described"))), EVIDENCE[0])
        kinds = {"auprc": "described", "auprc_random": "random", "auprc_best": "best"}
        row |= {name: layer.get(f"{source}_auprc_{kind}") for name, kind in kinds.items()}
        row["auprc_untrained"] = layer.get(f"untrained_{source}_auprc_described")
        for images in ("val_test", "test"):
            tested = verdicts[(verdicts["selected_on"] == "paper") & (verdicts["images"] == images)]
            points = 100 * tested["delta_accuracy"].iloc[0] if len(tested) else None
            row |= {f"paper_points_{images}": points}
            row |= {f"paper_p_{images}": tested["mcnemar_p"].iloc[0] if len(tested) else None}
        # An edit that two rules chose has one verdict.
        judged = verdicts[verdicts["images"] == "test"].drop_duplicates("config_id")["verdict"]
    except (KeyError, IndexError) as error:
        raise UserError(f"{folder}: the report's tables lack {error}; run dvc repro report") from None
    row["verdicts"] = ", ".join(f"{count} {verdict}" for verdict, count in sorted(Counter(judged).items()))
    return {name: None if not isinstance(value, str) and pd.isna(value) else value for name, value in row.items()}


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, keep_default_na=True)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} can't be read ({type(error).__name__}); run dvc repro report") from None
