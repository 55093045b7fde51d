"""Truth planted in a trained network, and what the edits' own machinery makes of it: does it find what is there?

Planted in is the network's last linear layer but one, so that what comes before it is computed once. Arms, searches,
family, controls and verdicts are those of the stages edit and compare; only the image set is test alone. Controls
are drawn for those edits only that are better by the test: of the others no control changes the verdict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emobench.edits.arms import configurations
from emobench.edits.controls import accompanied
from emobench.edits.cross_fitted import SEES_LABELS
from emobench.edits.drawing import run_controls
from emobench.edits.experiment import EFFECT_IMAGES, unit_effects
from emobench.edits.family import corrected_tests, family, may_improve
from emobench.edits.measuring import Bench, joined
from emobench.edits.search import SearchImages, search_edits
from emobench.edits.target import Configuration, Target, layer_bias, layer_weight, unit_table
from emobench.edits.verdicts import Predictions, verdicts
from emobench.errors import UserError
from emobench.faces.imageset import ImageSet
from emobench.networks.network import Network
from emobench.settings.edit import Edit
from emobench.settings.results import Compare

BATCH = 256


class Head(nn.Module):
    """The last two linear layers of a network, with a ReLU between them, under their own names."""

    def __init__(self, names: Sequence[str], weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.names = tuple(names)
        for name in names:
            units, inputs = weights[f"{name}.weight"].shape
            self.add_module(name, nn.Linear(inputs, units))
        self.load_state_dict({name: value.clone() for name, value in weights.items()})

    def forward(self, features: Tensor) -> Tensor:
        """Logits (images, classes) of what the first of them gets (images, inputs)."""
        first, last = (self.get_submodule(name) for name in self.names)
        return last(F.relu(first(features)))


@dataclass(frozen=True)
class Ground:
    """What truth is planted in: a network's head and what it gets for the kept val and test images.

    ``features`` (images, inputs); ``labels`` (images,) int64; ``positions``: image set -> positions among the images;
    ``copies`` (images,): see SearchImages; ``units``: units.parquet; ``concepts``: the classes that each speaks for.
    """

    head: Network
    layer: str
    features: Tensor
    labels: Tensor
    positions: dict[str, np.ndarray]
    copies: np.ndarray
    units: pd.DataFrame
    concepts: Mapping[str, Sequence[str]]

    @property
    def weight(self) -> Tensor:
        """Of the layer: (units, inputs)."""
        return layer_weight(self.head, self.layer)

    @property
    def layers(self) -> Head:
        """The head's layers."""
        model = self.head.model
        assert isinstance(model, Head)
        return model

    def with_weight(self, weight: Tensor) -> "Ground":
        """The same with another weight of the layer."""
        state = self.head.model.state_dict() | {f"{self.layer}.weight": weight}
        return replace(self, head=Network(Head(self.layers.names, state).eval(), self.head.card))

    @torch.no_grad()
    def right(self, images: str) -> np.ndarray:
        """Which answers of the network as it is are right (images of the set,) bool."""
        at = torch.from_numpy(self.positions[images])
        return (self.head.model(self.features[at]).argmax(1) == self.labels[at]).numpy()


@dataclass(frozen=True)
class Judged:
    """What was judged: the verdicts on test, and the configuration of each edit by its name."""

    verdicts: pd.DataFrame
    edits: dict[str, Configuration]


@torch.no_grad()
def ground_of(
    network: Network, imageset: ImageSet, units: pd.DataFrame, concepts: Mapping[str, Sequence[str]]
) -> Ground:
    """Takes the head off a trained network and computes what it gets.

    Args:
        network: in evaluation mode.
        imageset: its kept val and test images are used.
        units: units.parquet.
        concepts: the classes that each concept speaks for.

    Raises:
        UserError: the network doesn't end in two linear layers with nothing but a ReLU between them.
    """
    cards = network.layers[-2:]
    names = [card.name for card in cards]
    if [(card.kind, card.bias is None) for card in cards] != [("linear", False)] * 2:
        raise UserError(
            f"the last layers are {', '.join(names)}; planting needs two linear ones with a bias at the end"
        )
    state = network.model.state_dict()
    head = Head(names, {key: state[key] for card in cards for key in (card.weight, card.bias) if key}).eval()
    rows = np.concatenate([imageset.rows(split) for split in ("val", "test")])
    seen: list[Tensor] = []
    handle = network.model.get_submodule(names[0]).register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        logits = network.logits(imageset.images, rows, BATCH)
    finally:
        handle.remove()
    features = torch.cat(seen).cpu()
    answers = head(features) if features.ndim == 2 else features
    if answers.shape != logits.shape or not torch.allclose(answers, logits, rtol=1e-4, atol=1e-4):
        raise UserError(f"between {' and '.join(names)} there is more than a ReLU; planting needs a plain head")
    border = len(imageset.rows("val"))
    none, places = np.arange(0), np.arange(len(rows))
    positions = {"val": places[:border], "test": places[border:], "test_noleaks": none, "val_test": none}
    index = imageset.index.iloc[rows]
    copies, _ = pd.factorize(index["duplicate_of"].fillna(index["image_id"]))
    card = replace(network.card, layers=cards, recorded=())
    labels = torch.from_numpy(imageset.labels[rows])
    return Ground(Network(head, card), names[0], features, labels, positions, copies, units, concepts)


def judge(ground: Ground, edit: Edit, compare: Compare, *, seed: int) -> Judged:
    """Everything that the stages edit and compare do on one layer, on this ground.

    Args:
        ground: the network, with whatever was planted.
        edit: which arms and searches; its operation ``mean`` is left out, joint searches too.
        compare: draws and confidence of the bootstrap.
        seed: of searches, controls and bootstrap.
    """
    target = target_of(ground, edit)
    configs = [*configurations(target), *_searched(ground, edit, seed)]
    bench = Bench(ground.head, target, ground.features, ground.labels, ground.positions, {})
    logits = bench.logits(configs)
    edits = bench.measured(configs, logits)
    members = family(edits.table, edit.paper)
    better = improved(ground, members, dict(zip(edits.config_ids, edits.predictions, strict=True)))
    telling = members[members["config_id"].isin(better)]
    controls, _ = run_controls(bench, accompanied(telling, configs), edits, logits[0], seed=seed)
    measured, names = joined([edits, *controls]), ["baseline", *dict.fromkeys(members["config_id"])]
    kept = logits[[edits.config_ids.index(name) for name in names]].numpy()
    predictions = Predictions(
        measured.config_ids, measured.predictions, names, kept, ground.labels.numpy(), ground.positions,
        ground.head.classes,
    )  # fmt: skip
    by_name = {one.config_id: one for one in configs}
    found = verdicts(measured.table, predictions, compare, edit, seed)
    return Judged(found, {name: by_name[name] for name in names[1:]})


def target_of(ground: Ground, edit: Edit) -> Target:
    """The layer with all that arms select by; the units are left out one by one only if an arm asks for it."""
    val, layer = torch.from_numpy(ground.positions["val"]), ground.layer
    some = val[torch.linspace(0, len(val) - 1, min(EFFECT_IMAGES, len(val))).long()]
    effects = pd.DataFrame()
    if SEES_LABELS in edit.arms:
        effects = unit_effects(
            ground.head, layer, ground.features[some], ground.labels[some], memory_gib=edit.memory_gib
        )
    weight, bias, table = ground.weight, layer_bias(ground.head, layer), unit_table(edit, layer, ground.units)
    return Target(edit, layer, weight, bias, None, table, effects, ground.head.classes, ground.concepts)


def answers_of(ground: Ground, edit: Edit) -> np.ndarray:
    """What the baseline and then every configuration of the arms answers: (1 + configs, images) uint8.

    Without searches, and without configurations that select no unit or all.
    """
    target = target_of(ground, edit)
    configs = [one for one in configurations(target) if one.status == "ok"]
    logits = Bench(ground.head, target, ground.features, ground.labels, ground.positions, {}).logits(configs)
    return logits.argmax(-1).numpy().astype(np.uint8)


def improved(ground: Ground, members: pd.DataFrame, answers: Mapping[str, np.ndarray]) -> set[str]:
    """The members of a family that are better than the baseline on test by Holm's p below LEVEL."""
    at = ground.positions["test"]
    labels, names = ground.labels.numpy()[at], list(dict.fromkeys(members["config_id"]))
    before = answers["baseline"][at] == labels
    tests = corrected_tests(before, {name: answers[name][at] == labels for name in names})
    return {name for name, test in tests.items() if may_improve(*test)}


def _searched(ground: Ground, edit: Edit, seed: int) -> list[Configuration]:
    """What the searches in this layer find on val."""
    if not edit.search.kinds:
        return []
    at = ground.positions["val"]
    images = SearchImages(ground.features[at], ground.labels[at], ground.copies[at])
    found, _ = search_edits(edit, ground.head, images, [ground.layer], edit.search.kinds, ground.units, seed=seed)
    return [one.configuration() for one in found]
