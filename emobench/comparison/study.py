"""A study: one question put to several finished benchmarks, from their reports alone."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import yaml

from emobench import contracts
from emobench.comparison.claim import TIERS, Pool, as_if_independent, by_data, pool, pooled_row, signs, tier, told
from emobench.comparison.listing import listing
from emobench.comparison.members import Member, read_member, report_folder
from emobench.edits.family import LEVEL
from emobench.errors import UserError
from emobench.files import replacing, write_csv, write_json
from emobench.reporting.figures.forest import forest
from emobench.schema import Float, Mistakes, Str, parse, settings, within

SHELF = "study"
"""Below reports/: where studies are written."""
FEWEST = 3
"""Benchmarks on the same images that are pooled for themselves too: of two, Student's interval says nothing."""


@settings
class Asked:
    """Which edit of each benchmark: the published cell of its arm (``paper``), or the arm's best on ``val``."""

    arm: Str
    selected_on: Literal["val", "paper"]


@settings
class Study:
    """A study's file. ``margin``: the least gain worth having, in points."""

    name: Str
    question: Str
    benchmarks: list[Str]
    edit: Asked
    images: Literal["test", "test_noleaks"]
    margin: Annotated[Float, within(0, 100)]
    confidence: Annotated[Float, within(0.5, 0.999)]


@dataclass(frozen=True)
class Answer:
    """What a study found: rows of benchmarks and of pools, and ``claim``, for people in ``lines``."""

    benchmarks: list[dict[str, Any]]
    pools: list[dict[str, Any]]
    claim: dict[str, Any]
    lines: list[str]


def load_study(path: Path) -> Study:
    """Reads a study's file.

    Raises:
        UserError: no such file, not YAML, or a key that is unknown, missing, of another type or out of range.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(
            f"{path} can't be read as YAML ({type(error).__name__}); expected a study, as studies/*.yaml"
        ) from None
    try:
        study = parse(Study, values)
    except Mistakes as error:
        raise UserError(f"{path}: {str(error).removeprefix('params: ')}") from None
    if not study.benchmarks or len(set(study.benchmarks)) < len(study.benchmarks):
        raise UserError(f"{path}: benchmarks are {study.benchmarks}; expected at least one, each once")
    return study


def contract_of(study: Study) -> dict[str, Any]:
    """What is asked of which benchmarks, and the rules that answer it."""
    rules = {"level": LEVEL, "tiers": TIERS, "told": "own verdict, and Holm's method over the study's benchmarks"}
    return contracts.flat({"study": asdict(study), "rules": rules})


def run_study(study: Study, reports: Path) -> Answer:
    """Writes the study's contract, then reads the reports, and writes what they say together.

    Args:
        study: what is asked.
        reports: the folder with the reports; the answer lies below it in study/<name>/.

    Raises:
        UserError: none of the benchmarks has such an edit, or a report can't be read.
    """
    folder = reports / SHELF / study.name
    contracts.sealed(folder, contract_of(study))
    members, missing = _members(study, reports)
    answer = _answer(study, members, missing, contracts.in_words(contracts.known(folder), contract_of(study)))
    write_csv(folder / "benchmarks.csv", pd.DataFrame(answer.benchmarks))
    write_csv(folder / "pooled.csv", pd.DataFrame(answer.pools))
    write_json(folder / "claim.json", answer.claim)
    drawn = [row for row in answer.pools if "points" in row and "independent" not in row["scope"]]
    picture = forest(answer.benchmarks, drawn, study.margin, study.confidence)
    with replacing(folder / "forest.svg") as temporary:
        temporary.write_text(picture.svg)
    with replacing(folder / "README.md") as temporary:
        temporary.write_text(_page(study, answer, picture.caption))
    return answer


def _members(study: Study, reports: Path) -> tuple[list[Member], dict[str, str]]:
    """The benchmarks that have such an edit, and why the others have not."""
    members, missing = [], {}
    for name in study.benchmarks:
        folder = report_folder(reports, name)
        if folder is None:
            missing[name] = "not run yet"
        elif (member := read_member(folder, **asdict(study.edit), image_set=study.images)) is None:
            missing[name] = f"no edit of arm {study.edit.arm} was judged"
        else:
            members.append(member)
    if not members:
        why = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        raise UserError(f"study {study.name}: none of its benchmarks below {reports} can answer ({why})")
    return members, missing


def _answer(study: Study, members: list[Member], missing: dict[str, str], contract: str) -> Answer:
    said, groups = told(members), by_data(members)
    every = pool("all", members, study.confidence)
    large = {name: group for name, group in groups.items() if len(group) >= FEWEST}
    parts = [pool(f"images of {name}", group, study.confidence) for name, group in large.items()]
    data = {member.name: name for name, group in groups.items() for member in group}
    weights = dict(zip([one.name for one in every.members], every.found.weights if every.found else [], strict=False))
    rows = [
        _row(member, data[member.name], *one, weights.get(member.name))
        for member, one in zip(members, said, strict=True)
    ]
    pools = [pooled_row(one) for one in (*parts, every)]
    if (plain := as_if_independent(members, study.confidence)) is not None:
        points: dict[str, float] = dict(zip(("points", "low", "high"), (100 * value for value in plain), strict=True))
        pools.append({"scope": "all, as if independent", "benchmarks": len(every.members), **points})
    highest = 100 * every.found.high if every.found else None
    found = tier([name for name, _ in said], len(study.benchmarks), highest, study.margin)
    claim: dict[str, Any] = {
        "question": study.question,
        "edit": asdict(study.edit),
        "images": study.images,
        "tier": found,
    }
    claim |= {"rule": TIERS[found], "margin": study.margin, "listed": len(study.benchmarks), "missing": missing}
    claim |= {"told": {name: [one for one, _ in said].count(name) for name in ("improves", "harms", "no evidence")}}
    claim |= {"signs": signs(members), "pooled": pooled_row(every), "contract": contract}
    return Answer(rows, pools, claim, _lines(study, members, every, claim, groups))


def _row(member: Member, data: str, said: str, p: float, weight: float | None) -> dict[str, Any]:
    own, (gains, losses) = member.verdict, member.counts
    row: dict[str, Any] = {
        "benchmark": member.name,
        "network": member.network,
        "images_of": data,
        "images": member.images,
    }
    row |= {"config_id": own["config_id"], "gains": gains, "losses": losses, "points": 100 * own["delta_accuracy"]}
    row |= {"low": 100 * own["ci_low_accuracy"], "high": 100 * own["ci_high_accuracy"]}
    row |= {"detectable_points": own.get("detectable_points"), "mcnemar_p": own["mcnemar_p"], "study_p": p}
    return row | {"verdict": own["verdict"], "told": said, "weight": weight, "contract": member.contract}


def _lines(
    study: Study, members: list[Member], every: Pool, claim: dict[str, Any], groups: dict[str, list[Member]]
) -> list[str]:
    """The answer in sentences."""
    up, down, even = claim["signs"].values()
    there = (
        f"{len(members)} of {len(study.benchmarks)} benchmarks" if claim["missing"] else f"{len(members)} benchmarks"
    )
    lines = [f"{study.question} {claim['tier'].capitalize()}, on {there}: {claim['rule']}."]
    lines += ["By benchmark: " + ", ".join(f"{count} {name}" for name, count in claim["told"].items() if count) + "."]
    lines += [f"Accuracy on test rises on {up}, falls on {down} and stays on {even}."]
    if every.found is not None:
        row = pooled_row(every)
        lines += [
            f"Pooled over {row['benchmarks']} that change an answer: {row['points']:+.2f} points, "
            f"{study.confidence:.0%} interval {row['low']:+.2f} to {row['high']:+.2f}; the next network's difference "
            f"may lie from {row['new_low']:+.2f} to {row['new_high']:+.2f}. A gain of {study.margin:g} points is worth "
            "having."
        ]
    shared = [f"{len(group)} on the images of {name}" for name, group in groups.items() if len(group) > 1]
    if shared:
        ways = {"measured": every.measured, "the largest that gains and losses allow": every.bounded}
        known = " and ".join(f"{count} {way}" for way, count in ways.items() if count) or "none needed"
        lines += [
            f"Not independent: {', '.join(shared)}; covariances of their differences: {known}. What is bounded makes "
            "the interval rather too wide. Networks on the same images say how networks differ, not what other faces "
            "would show."
        ]
    for reason in dict.fromkeys(claim["missing"].values()):
        lines.append(f"Not there, {reason}: {', '.join(n for n, why in claim['missing'].items() if why == reason)}.")
    return [*lines, f"Contract of this study: {claim['contract']}."]


def _page(study: Study, answer: Answer, caption: str) -> str:
    columns = ["benchmark", "network", "images_of", "gains", "losses", "points", "low", "high", "study_p", "told"]
    rounded = [
        {name: round(value, 3) if isinstance(value, float) else value for name, value in row.items()}
        for row in answer.benchmarks
    ]
    table = listing(rounded, [*columns, "contract"], "md")
    head = f"# {study.question}\n" + "\n".join(f"{line}\n" for line in answer.lines)
    edit = f"arm {study.edit.arm}, selected on {study.edit.selected_on}"
    made = f"Made with `emobench study` from the reports. The edit: {edit}."
    return f"{head}\n![{caption}](forest.svg)\n\n{caption}\n\n{table}\n\n{made}\n"
