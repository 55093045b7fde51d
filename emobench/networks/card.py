"""What a folder says of its network: where it came from, what it takes and puts out, and its layers."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emobench.errors import unknown_name
from emobench.quantities import WrongError
from emobench.stored import checked, read_json, reading

FILE = "network.json"


@dataclass(frozen=True)
class InputCard:
    """What a network takes, and how stored pictures become that.

    Pictures are turned to ``channels``, resized to ``size / crop`` and cropped in the centre to ``size``; grey values
    0 to 255 become ``range``, then ``mean`` is taken off and ``std`` divides, where given.
    """

    channels: int
    size: tuple[int, int]
    range: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: str = "bilinear"
    crop: float = 1.0


@dataclass(frozen=True)
class LayerCard:
    """A layer with units.

    Attributes:
        name: its parameters' name without ``.weight``.
        kind: ``conv1d``, ``conv2d``, ``conv3d``, ``depthwise``, ``grouped`` or ``linear``.
        units: rows of the weight.
        axis: where the units are in the outputs: 1 (convolutions) or -1 (linear layers).
        grid: (height, width) of the outputs; empty if there is none.
        tokens: outputs an image where they are a sequence; 0 else.
        prefix: how many of the first tokens stand for no part of the image (cls, registers).
        weight: the weight's name in the state dict.
        bias: the bias's name, None without one.
        calls: how often a forward pass uses the layer; an edit changes all of them.
        products: multiplications for an image, all calls together.
        way: how edits are evaluated: ``quick`` (only what changes, up to the next linear layer), ``cut`` (what follows
            the layer) or ``whole`` (all of the network).
    """

    name: str
    kind: str
    units: int
    axis: int
    grid: tuple[int, ...]
    tokens: int
    prefix: int
    weight: str
    bias: str | None
    calls: int
    products: int
    way: str


@dataclass(frozen=True)
class NetworkCard:
    """A network without its weights.

    Attributes:
        architecture: as in params: ``vggnet``, ``timm/NAME``, ``FILE.py:FUNCTION``, ...
        options: for its builder.
        weights: sha256 of the weights.
        input: what it takes.
        classes: names of the answers, in their order: the data set's, where it was joined with one.
        agrees: whether two passes over the same images gave the same logits.
        layers: in the order of computation.
        output: which of several outputs holds the logits; None if there is one.
        digest: sha256 that a ``.pt2`` file must have.
        outputs: names of what the model itself puts out, in its order, if that is not ``classes``; empty if it is.
        recorded: names of the layers that params chose, in the order of computation; empty stands for all.
        whole: why the network has no graph, so that all of it runs for every edit; empty if it has one.
        hooked: whether hooks on its modules see what all layers put out, so that recording needs no graph.
    """

    architecture: str
    options: dict[str, Any]
    weights: str
    input: InputCard
    classes: tuple[str, ...]
    agrees: bool
    layers: tuple[LayerCard, ...]
    output: str | int | None = None
    digest: str | None = None
    outputs: tuple[str, ...] = ()
    recorded: tuple[str, ...] = ()
    whole: str = ""
    hooked: bool = False

    @property
    def output_layer(self) -> str | None:
        """The layer whose units are the outputs; None if there is none."""
        last = self.layers[-1] if self.layers else None
        return last.name if last and last.units == len(self.outputs or self.classes) and not last.grid else None

    @property
    def chosen(self) -> tuple[LayerCard, ...]:
        """The layers that params chose."""
        return tuple(layer for layer in self.layers if not self.recorded or layer.name in self.recorded)

    @property
    def editable(self) -> tuple[LayerCard, ...]:
        """The chosen layers that an edit may take: all but the outputs."""
        return tuple(layer for layer in self.chosen if layer.name != self.output_layer)

    def layer(self, name: str) -> LayerCard:
        """A layer's card.

        Raises:
            UserError: there is no such layer.
        """
        known = {layer.name: layer for layer in self.layers}
        if name not in known:
            raise unknown_name("layer", name, known)
        return known[name]

    def to_json(self) -> dict[str, Any]:
        """For ``network.json``."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "NetworkCard":
        """The inverse of ``to_json``. Raises TypeError or KeyError for anything else."""
        known = dict(values)
        known["input"] = InputCard(**{name: _tuple(value) for name, value in known["input"].items()})
        known["layers"] = tuple(
            LayerCard(**{name: _tuple(value) for name, value in layer.items()}) for layer in known["layers"]
        )
        names = {name: tuple(known.get(name, ())) for name in ("classes", "outputs", "recorded")}
        return cls(**known | names)

    @classmethod
    def read(cls, folder: Path) -> "NetworkCard":
        """Reads ``network.json``.

        Raises:
            UserError: there is none, or it is no card.
        """
        path = Path(folder) / FILE
        called = "is not a network's card"
        values = read_json(path, "network", called=called)
        with reading(path, "network", called):
            card = checked(cls.from_json(values), cls)
            _check(card)
        return card


def _check(card: NetworkCard) -> None:
    """What no single value shows. Raises WrongError."""
    taken, names = card.input, [layer.name for layer in card.layers]
    if len(taken.size) != 2 or min(taken.size) < 1 or taken.channels < 1 or not 0 < taken.crop <= 1:
        raise WrongError(f"its input is {taken.channels} channels of {taken.size} pixels, cropped to {taken.crop}")
    if taken.std is not None and not all(taken.std):
        raise WrongError("input.std has a 0, which would divide")
    for name in ("mean", "std"):
        if len(getattr(taken, name) or (0,)) not in (1, taken.channels):
            raise WrongError(f"input.{name} has {len(getattr(taken, name))} numbers for {taken.channels} channels")
    if len(set(names)) < len(names) or not set(card.recorded) <= set(names) or min(map(len, names), default=1) < 1:
        raise WrongError("a layer stands twice, or one was recorded that is none")
    if len(set(card.classes)) < max(len(card.classes), 2):
        raise WrongError("a class stands twice, or there are fewer than two")
    for layer in card.layers:
        if layer.units < 1 or layer.axis not in (1, -1) or layer.way not in ("quick", "cut", "whole"):
            raise WrongError(f"layer {layer.name} has {layer.units} units on axis {layer.axis}, way {layer.way}")


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
