"""What a run differs in from the reference that git holds, and whether it matters.

Other processors round otherwise, and a network trained in other digits is another network: numbers move. What matters
is another setting, another count of images, units or edits, another verdict, and an accuracy or a share of significant
units that moved by more than luck (p below a level after Holm's correction for all that moved).
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from statsmodels.stats.proportion import proportions_ztest

from emobench.comparison import reports as sides
from emobench.comparison.diff import compare
from emobench.comparison.listing import listing
from emobench.comparison.reports import Source
from emobench.contracts import flat
from emobench.errors import UserError
from emobench.functional.paired import holm
from emobench.layout import Layout
from emobench.reporting.results import IMAGE_SETS

COLUMNS = ("what", "reference", "here", "p", "matters")
DISSECTION = ["layer", "concept_set", "similarity_fn"]
ACCURACIES = [f"{network}_{images}_accuracy" for network in ("baseline", "chosen", "paper") for images in IMAGE_SETS]


@dataclass
class Difference:
    """One thing that differs; ``p`` where luck was tested, before any correction."""

    what: str
    reference: Any
    here: Any
    p: float | None = None
    matters: bool = True


@dataclass
class Differences:
    """All that differs, how much was compared, and notes."""

    name: str
    rows: list[Difference] = field(default_factory=list)
    compared: int = 0
    digits: int = 0
    verdicts: int = 0

    @property
    def matters(self) -> bool:
        """Whether anything that differs matters."""
        return any(row.matters for row in self.rows)

    def text(self, form: str) -> str:
        """As table, md or json."""
        rows = [asdict(row) for row in self.rows]
        if form == "json":
            return listing([asdict(self) | {"rows": rows, "matters": self.matters}], ["name", "matters", "compared",
                           "digits", "verdicts", "rows"], "json")  # fmt: skip
        said = "something that matters differs" if self.matters else "nothing that matters differs"
        head = f"{self.name}, from its reference to here: {said}"
        more = f"{self.verdicts} verdicts are compared; {self.digits} of {self.compared} numbers moved in their digits"
        for row in rows:
            row |= {"p": None if row["p"] is None else f"{row['p']:.3g}", "matters": "yes" if row["matters"] else "no"}
        return "\n\n".join([head, *([listing(rows, COLUMNS, form)] if rows else []), more])


def differences(name: str, root: Path = Path(), *, level: float = 0.05) -> Differences:
    """Compares reports/<name>/ with reports/reference/<name>/.

    Raises:
        UserError: one of them has no results, or can't be read.
    """
    layout = Layout(name, root)
    if not layout.reference.is_dir():
        known = sorted(path.name for path in layout.reference.parent.glob("*/"))
        raise UserError(f"{name} has no reference in {layout.reference.parent}; known: {', '.join(known) or 'none'}")
    before, after = sides.of_folder(layout.reference), sides.of_folder(layout.reports)
    found = Differences(name)
    found.rows += [*_settings(layout), *_metrics(before, after, found), *_verdicts(layout, found), *_units(layout)]
    tested = [row for row in found.rows if row.p is not None]
    for row, p in zip(tested, holm([row.p or 0.0 for row in tested]), strict=True):
        row.matters = p < level
    found.rows.sort(key=lambda row: not row.matters)
    return found


def _settings(layout: Layout) -> Iterator[Difference]:
    """Keys of params.yaml that have another value."""
    paths = layout.reference / "params.yaml", layout.root / "params.yaml"
    if not all(path.is_file() for path in paths):
        return
    old, new = (_keys(yaml.safe_load(path.read_text(encoding="utf-8"))) for path in paths)
    # Of another benchmark's params.yaml, that is in use now, nothing follows.
    if old.get("name") == new.get("name"):
        for key in sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key)):
            yield Difference(f"params: {key}", old.get(key), new.get(key))


def _keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that hold anything; of an empty section its keys, once there are some, tell."""
    return {key: value for key, value in flat(values).items() if value != {}}


def _metrics(before: Source, after: Source, found: Differences) -> Iterator[Difference]:
    """Counts of images, accuracies that moved with their test; all else moved in its digits only."""
    (old,), (new,) = before.sides.values(), after.sides.values()
    common = old.metrics.keys() & new.metrics.keys()
    moved = {name for name in common if not math.isclose(old.metrics[name], new.metrics[name], rel_tol=1e-5)}
    counts = {name for name in moved if name.startswith("audit_")}
    found.compared, found.digits = len(common), len(moved - counts)
    for name in sorted(counts):
        yield Difference(name, old.metrics[name], new.metrics[name])
    if wanted := [name for name in ACCURACIES if name in common]:
        for row in compare(before, after, patterns=wanted).rows:
            yield Difference(row["metric"], row["before"], row["after"], row.get("p", 1.0))


def _verdicts(layout: Layout, found: Differences) -> Iterator[Difference]:
    """What was concluded on the edits of each arm, by the rule that chose them and the images."""
    old, new = (_table(folder, "verdicts") for folder in (layout.reference, layout.reports))
    found.verdicts = len(new)
    before, after = _concluded(old), _concluded(new)
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            what = f"verdicts of {key[1]} on {key[2]} (chosen on {key[0]})"
            yield Difference(what, before.get(key, "not judged"), after.get(key, "not judged"))


def _concluded(verdicts: pd.DataFrame) -> dict[tuple[str, str, str], str]:
    """How many edits of an arm got which verdict."""
    groups = verdicts.groupby(["selected_on", "arm", "images"])["verdict"]
    counts = {(str(rule), str(arm), str(images)): Counter(rows) for (rule, arm, images), rows in groups}
    return {key: ", ".join(f"{n} {verdict}" for verdict, n in sorted(found.items())) for key, found in counts.items()}


def _units(layout: Layout) -> Iterator[Difference]:
    """Units of each layer, and how many are significantly described, as two shares."""
    old, new = (_table(folder, "layers").set_index(DISSECTION) for folder in (layout.reference, layout.reports))
    for key in old.index.symmetric_difference(new.index):
        made = {True: "made", False: "not made"}
        yield Difference(f"dissection {' '.join(key)}", made[key in old.index], made[key in new.index])
    for key in old.index.intersection(new.index):
        before, after = (dict(side.loc[key, ["num_units", "num_significant"]].astype(int)) for side in (old, new))
        name, units = " ".join(key), [before["num_units"], after["num_units"]]
        counts = [before["num_significant"], after["num_significant"]]
        if units[0] != units[1]:
            yield Difference(f"units of {name}", units[0], units[1])
        elif counts[0] != counts[1]:
            p = float(proportions_ztest(counts, units)[1])
            texts = [f"{count} of {units[0]}" for count in counts]
            yield Difference(f"significant units of {name}", texts[0], texts[1], p)


def _table(folder: Path, name: str) -> pd.DataFrame:
    path = folder / f"{name}.csv"
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} can't be read ({type(error).__name__}); run dvc repro report") from None
