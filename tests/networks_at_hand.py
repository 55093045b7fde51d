"""Small networks of many kinds with random weights and BatchNorm statistics, for tests of what works on any network."""

import copy
from functools import cache

import timm
import torch
import torchvision
from torch import nn

from emobench.networks.around import Ordered
from emobench.networks.deep_emotion import DeepEmotion
from emobench.networks.vggnet import VGGNet


class Toy(nn.Module):
    """Reflecting padding, a layer used twice, stride, dilation, groups, no bias, several axes of tokens."""

    def __init__(self):
        super().__init__()
        self.twice = nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect")
        self.wide = nn.Conv2d(3, 8, 3, stride=2, dilation=2, bias=False)
        self.grouped = nn.Conv2d(8, 16, 3, groups=4)
        self.norm = nn.BatchNorm2d(16)
        self.mix = nn.Linear(16, 12, bias=False)
        self.head = nn.Linear(12, 5)

    def forward(self, images):
        x = self.twice(self.twice(images).relu()).tanh()
        x = self.norm(self.grouped(self.wide(x).relu())).relu().flatten(2).transpose(1, 2)
        return self.head(self.mix(x).mean(1).relu())


class MeanOfMaps(nn.Module):
    """A pool padded with minus infinity beside a shortcut; the logits are the mean of a convolution's maps."""

    def __init__(self):
        super().__init__()
        self.first, self.beside = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Conv2d(3, 8, 1, stride=2)
        self.norm, self.last_norm = nn.BatchNorm2d(8), nn.BatchNorm2d(7)
        self.last = nn.Conv2d(8, 7, 3, padding=1)

    def forward(self, images):
        x = nn.functional.pad(self.norm(self.first(images)), (0, 1, 0, 1), value=-torch.inf)
        x = nn.functional.max_pool2d(x, 3, 2) + self.beside(images)
        return nn.functional.avg_pool2d(self.last_norm(self.last(x)), 2).mean((2, 3))


class Branching(nn.Module):
    """Asks its images: no graph."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 6), nn.Linear(6, 5)

    def forward(self, images):
        x = self.first(images).relu().mean((2, 3))
        if float(images.detach().sum()) > -1:
            x = self.second(x).relu()
        return self.head(x)


def vision_transformer():
    return torchvision.models.VisionTransformer(32, 8, 2, 4, 32, 64, num_classes=7)


def reordered(model):
    """Its seven answers in another order, as where a data set names its classes in another one."""
    return Ordered(model, "abcdefg", "gbadfce")


NETWORKS = {
    "vggnet": (lambda: VGGNet(0.1), (1, 40)),
    "vggnet reordered": (lambda: reordered(VGGNet(0.05)), (1, 40)),
    "deep_emotion": (DeepEmotion, (3, 48)),
    "toy": (Toy, (3, 20)),
    "mean of maps": (MeanOfMaps, (3, 20)),
    "mean of maps reordered": (lambda: reordered(MeanOfMaps()), (3, 20)),
    "torchvision vit": (vision_transformer, (3, 32)),
    "timm vit": (lambda: timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=7), (3, 32)),
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=7), (3, 40)),
    "mobilenet": (lambda: torchvision.models.mobilenet_v3_small(num_classes=7), (3, 40)),
    "efficientnet": (lambda: timm.create_model("efficientnet_b0", num_classes=7), (3, 40)),
    "convnext": (lambda: timm.create_model("convnextv2_atto", num_classes=7), (3, 40)),
    "mixer": (lambda: timm.create_model("mixer_s32_224", img_size=64, num_classes=7), (3, 64)),
}
SLOW = {"resnet18", "mobilenet", "efficientnet", "convnext", "mixer"}


def network(name):
    """The network in evaluation mode, not to be changed (torch.export takes seconds), and five images, the same."""
    model, images = _made(name)
    return model, images.clone()


@cache
def _made(name):
    build, (channels, side) = NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build().eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for values, (low, high) in (
                    (module.running_mean, (-0.2, 0.2)), (module.running_var, (0.5, 1.5)),
                    (module.weight.data, (-0.3, 1.5)), (module.bias.data, (-0.2, 0.2)),
                ):  # fmt: skip
                    values.uniform_(low, high)
        # Some heads start at zero: then nothing would show.
        model.apply(_filled)
        return model, torch.rand(5, channels, side, side)


def _filled(module):
    if isinstance(module, nn.Linear) and not module.weight.any():
        nn.init.normal_(module.weight)


def edited_answer(model, weight, scale, inputs, bias=None, shift=None):
    """The logits of a copy whose rows are scaled, and whose bias is replaced if there is a shift."""
    edited = copy.deepcopy(model)
    parameters = dict(edited.named_parameters())
    with torch.no_grad():
        parameters[weight] *= scale.reshape(-1, *[1] * (parameters[weight].ndim - 1))
        if shift is not None:
            parameters[bias].copy_(shift)
        return edited(inputs)


def off(came, expected):
    """The largest difference, relative to the largest logit."""
    return float((came - expected).abs().max() / expected.abs().max())
