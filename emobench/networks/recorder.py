"""Recording the units of any layers, those inside functions too, from the network's graph in one pass with its logits.

Units are pooled over everything but images: over space after a convolution, over the image's own tokens after a linear
layer (never the cls token and registers), or the cls token alone. A layer that is used several times is pooled over its
uses as well.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from emobench.errors import UserError, unknown_name
from emobench.functional.pooling import pool as pooled
from emobench.networks.card import LayerCard
from emobench.networks.graph import ExportError, capture
from emobench.networks.layers import image_axis, layers_of, unit_layers
from emobench.networks.network import Network, module_of
from emobench.networks.program import Program
from emobench.networks.whole import unit_modules

POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "avg": lambda values: values.mean(1),
    "max": lambda values: values.amax(1),
}
TOKENS = ("mean", "cls")
Keep = Callable[[LayerCard, Tensor, int | str], Tensor]
"""What is kept of a layer's output, of which its card and where the images are in it are known."""


class Recorder:
    """``recorder(inputs)`` gives logits and layer -> (images, units).

    Args:
        model: in evaluation mode; or a Network, whose card may save a look at its graph.
        layers: names, as ``unit_layers`` has them.
        example: what the network takes, at least one image.
        pool: ``avg`` or ``max`` over space; ``max`` over tokens too, ``avg`` as ``tokens`` says.
        tokens: ``mean`` of the image's own tokens, or the ``cls`` token.

    Raises:
        UserError: no such layer, pool or token.
    """

    def __init__(
        self,
        model: nn.Module | Network,
        layers: Sequence[str],
        example: Tensor,
        pool: str = "avg",
        tokens: str = "mean",
    ) -> None:
        self._model, self._pool, self._tokens = module_of(model), pool, tokens
        if pool not in POOLS:
            raise unknown_name("pool", pool, POOLS)
        if tokens not in TOKENS:
            raise unknown_name("tokens", tokens, TOKENS)
        hooked = model.layers if isinstance(model, Network) and model.card.hooked else ()
        cards = {card.name: card for card in hooked or unit_layers(self._model, example)}
        for layer in layers:
            if layer not in cards:
                raise unknown_name("layer", layer, cards)
            if tokens == "cls" and cards[layer].tokens and not cards[layer].prefix:
                raise UserError(f"layer {layer} has no cls token; expected tokens: mean")
        self._cards = {layer: cards[layer] for layer in layers}
        self._program: Program | None = None
        self._axes: list[int | str] = []
        if hooked:
            return
        try:
            program = capture(self._model, example)
        except ExportError:
            return
        known = layers_of(program)
        self._sites = [(layer, site) for layer in layers for site in known[layer].sites]
        seen = _with_outputs(program, [site for _, site in self._sites])
        nodes = [program.node(site) for _, site in self._sites]
        axes = [image_axis(node, program.images) for node in nodes]
        plain: list[int | str] = [axis for axis in axes if axis is not None]
        self._axes = plain if len(plain) == len(axes) else self._unfolded(seen, example, axes)
        self._program = None if self._by_modules(example) else seen

    @property
    def hooked(self) -> bool:
        """Whether hooks on modules record, and not the graph."""
        return self._program is None

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits (images, classes), and layer -> (images, units)."""
        logits, pooled = self._run(inputs, lambda card, value, axis: self._pooled(card, value, axis, len(inputs)))
        join = torch.amax if self._pool == "max" else torch.mean
        return logits, {
            layer: uses[0] if len(uses) == 1 else join(torch.stack(uses), 0) for layer, uses in pooled.items()
        }

    @torch.no_grad()
    def values(self, inputs: Tensor) -> dict[str, Tensor]:
        """Layer -> everything that its units put out (values, units): of all images, places, tokens and uses."""
        _, found = self._run(inputs, lambda card, value, axis: value.movedim(card.axis, -1).flatten(0, -2))
        return {layer: torch.cat(uses) for layer, uses in found.items()}

    def _run(self, inputs: Tensor, keep: Keep) -> tuple[Tensor, dict[str, list[Tensor]]]:
        """Logits, and what ``keep`` makes of each use of each layer."""
        found: dict[str, list[Tensor]] = {layer: [] for layer in self._cards}
        if self._program is not None:
            logits, *values = self._program(inputs)
            for (layer, _), value, axis in zip(self._sites, values, self._axes, strict=True):
                found[layer].append(keep(self._cards[layer], value, axis))
            return logits, found
        modules = unit_modules(self._model)

        def watch(layer: str) -> Callable:
            def seen(module: nn.Module, args: Any, output: Tensor) -> None:
                # At once: what comes next may work in place (ReLU), and a pass that keeps no value uses less memory.
                kept = keep(self._cards[layer], output.detach(), 0)
                shared = kept.untyped_storage().data_ptr() == output.untyped_storage().data_ptr()
                found[layer].append(kept.clone() if shared else kept)

            return seen

        handles = [modules[layer].register_forward_hook(watch(layer)) for layer in self._cards]
        try:
            return self._model(inputs), found
        finally:
            for handle in handles:
                handle.remove()

    @torch.no_grad()
    def _by_modules(self, example: Tensor) -> bool:
        """Whether hooks on modules see just the same; then the network itself runs, which is quicker than its graph."""
        if any(axis != 0 for axis in self._axes) or not self._cards.keys() <= unit_modules(self._model).keys():
            return False
        _, seen = self._run(example, lambda card, value, axis: value)
        calls = {layer: [len(value) for value in uses] for layer, uses in seen.items()}
        return all(calls[name] == [len(example)] * card.calls for name, card in self._cards.items())

    def _pooled(self, card: LayerCard, value: Tensor, axis: int | str, images: int) -> Tensor:
        """(images, units)."""
        if value.ndim == 4 and card.axis == 1 and axis == 0:
            return pooled(value, self._pool)
        value = value.movedim(card.axis, -1)
        if axis == "last":
            value = value.reshape(-1, images, value.shape[-1]).transpose(0, 1)
        elif isinstance(axis, int):
            # What stood before the units keeps its order when they move.
            value = value.movedim(axis, 0)
        value = value.reshape(images, -1, value.shape[-1])
        if value.shape[1] == 1:
            return value[:, 0]
        if card.tokens and self._tokens == "cls":
            return value[:, 0]
        return POOLS[self._pool](value[:, card.prefix :])

    @torch.no_grad()
    def _unfolded(self, program: Program, example: Tensor, axes: list[int | None]) -> list[int | str]:
        """Whether images that are folded with tokens or windows come first or last: one image against two.

        Raises:
            UserError: neither.
        """
        generator = torch.Generator().manual_seed(0)
        pair = torch.rand(2, *example.shape[1:], generator=generator).to(example.device)
        both, alone = program(pair)[1:], program(pair[:1])[1:]
        found: list[int | str] = []
        for (layer, _), axis, two, one in zip(self._sites, axes, both, alone, strict=True):
            if axis is None:
                half = {"first": two[: len(two) // 2], "last": two[::2]}
                fits = [where for where, rows in half.items() if torch.allclose(rows, one, rtol=1e-3, atol=1e-4)]
                if len(two) != 2 * len(one) or not fits:
                    raise UserError(f"layer {layer} mixes its images with something else; it can't be recorded")
                found.append(fits[0])
            else:
                found.append(axis)
        return found


def seen_by_hooks(model: nn.Module, layers: Sequence[str], example: Tensor) -> bool:
    """Whether hooks on modules see all that these layers put out."""
    try:
        return bool(layers) and Recorder(model, layers, example).hooked
    except UserError:
        return False


def _with_outputs(program: Program, sites: Sequence[str]) -> Program:
    """The same program that puts out the values of some nodes as well."""
    graph = fx.Graph()
    known: dict[fx.Node, fx.Node] = {}
    for node in program.graph.nodes:
        if node.op != "output":
            known[node] = graph.node_copy(node, known.__getitem__)
        else:
            named: Mapping[str, fx.Node] = {old.name: new for old, new in known.items()}
            graph.output((known[node.args[0]], *(named[site] for site in sites)))
    return Program(graph, program.tensors, program.images)
