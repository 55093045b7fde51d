"""What differs between two results, and whether a loss of accuracy is more than luck.

Differences are after minus before. Where the predictions of both are at hand for the same images, the test is the exact
McNemar test and intervals are paired bootstrap ones; elsewhere accuracies are compared as two independent proportions
(z-test, Newcombe's interval), which on the same images finds fewer differences. No p-value is corrected for the others.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest

from emobench.comparison import mlflow_runs as run_sides
from emobench.comparison import reports as sides
from emobench.comparison.listing import listing
from emobench.comparison.metric_names import MEASURED, NETWORKS, place_of, wanted_metric
from emobench.comparison.reports import Side, Source
from emobench.errors import UserError
from emobench.functional.paired import mcnemar, paired_bootstrap
from emobench.revisions import git
from emobench.tracking.tracker import store_uri

DRAWS, SEED = 2000, 0
COLUMNS = ("benchmark", "metric", "before", "after", "difference", "low", "high", "p", "test")
RUN_ID = re.compile(r"(?:runs:/)?([0-9a-f]{32})/?")


@dataclass
class Comparison:
    """What was compared, and how it differs.

    ``lost``: what the reports before have and those after lack; ``rows``: a metric that moved (see COLUMNS);
    ``notes``: what else is to be said; ``regression``: whether an accuracy got worse; ``compared`` counts the metrics,
    moved or not.
    """

    before: str
    after: str
    lost: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    regression: bool = False
    compared: int = 0

    def note(self, text: str) -> None:
        """Says something once."""
        if text not in self.notes:
            self.notes.append(text)

    def text(self, form: str) -> str:
        """All of it as table, md or json."""
        if form == "json":
            return json.dumps(self._values(), indent=2)
        rows = self._for_people()
        table = [listing(rows, list(rows[0]), form)] if rows else []
        return "\n\n".join([f"from {self.before} to {self.after}: {self._summary()}", *table, *self.notes])

    def _summary(self) -> str:
        """The result in a few words."""
        if not self.rows:
            return f"none of {self.compared} metrics moved"
        worse = "an accuracy got worse by more than luck explains" if self.regression else "no significant loss"
        return f"{len(self.rows)} of {self.compared} metrics moved, {worse}"

    def _values(self) -> dict[str, Any]:
        """All of it for a program. Without a test, low, high, p and test are null."""
        rows = [{name: row.get(name) for name in COLUMNS} for row in self.rows]
        head = {"from": self.before, "to": self.after, "compared": self.compared, "regression": self.regression}
        head |= {"lost": self.lost}
        return head | {"differences": rows, "notes": self.notes}

    def _for_people(self) -> list[dict[str, Any]]:
        """The rows with a signed difference and the interval in one column."""
        return [
            {
                **{name: row[name] for name in COLUMNS[:4]},
                "difference": f"{row['difference']:+.5f}",
                "interval": f"{row['low']:+.4f} to {row['high']:+.4f}" if "low" in row else None,
                "p": f"{row['p']:.3g}" if "p" in row else None,
                "test": row.get("test"),
            }
            for row in self.rows
        ]


def source(name: str, root: Path) -> Source:
    """Finds out what a name means: a report folder, an MLflow run or a git revision, in this order.

    Args:
        name: a folder of one benchmark (reports/demo) or of several; a run's id, alone or as runs:/ID; or a revision.
        root: the repository.

    Raises:
        UserError: none of these, or one without results.
    """
    if (root / name).is_dir():
        return sides.of_folder(root / name)
    if run := RUN_ID.fullmatch(name):
        return run_sides.of_run(run[1], store_uri(root))
    found = None if name.startswith("runs:") else git(root, "rev-parse", "--verify", "--quiet", name + "^{commit}")
    if found is None:
        raise UserError(
            f"{name!r} is nothing to compare; expected a report folder (reports/demo), a git revision (HEAD~1), "
            "or an MLflow run (32 hex digits, or runs:/ID)"
        )
    return sides.of_revision(name, found.decode().strip(), root)


def compare(before: Source, after: Source, *, patterns: Sequence[str] = (), level: float = 0.05) -> Comparison:
    """Compares what two sources have in common.

    Args:
        before: where the metrics moved from.
        after: where they moved to.
        patterns: of metric names (``*_accuracy``); without any, the usual metrics on test and those of the concepts.
        level: an accuracy that fell with a smaller p-value is a regression; intervals cover 1 - level.

    Raises:
        UserError: nothing in common, or no metric of such a name.
    """
    result, hidden = Comparison(before.words, after.words), 0
    for pair in _pairs(before, after, level, result):
        common = sorted(pair.before.metrics.keys() & pair.after.metrics.keys(), key=place_of)
        wanted = [name for name in common if wanted_metric(name, patterns)]
        # A dissection's run has none of the usual metrics.
        wanted = common if not wanted and not patterns else wanted
        result.compared += len(wanted)
        if before.whole and after.whole:
            gone = pair.before.metrics.keys() - pair.after.metrics.keys()
            usual = [
                name
                for name in sorted(gone, key=place_of)
                if MEASURED.fullmatch(name) and wanted_metric(name, patterns)
            ]
            result.lost += [f"{pair.benchmark}: {name}" for name in usual]
        for name in (name for name in wanted if pair.moved(name)):
            result.rows.append(pair.row(name, result))
        hidden += sum(pair.moved(name) for name in common if name not in wanted)
    if not result.compared:
        if result.lost:
            raise UserError(lost_in_words(result))
        what = f"no metric of both is named {' or '.join(patterns)}" if patterns else "no metric in common"
        known = sorted({name for side in before.sides.values() for name in side.metrics if wanted_metric(name, ())})
        raise UserError(f"{before.words} and {after.words}: {what}; known, among others: {', '.join(known) or 'none'}")
    if hidden:
        result.note(f"{hidden} other metrics moved too; --metric '*' shows them")
    return result


def lost_in_words(compared: Comparison) -> str:
    """The line on what is missing after."""
    more = f" and {len(compared.lost) - 4} more" if len(compared.lost) > 4 else ""
    return f"{compared.after} lacks what {compared.before} has: {', '.join(compared.lost[:4])}{more}"


def _pairs(before: Source, after: Source, level: float, result: Comparison) -> list["_Pair"]:
    """The benchmarks of both; where each source has one, these two, whatever they are called."""
    if len(before.sides) == len(after.sides) == 1:
        ((_, old_side),), ((name, new_side),) = before.sides.items(), after.sides.items()
        pairs = [_Pair(name, old_side, new_side, level)]
    else:
        pairs = [
            _Pair(name, side, after.sides[name], level) for name, side in before.sides.items() if name in after.sides
        ]
        result.lost += [f"benchmark {name}" for name in sorted(before.sides.keys() - after.sides.keys())]
        for name in sorted(before.sides.keys() ^ after.sides.keys()):
            result.note(f"benchmark {name} is only in {(before if name in before.sides else after).words}")
    if not pairs:
        raise UserError(f"no benchmark in common: {'; '.join(result.notes)}")
    for pair in pairs:
        for words, side in ((before.words, pair.before), (after.words, pair.after)):
            if side.limited:
                result.note(f"{pair.benchmark} in {words} was made with data.limit: no number counts")
        for name, old in pair.before.networks.items():
            if (new := pair.after.networks.get(name, old)) != old:
                result.note(f"{pair.benchmark}: the {NETWORKS.get(name, 'network')} was {old}, is {new}")
    return pairs


@dataclass(frozen=True)
class _Pair:
    """Two results of one benchmark."""

    benchmark: str
    before: Side
    after: Side
    level: float

    def moved(self, name: str) -> bool:
        """Whether a metric changed by more than rounding: tables in git have 6 significant digits."""
        return not math.isclose(self.before.metrics[name], self.after.metrics[name], rel_tol=1e-5)

    def row(self, name: str, result: Comparison) -> dict[str, Any]:
        """A metric that moved, with its test if there is one."""
        old, new = self.before.metrics[name], self.after.metrics[name]
        row: dict[str, Any] = {"benchmark": self.benchmark, "metric": name, "before": old, "after": new}
        row["difference"] = new - old
        if not (measured := MEASURED.fullmatch(name)):
            return row
        network, images, metric = measured[1] or "", measured[2], measured[3]
        row |= self._paired(network, images, metric)
        if metric == "accuracy":
            if "test" not in row:
                row |= self._unpaired(images, old, new)
                why = " ".join(dict.fromkeys(filter(None, (self.before.why, self.after.why))))
                how = "tested as independent proportions" if "test" in row else "not tested, the images aren't counted"
                result.note(f"{self.benchmark}: {how}: {why or 'the predictions at hand are of other images'}")
            result.regression |= new < old and row.get("p", 1) < self.level
        return row

    def _paired(self, network: str, images: str, metric: str) -> dict[str, Any]:
        """Test and interval on the same images; nothing without the answers of both."""
        old, new = self.before.answers, self.after.answers
        was, became = self.before.networks.get(network), self.after.networks.get(network)
        if old is None or new is None or was is None or became is None or not old.same_images(new, images):
            return {}
        answered, (edited, _) = old.of(was, images), new.of(became, images)
        before, labels, after = (torch.from_numpy(values) for values in (*answered, edited))
        intervals = paired_bootstrap(
            labels, before, after, draws=DRAWS, confidence=1 - self.level, seed=SEED, class_names=old.classes
        )
        if metric not in intervals:
            return {}
        row = {"low": intervals[metric].low, "high": intervals[metric].high, "test": "paired"}
        return row | ({"p": mcnemar(before == labels, after == labels).p_value} if metric == "accuracy" else {})

    def _unpaired(self, images: str, old: float, new: float) -> dict[str, Any]:
        """The two accuracies as independent proportions; nothing where the number of images is unknown."""
        if images not in self.before.sizes or images not in self.after.sizes:
            return {}
        sizes = (self.before.sizes[images], self.after.sizes[images])
        right = (round(old * sizes[0]), round(new * sizes[1]))
        low, high = confint_proportions_2indep(
            right[1], sizes[1], right[0], sizes[0], method="newcomb", compare="diff", alpha=self.level
        )
        return {"low": low, "high": high, "p": float(proportions_ztest(right, sizes)[1]), "test": "unpaired"}
