"""One layer's edits on blocks of images: what is computed once for a block, and what for each configuration."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx

from emobench.errors import UserError
from emobench.networks.affine import affine_matrix, reordered
from emobench.networks.cut import Cut, WholeCut, joined, placeholder
from emobench.networks.front import front_of
from emobench.networks.layers import depends_on
from emobench.networks.program import Program
from emobench.sweeps.planning import Group

PREFIX_BATCH = 64
GROUP_CONFIGS = 512
TERMS_BYTES = 2**28


@dataclass(frozen=True)
class Block:
    """What doesn't depend on the edit, of some images.

    ``rising`` are the layer's bias-free outputs, pooled where a max-pool follows: for scales that are not negative;
    ``falling`` for the others if that differs, ``base`` what is added. (units, positions, images) before a linear
    operation, else as in the network. ``live`` is what the rest needs besides.
    """

    images: int
    rising: Tensor
    falling: Tensor | None
    base: Tensor | None
    live: tuple[Any, ...]


class PlainRun:
    """All that follows the layer runs for every configuration."""

    changes, last = False, False

    def __init__(self, cut: Cut | WholeCut, layer: str) -> None:
        self.cut, self.layer = cut, layer

    def cached(self, batch: Tensor) -> tuple:
        """What doesn't depend on the edit."""
        live = self.cut.prefix(batch)
        _refuse_nan(self.layer, *(value for value in live if isinstance(value, Tensor)))
        return live

    def logits(self, live: tuple, scales: Tensor, shifts: Tensor, changed: list) -> Iterator[Tensor]:
        """Logits (images, classes) of each configuration."""
        for scale, shift in zip(scales, shifts, strict=True):
            yield self.cut.suffix(live, {self.layer: scale}, {self.layer: shift})


class FrontRun:
    """What follows the layer in two: its front in one form, and the rest of the network.

    Attributes:
        changes: whether configurations that differ in few units from the one before are quicker: a linear operation
            takes the units' values.
        last: that operation gives the logits.
    """

    def __init__(self, cut: Cut, layer: str) -> None:
        self.cut, self.layer, self.units = cut, layer, cut.units[layer]
        after = cut.after
        start = after.node(cut.edited[layer])
        self.front = front_of(
            after, start, torch.ones_like(cut.bias[layer]), cut.axis[layer], depends_on(after, [start])
        )
        self.changes = self.front.linear is not None
        self._raw = start.args[1].name
        self._names = [node.name for node in after.graph.nodes if node.op == "placeholder"]
        entry = linear = after.node(self.front.linear or self.front.end)
        order = None
        if self.changes and (found := reordered(linear)) is not None:
            entry, order = found
        self._entry = entry.meta["sizes"]
        self.rest, self._needed = rest_of(after, entry)
        self.last = self.changes and all(user.op == "output" for user in entry.users) and len(self._entry) == 2
        if self.changes:
            weight, bias = self._weight(after, linear)
            weight, self._bias = (weight, bias) if order is None else (weight[order], bias[order])
            # (units, positions of a unit, outputs)
            self._columns = weight.T.contiguous().reshape(self.units, -1, len(weight))

    def _weight(self, after: Program, linear: fx.Node) -> tuple[Tensor, Tensor]:
        """Weight (outputs, units * positions) and bias (outputs,) of the linear operation."""
        if self.front.affine:
            value = after.node(self.front.end)
            weights, bias = affine_matrix(rest_of(after, value)[0], value.meta["sizes"])
            return weights.movedim(self.front.axis, 1).flatten(1), bias
        weight = after.tensors[linear.args[1].target].flatten(1)
        bias = linear.args[2] if len(linear.args) > 2 else None
        return weight, weight.new_zeros(len(weight)) if bias is None else after.tensors[bias.target]

    def cached(self, batch: Tensor) -> Block:
        """What doesn't depend on the edit."""
        live = self._live(batch)
        outputs = live[self._raw]
        _refuse_nan(self.layer, outputs)
        rising, falling, front = outputs, None, self.front
        for move in front.moves:
            if move.name == "aten.permute.default":
                rising, falling = move(rising), None if falling is None else move(falling)
            elif falling is None:
                # Pooling takes the largest where the unit's factor is positive, and the smallest where it is not.
                high, low = move(rising), -move(-rising)
                positive = (front.gain >= 0)[:, None, None]
                rising, falling = torch.where(positive, high, low), torch.where(positive, low, high)
            else:
                positive = (front.gain >= 0)[:, None, None]
                rising, falling = (
                    torch.where(positive, move(rising), -move(-rising)),
                    torch.where(positive, -move(-falling), move(falling)),
                )
        base = sum((live[name] for name in front.bases[1:]), live[front.bases[0]]) if front.bases else None
        if self.changes:
            rising = self._units_first(rising)
            falling, base = (None if value is None else self._units_first(value) for value in (falling, base))
        return Block(len(batch), rising, falling, base, tuple(live[name] for name in self._needed))

    def logits(self, block: Block, scales: Tensor, shifts: Tensor, changed: list) -> Iterator[Tensor]:
        """Logits (images, classes) of each configuration; ``changed`` are the units that differ from the last one."""
        values = self._linear(block, scales, shifts, changed) if self.changes else self._outputs(block, scales, shifts)
        for value in values:
            yield self.rest(*block.live, value)

    def group_logits(self, block: Block, group: Group, scales: Tensor) -> Tensor:
        """Logits (configs, images, classes) of a group's configurations; ``scales`` are theirs."""
        start = self._active(block, *group.base)
        base = torch.addmm(self._bias.unsqueeze(-1), self._columns.flatten(0, 1).T, start.flatten(0, 1))
        total = base.reshape(1, -1).repeat(len(scales), 1)
        terms = start.new_empty(self.units, *base.shape)
        for index, other in enumerate(group.others):
            # What each unit adds to each logit where it takes this value.
            change, columns = self._active(block, *other).sub_(start), self._columns.transpose(1, 2)
            product = torch.mul if change.shape[1] == 1 else torch.bmm
            product(*((change, columns) if change.shape[1] == 1 else (columns, change)), out=terms)
            for some, sums in zip(scales.split(GROUP_CONFIGS), total.split(GROUP_CONFIGS), strict=True):
                sums.addmm_(group.coefficients(some, index), terms.flatten(1))
        return total.reshape(-1, *base.shape).transpose(1, 2)

    def groups_fit(self, images: int) -> bool:
        """Whether the terms of a group have room."""
        return self.last and 4 * self.units * len(self._bias) * images <= TERMS_BYTES

    @property
    def weights(self) -> int:
        """How many numbers the linear operation has that takes the units' values; 0 without one."""
        return self._columns.numel() if self.changes else 0

    @cached_property
    def image_bytes(self) -> int:
        """What is kept of an image, about."""
        nodes = [node for node in self.cut.after.graph.nodes if node.op == "placeholder" and node.meta["sizes"]]
        kept = {self._raw, *self.front.bases, *self._needed}
        sizes = [node.meta["sizes"] for node in nodes if node.name in kept]
        return max(1, 4 * sum(map(math.prod, sizes)) // sizes[0][0]) if sizes else 1

    def _live(self, batch: Tensor) -> dict[str, Any]:
        """The values before the cut by name. In parts that fit the caches, if all of them have the images first."""
        names, kinds = self._names[: len(self.cut.kinds)], self.cut.kinds
        kept = {self._raw, *self.front.bases, *self._needed}
        wanted = [index for index, name in enumerate(names) if name in kept]
        kinds = [kinds[index] for index in wanted]
        size = len(batch) if "other" in kinds else PREFIX_BATCH
        parts = []
        for part in batch.split(size):
            live = self.cut.prefix(part)
            parts.append(tuple(live[index] for index in wanted))
        values = parts[0] if len(parts) == 1 else joined(parts, kinds)
        return dict(zip((names[index] for index in wanted), values, strict=True))

    def _units_first(self, values: Tensor) -> Tensor:
        """(images, ..., units, ...) to (units, positions, images): then the outputs of some units lie together."""
        moved = values.movedim(self.front.axis, 1)
        return moved.reshape(*moved.shape[:2], -1).permute(1, 2, 0).contiguous()

    def _active(
        self, block: Block, scale: Tensor, shift: Tensor, out: Tensor | None = None, rows: Any = slice(None)
    ) -> Tensor:
        """The front's value, for some or all units."""
        front = self.front
        gain, offset, scale, shift = front.gain[rows], front.offset[rows], scale[rows], shift[rows]
        shape = (-1, 1, 1) if self.changes else [-1 if axis == front.axis else 1 for axis in range(front.ndim)]
        outputs = block.rising[rows] if self.changes else block.rising
        if block.falling is not None and (scale < 0).any():
            falling = block.falling[rows] if self.changes else block.falling
            outputs = torch.where((scale < 0).reshape(shape), falling, outputs)
        # Separate passes over a block that fits the cache: torch has vectorised loops for each of them, not for all.
        value = torch.mul(outputs, (scale * gain).reshape(shape), out=out).add_((gain * shift + offset).reshape(shape))
        if block.base is not None:
            value += block.base[rows] if self.changes else block.base
        for act in front.acts:
            value = value.relu_() if act.name == "aten.relu.default" else act(value)
        return value.mean(1, keepdim=True) if front.mean and self.changes else value

    def _outputs(self, block: Block, scales: Tensor, shifts: Tensor) -> Iterator[Tensor]:
        buffer = torch.empty_like(block.rising)
        for scale, shift in zip(scales, shifts, strict=True):
            yield self._active(block, scale, shift, out=buffer)

    def _linear(self, block: Block, scales: Tensor, shifts: Tensor, changed: list) -> Iterator[Tensor]:
        """The linear operation's output for each configuration: (images, outputs), the same memory every time."""
        bias = self._bias.unsqueeze(-1)
        total, buffer = bias.new_empty(len(bias), block.images), torch.empty_like(block.rising)
        for config, rows in enumerate(changed):
            if rows is None:
                active = self._active(block, scales[config], shifts[config], out=buffer)
                torch.addmm(bias, self._columns.flatten(0, 1).T, active.flatten(0, 1), out=total)
            elif len(rows):
                change = self._active(block, scales[config], shifts[config], rows=rows)
                change -= self._active(block, scales[config - 1], shifts[config - 1], rows=rows)
                total.addmm_(self._columns[rows].flatten(0, 1).T, change.flatten(0, 1))
            yield total.T.reshape(block.images, *self._entry[1:])


def _refuse_nan(layer: str, *values: Tensor) -> None:
    if any(value.isnan().any() for value in values):
        raise UserError(f"layer {layer} gives NaN; the network's weights or its inputs are broken")


def rest_of(after: Program, entry: fx.Node) -> tuple[Program, list[str]]:
    """The program from a node's value to the logits, and the names of the other values that it takes, in order."""
    needed, todo = set(), [next(node for node in after.graph.nodes if node.op == "output")]
    while todo:
        for source in todo.pop().all_input_nodes:
            if source not in needed:
                needed.add(source)
                todo += [] if source is entry else [source]
    graph, known = fx.Graph(), {}
    inputs = [node for node in after.graph.nodes if node.op == "placeholder" and node in needed]
    for node in (*inputs, entry):
        known[node] = placeholder(graph, node)
    for node in after.graph.nodes:
        if node.op == "output":
            graph.output(known[node.args[0]])
        elif node in needed and node not in known:
            known[node] = graph.node_copy(node, known.__getitem__)
    return Program(graph, after.tensors, after.images), [node.name for node in inputs]
