"""Which edits are tried: the arms of params.edit as named configurations, each with the scale of every row.

The paper's three arms scale weight rows alone. The others select units in another way and try every operation of
params.edit.operations on them: ``rows`` and ``rows_bias`` by each factor, ``zero`` and ``mean`` (the unit's output is
replaced by 0 or by its mean over kept train images) once. Where the selection stands in for the paper's, the other
rows are divided by the factor as there; where it is a small set of units, and under zero and mean, they are left alone.
"""

from collections.abc import Iterator

import torch

from emobench.edits.own_arm import own_arm
from emobench.edits.target import Configuration, Target
from emobench.errors import UserError, unknown_name
from emobench.functional.edits import above, row_norms
from emobench.registry import Registry
from emobench.settings.network import file_of

ARMS = Registry("arm")
"""Name -> function of a Target that yields its configurations."""
FAITHFULNESS = ("measured_auprc", "clip_auprc")
"""Held-out faithfulness of a description: against measured concepts, or else against CLIP's scores."""


def configurations(target: Target) -> list[Configuration]:
    """The baseline (all scales one) and then every configuration of the arms asked for, each once.

    Raises:
        UserError: a factor of 0 where 1/factor is needed; weights or similarities that are NaN or of another number of
            units; a column that an arm selects by is missing; an arm's only configuration selects no unit or all.
    """
    layer, count = target.layer, len(target.weight)
    if len(target.units) != count:
        raise UserError(f"layer {layer} has {count} units, the unit table {len(target.units)}; run dvc repro dissect")
    if target.similarity.isnan().any():
        missing = int(target.similarity.isnan().sum())
        raise UserError(f"layer {layer}: {missing} units have no similarity; run dvc repro dissect")
    if not (target.weight.isfinite().all() and target.bias.isfinite().all()):
        raise UserError(f"layer {layer}: weights hold NaN or infinity; run dvc repro baseline, or give other weights")
    found = [Configuration("baseline", "baseline", torch.ones(count))]
    for arm in target.edit.arms:
        cells = list((own_arm(arm) if file_of(arm)[0] else ARMS[arm])(target))
        _refuse_lone_degenerate(target, arm, cells)
        found += cells
    return list({configuration.config_id: configuration for configuration in found}.values())


@ARMS.register("similarity")
def _similarity(target: Target) -> Iterator[Configuration]:
    """The whole grid of thresholds and factors, and the published cell. Neighbours in tau differ in few units."""
    edit = target.edit
    cells = [(tau, factor) for factor in edit.factors for tau in edit.taus]
    for tau, factor in dict.fromkeys([*cells, (edit.paper.tau, edit.paper.factor)]):
        yield target.selection("similarity", above(target.similarity, tau), factor, tau=tau)


@ARMS.register("weight_norm")
def _weight_norm(target: Target) -> Iterator[Configuration]:
    """The rows whose L1 norm is above the mean (the paper's text in section 4.2)."""
    norms = row_norms(target.weight)
    for factor in target.edit.factors:
        yield target.selection("weight_norm", above(norms, float(norms.mean())), factor)


@ARMS.register("proportional")
def _proportional(target: Target) -> Iterator[Configuration]:
    """Every row by its own similarity."""
    return (target.proportional(factor) for factor in target.edit.factors)


@ARMS.register("fdr")
def _fdr(target: Target) -> Iterator[Configuration]:
    """Units whose description is better than chance allows (dissect.fdr); the other rows are divided."""
    selected = target.column("fdr", "significant").to_numpy(bool)
    return target.operations("fdr", torch.tensor(selected), divided=True)


@ARMS.register("accuracy")
def _accuracy(target: Target) -> Iterator[Configuration]:
    """Units whose top images show a class of their concept more often than chance; the other rows are divided."""
    selected = target.column("accuracy", "lift") > 1
    return target.operations("accuracy", torch.tensor(selected.to_numpy()), divided=True)


@ARMS.register("faithfulness")
def _faithfulness(target: Target) -> Iterator[Configuration]:
    """Units whose description predicts their activation on held-out images better than the layer's median does."""
    values = target.column("faithfulness", *FAITHFULNESS)
    selected = values > values.median()
    return target.operations("faithfulness", torch.tensor(selected.to_numpy()), divided=True)


@ARMS.register("description")
def _description(target: Target) -> Iterator[Configuration]:
    """Units of the concepts named in params, or for each class those of its concepts; the other rows are left alone."""
    described = target.column("description", "description")
    wanted = {"named": set(target.edit.concepts)}
    for concept in target.edit.concepts:
        if concept not in set(described):
            raise unknown_name(f"description of any unit of {target.layer}:", concept, sorted(set(described.dropna())))
    if not target.edit.concepts:
        speaks = target.concepts
        wanted = {name: {concept for concept in speaks if name in speaks[concept]} for name in target.classes}
    for name, concepts in wanted.items():
        selected = torch.tensor(described.isin(concepts).to_numpy())
        yield from target.operations("description", selected, divided=False, criterion=f"description:{name}")


@ARMS.register("effect")
def _effect(target: Target) -> Iterator[Configuration]:
    """Units without which fewer val images are right, and units without which their NLL is higher.

    The other rows are left alone. Test images have no part in it.
    """
    costs = {"accuracy": target.effects["delta_accuracy"] < 0, "nll": target.effects["delta_nll"] > 0}
    for name, selected in costs.items():
        mask = torch.tensor(selected.to_numpy())
        yield from target.operations("effect", mask, divided=False, criterion=f"effect:{name}")


def _refuse_lone_degenerate(target: Target, arm: str, cells: list[Configuration]) -> None:
    """In a grid a degenerate cell is a status; alone it can't be what was meant. The published cell is not counted."""
    edit = target.edit
    named = [one for one in cells if one.tau is None or (one.tau in edit.taus and one.factor in edit.factors)]
    if len(named) == 1 and named[0].status == "degenerate":
        selected = f"tau {named[0].tau} and factor {named[0].factor}" if named[0].tau is not None else "what it selects"
        raise UserError(
            f"params: edit: arm {arm} with {selected} holds no unit of {target.layer} or all {len(target.weight)}; "
            "expected another selection"
        )
