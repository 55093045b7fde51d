"""The result in plain words: is the best edit better than the baseline, by how much, and is that luck?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from emobench.contracts import CHANGED
from emobench.edits.contract import contract_in_words
from emobench.edits.family import LEVEL
from emobench.reporting import tables
from emobench.reporting.published import PUBLISHED_EDIT_ACCURACY
from emobench.reporting.results import Results
from emobench.reporting.words import describe, signed
from emobench.settings.results import CROSS_FITTED


@dataclass(frozen=True)
class Answer:
    """The result in plain words: one leading sentence, more of them, and a few numbers (value, what it is)."""

    lead: str
    more: list[str]
    numbers: list[tuple[str, str]]


def answer(results: Results) -> Answer:
    """Whether the best edit differs from luck, the accuracies, and what the paper's edit does."""
    base = results.config(results.baseline_id)["accuracy"]
    count = int(results.confusion(results.baseline_id).sum())
    measured = f"the network gets {base:.2%} of the {count:,} test images right"
    numbers = [(f"{base:.2%}", "baseline, test")]
    if not results.params.edit.asked:
        return dissection_alone(results, measured, numbers)
    if results.chosen_id is None:
        return Answer(f"No edit can be judged; {measured}.", ["Each one selected no unit or all of them."], numbers)
    verdict = tables.verdict_of(results, results.chosen_id)
    edited, points = results.config(results.chosen_id), 100 * verdict["delta_accuracy"]
    low, high = 100 * verdict["ci_low_accuracy"], 100 * verdict["ci_high_accuracy"]
    interval = f"{results.params.compare.confidence:.0%} interval {signed(low)} to {signed(high)}"
    numbers += [
        (f"{edited['accuracy']:.2%}", "best edit, test"),
        (signed(points), f"points of difference; {interval}"),
        (f"p = {verdict['mcnemar_p']:.2g}", "exact McNemar test of the best edit"),
    ]
    on_test = results.verdicts[results.verdicts["images"] == "test"]
    more = [
        f"The edit that did best on the validation images ({describe(edited)}): {signed(points)} points, "
        f"{verdict['gains']:.0f} images gained and {verdict['losses']:.0f} lost.",
        luck(verdict, int(on_test["config_id"].nunique())),
        unseen(verdict, count),
    ]
    if results.paper_id is not None:
        more.append(paper_sentence(results, results.paper_id))
    more += [controls_sentence(results, verdict), folds_sentence(results), second_look(results)]
    on_test = results.verdicts[results.verdicts["images"] == "test"]
    lead = f"{conclusion(on_test, verdict)}: {measured}, with the best edit on validation {edited['accuracy']:.2%}."
    return Answer(lead, [sentence for sentence in more if sentence], numbers)


def dissection_alone(results: Results, measured: str, numbers: list[tuple[str, str]]) -> Answer:
    """What can be said where no edit was asked for: how many units are described by more than chance.

    Args:
        results: the benchmark.
        measured: how good the network is, in words.
        numbers: of the network, to which those of its units are added.
    """
    edit = results.params.edit
    layers = tables.of_dissection(results.layers, edit.concept_set, edit.similarity_fn)
    units, found = int(layers["num_units"].sum()), int(layers["num_significant"].sum())
    best = layers.loc[layers["prop_significant"].idxmax()]
    more = [
        f"Of {units:,} units in {len(layers)} layers {found:,} follow a concept of {edit.concept_set} by more than "
        f"chance ({edit.similarity_fn}, false discovery rate {results.params.dissect.fdr:g}); most of layer "
        f"{best['layer']}: {best['prop_significant']:.0%}.",
        "Whether changing these units helps was not asked: edit.arms is empty, and there are no searches.",
    ]
    told = [*numbers, (f"{found:,}", "units described by more than chance"), (f"{units:,}", "units")]
    return Answer(f"No edit was asked for; {measured}.", more, told)


def conclusion(verdicts: pd.DataFrame, chosen: Mapping[str, Any]) -> str:
    """The answer in a few words, from the verdicts on test.

    Args:
        verdicts: of all judged edits on test.
        chosen: the row of the edit that did best on val.
    """
    if chosen["verdict"] == "improves":
        return "The edit that did best on validation helps, by more than luck and its controls explain"
    improving = verdicts[verdicts["verdict"] == "improves"]
    if len(improving):
        best = improving.sort_values("accuracy", ascending=False).iloc[0]
        return f"An edit helps by more than luck and its controls explain ({best['config_id']}: {best['accuracy']:.2%})"
    if chosen["verdict"] == "harms":
        return "Even the edit that did best on validation harms"
    if chosen["gains"] + chosen["losses"] == 0:
        return "No edit helps"
    if chosen["holm_p"] < LEVEL:
        return "The gain of the best edit can't be told from that of its controls"
    return "No edit makes a difference that can be told from luck"


def luck(verdict: Mapping[str, Any], tested: int) -> str:
    """Whether a difference can be told from luck, in words; the p-value is corrected for ``tested`` edits."""
    if verdict["gains"] + verdict["losses"] == 0:
        return "It answers every image as the baseline does: no edit that changes an answer did better on validation."
    p = verdict["mcnemar_p"]
    often = "in fewer than 1 of 1,000 cases" if p < 0.001 else f"in {100 * p:.2g} of 100 cases"
    often = often if p < 0.995 else "every time"
    if verdict["holm_p"] >= LEVEL:
        head = "That can't be told from luck"
    else:
        head = f"That is {'better' if verdict['gains'] > verdict['losses'] else 'worse'} by more than luck explains"
    return (
        f"{head}: two equally good networks would be split at least this unevenly {often}. Corrected for the {tested} "
        f"edits tested, p = {verdict['holm_p']:.2g}. Verdict: {verdict['verdict']}"
        f"{': ' + verdict['why'] if verdict['why'] else ''}."
    )


def unseen(verdict: Mapping[str, Any], images: int) -> str:
    """Which gains the test could not have found, in words; nothing where it found a difference.

    Args:
        verdict: of one edit.
        images: how many there are.
    """
    changed = int(verdict["gains"] + verdict["losses"])
    if verdict["verdict"] != "no evidence" or not changed:
        return ""
    if pd.isna(verdict["detectable"]):
        return (
            f"No evidence either way: on only {changed} of the {images:,} images one network is right and the other "
            "wrong, and no gain of an edit that changes so few could have been seen."
        )
    return (
        f"No evidence; a gain below {verdict['detectable_points']:.2g} points could not have been seen: on {changed} "
        "images one network is right and the other wrong, and the test finds a gain among so many in 80 of 100 cases "
        f"from {verdict['detectable']:.0f} images on."
    )


def second_look(results: Results) -> str:
    """Says if params, splits or rules changed after the test was first read; empty where not, or not noted."""
    words = contract_in_words(results.params, results.layout)
    return f"Not a first look at these test images: contract {words}." if CHANGED in words else ""


def controls_sentence(results: Results, verdict: Mapping[str, Any]) -> str:
    """Where the edit stands among its random controls, in words; nothing without controls."""
    if pd.isna(verdict["control_p"]):
        return ""
    uniform, worse = verdict["uniform_accuracy"], verdict["control_percentile"]
    return (
        f"Of {verdict['control_draws']:.0f} edits that do the same to units drawn at random, with the same search, "
        f"{worse:.0f} % do worse on test; "
        f"the best factor for all rows alike reaches {uniform:.2%}. "
        f"{results.evaluated:,} configurations were evaluated in all, most of them for controls."
    )


def folds_sentence(results: Results) -> str:
    """What choosing by folds of val and test together gives, in words; nothing where it wasn't asked for."""
    rows = results.verdicts[results.verdicts["selected_on"] == CROSS_FITTED]
    if rows.empty:
        return ""
    row, ends = rows.iloc[0], ("delta", "ci_low", "ci_high")
    points, low, high = (signed(100 * row[f"{end}_accuracy"]) for end in ends)
    why = f" ({row['why']})" if row["why"] else ""
    return (
        "Chosen by folds of validation and test images together, each image judged by a choice that never saw it: "
        f"{points} points ({low} to {high}), {row['gains']:.0f} images gained and {row['losses']:.0f} lost, "
        f"p = {row['mcnemar_p']:.2g}. Verdict: {row['verdict']}{why}."
    )


def paper_sentence(results: Results, paper_id: str) -> str:
    """What the paper's own edit does by the paper's own protocol, beside what was published where that compares."""
    base, edited = (results.config(name, "val_test")["accuracy"] for name in (results.baseline_id, paper_id))
    sentence = (
        f"The paper's edit ({describe(results.config(paper_id))}), measured the paper's way on validation and "
        f"test images together, takes {base:.2%} to {edited:.2%} ({signed(100 * (edited - base))} points)"
    )
    if results.published is not None:
        sentence += f"; published: {results.published:.2%} to {PUBLISHED_EDIT_ACCURACY:.2%}"
    return sentence + "."
