"""The face-expression network of the npm package @vladmandic/face-api (1.7.15, MIT).

A network that a user brings to emobench: ``architecture: examples/networks/face_api.py:face_expression``. Its published
weights are a binary file beside a manifest; this turns them into what emobench reads:

    python examples/networks/face_api.py face_expression_model-weights_manifest.json face_api.safetensors

Input: RGB, 112x112, values in [0, 255] less the mean, divided by 255. Classes: neutral, happy, sad, angry, fearful,
disgusted, surprised.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


def same_padding(x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """Pads as TensorFlow's "same" does: an odd row or column goes to the bottom and to the right."""
    pads = []
    for size in (x.shape[-1], x.shape[-2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


class Conv(nn.Module):
    """A 3x3 convolution, plain or depthwise then pointwise, padded as in TensorFlow."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, plain: bool = False) -> None:
        super().__init__()
        self.stride = stride
        if plain:
            self.full = nn.Conv2d(inputs, outputs, 3, stride)
        else:
            self.depthwise = nn.Conv2d(inputs, inputs, 3, stride, groups=inputs, bias=False)
            self.pointwise = nn.Conv2d(inputs, outputs, 1)
        self.plain = plain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(images, inputs, height, width) to (images, outputs, height / stride, width / stride)."""
        x = same_padding(x, 3, self.stride)
        return self.full(x) if self.plain else self.pointwise(self.depthwise(x))


class DenseBlock(nn.Module):
    """Four convolutions, each of the sum of all before it."""

    def __init__(self, inputs: int, outputs: int, plain: bool) -> None:
        super().__init__()
        self.conv0 = Conv(inputs, outputs, stride=2, plain=plain)
        self.conv1, self.conv2, self.conv3 = (Conv(outputs, outputs) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Halves height and width."""
        first = torch.relu(self.conv0(x))
        second = self.conv1(first)
        third = self.conv2(torch.relu(first + second))
        fourth = self.conv3(torch.relu(first + second + third))
        return torch.relu(first + second + third + fourth)


class FaceExpression(nn.Module):
    """Four dense blocks, the mean over 7x7, and a linear layer."""

    def __init__(self, num_classes: int = 7) -> None:
        super().__init__()
        sizes = [(3, 32), (32, 64), (64, 128), (128, 256)]
        for number, (inputs, outputs) in enumerate(sizes):
            self.add_module(f"dense{number}", DenseBlock(inputs, outputs, plain=number == 0))
        self.fc = nn.Linear(256, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (images, classes) of images (images, 3, 112, 112)."""
        x = self.dense3(self.dense2(self.dense1(self.dense0(images))))
        return self.fc(F.avg_pool2d(x, 7, 2).flatten(1))


TAKES = {
    "channels": 3, "size": (112, 112), "mean": (122.782 / 255, 117.001 / 255, 104.298 / 255), "std": (1.0, 1.0, 1.0),
}  # fmt: skip


def face_expression(num_classes: int = 7) -> tuple[nn.Module, dict[str, object]]:
    """What emobench calls: the network, and what it takes."""
    return FaceExpression(num_classes), TAKES


def read_manifest(path: Path) -> dict[str, torch.Tensor]:
    """All arrays of a TensorFlow.js manifest, by name; bytes are unpacked to floats (value * scale + min)."""
    arrays = {}
    for group in json.loads(path.read_text()):
        content = b"".join((path.parent / name).read_bytes() for name in group["paths"])
        offset = 0
        for entry in group["weights"]:
            packed = entry.get("quantization")
            kind = np.dtype(packed["dtype"] if packed else entry["dtype"])
            count = int(np.prod(entry["shape"]))
            values = np.frombuffer(content, kind, count, offset).astype(np.float32)
            offset += count * kind.itemsize
            if packed:
                values = (values * packed["scale"] + packed["min"]).astype(np.float32)
            arrays[entry["name"]] = torch.from_numpy(values.reshape(entry["shape"]))
    return arrays


def state_from_arrays(arrays: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict from the manifest's arrays."""
    state = {}
    for name, values in arrays.items():
        block, _, rest = name.partition("/")
        if block == "fc":
            state[f"fc.{'weight' if rest == 'weights' else 'bias'}"] = (
                values.T.contiguous() if values.ndim == 2 else values
            )
            continue
        conv, _, part = rest.partition("/")
        if part == "depthwise_filter":
            state[f"{block}.{conv}.depthwise.weight"] = values.permute(2, 3, 0, 1).contiguous()
        elif part == "pointwise_filter":
            state[f"{block}.{conv}.pointwise.weight"] = values.permute(3, 2, 0, 1).contiguous()
        elif part == "filters":
            state[f"{block}.{conv}.full.weight"] = values.permute(3, 2, 0, 1).contiguous()
        else:
            plain = f"{block}/{conv}/filters" in arrays
            state[f"{block}.{conv}.{'full' if plain else 'pointwise'}.bias"] = values
    return state


if __name__ == "__main__":
    from safetensors.torch import save_file

    save_file(state_from_arrays(read_manifest(Path(sys.argv[1]))), sys.argv[2])
