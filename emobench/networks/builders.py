"""Architectures by name: each gives a model with as many outputs as there are classes, and what it takes by default."""

import difflib
import inspect
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from emobench.errors import UserError
from emobench.files import file_digest
from emobench.networks.card import InputCard
from emobench.networks.deep_emotion import DeepEmotion
from emobench.networks.vggnet import INPUT_SIZE, VGGNet
from emobench.own_code import own_function, telling
from emobench.registry import Registry

BUILDERS = Registry("network architecture")
"""By the part before the slash: (name after it, options, classes) -> (model, what it takes)."""
IMAGENET = InputCard(3, (224, 224), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
LOADING_RUNS_CODE = "loading a .pt2 file can run code that it carries"

Built = tuple[nn.Module, InputCard]


def built(architecture: str, options: Mapping[str, Any], classes: int, digest: str | None = None) -> Built:
    """A model with random weights, and what it takes.

    Args:
        architecture: ``vggnet``, ``deep_emotion``, ``torchvision/NAME``, ``timm/NAME``, ``FILE.py:FUNCTION`` or
            ``FILE.pt2``.
        options: for the builder.
        classes: how many outputs.
        digest: sha256 of a ``.pt2`` file.

    Raises:
        UserError: no such architecture or option, a user's file that raises, a ``.pt2`` without its digest.
    """
    path, _, function = architecture.rpartition(":")
    if path.endswith(".py"):
        return _from_function(Path(path), function, options, classes)
    if architecture.endswith(".pt2"):
        return _from_export(Path(architecture), digest)
    kind, _, name = architecture.partition("/")
    return BUILDERS[kind](name, dict(options), classes)


@BUILDERS.register("vggnet")
def _vggnet(name: str, options: dict[str, Any], classes: int) -> Built:
    model = _called("vggnet", VGGNet, {"classes": classes} | options)
    return model, InputCard(1, (INPUT_SIZE, INPUT_SIZE))


@BUILDERS.register("deep_emotion")
def _deep_emotion(name: str, options: dict[str, Any], classes: int) -> Built:
    return _called("deep_emotion", DeepEmotion, {"classes": classes} | options), InputCard(3, (48, 48))


@BUILDERS.register("torchvision")
def _torchvision(name: str, options: dict[str, Any], classes: int) -> Built:
    import torchvision

    _known("torchvision", name, torchvision.models.list_models(module=torchvision.models))
    given = {"num_classes": classes, "weights": None} | _local(options)

    def build(**options: Any) -> nn.Module:
        return torchvision.models.get_model(name, **options)

    model = _called(f"torchvision/{name}", build, given)
    side = options.get("image_size", 299 if name == "inception_v3" else 224)
    return model, replace(IMAGENET, size=(side, side))


@BUILDERS.register("timm")
def _timm(name: str, options: dict[str, Any], classes: int) -> Built:
    import timm
    from timm.data import resolve_data_config

    _known("timm", name, timm.list_models())

    def build(**options: Any) -> nn.Module:
        return timm.create_model(name, pretrained=False, **options)

    model = _called(f"timm/{name}", build, {"num_classes": classes} | _local(options))
    config = resolve_data_config({key: options[key] for key in ("img_size", "in_chans") if key in options}, model=model)
    channels, *size = config["input_size"]
    mean, std = (tuple(config[key]) if channels == 3 else (sum(config[key]) / 3,) for key in ("mean", "std"))
    card = InputCard(channels, tuple(size), (0.0, 1.0), mean, std, config["interpolation"], config["crop_pct"])
    return model, card


def _local(options: dict[str, Any]) -> dict[str, Any]:
    for name in ("pretrained", "weights", "weights_backbone", "checkpoint_path"):
        if options.get(name):
            raise UserError(f"network.options.{name}: nothing is downloaded; give the weights' file as network.input")
    return options


def _known(kind: str, name: str, names: Iterable[str]) -> None:
    names = list(names)
    if name not in names:
        near = difflib.get_close_matches(name, names, 5, 0.5)
        known = f"nearest: {', '.join(near)}" if near else f"it has {len(names)}, such as {', '.join(names[:3])}"
        raise UserError(f"{kind} has no architecture {name!r}; {known}")


def _called(architecture: str, build: Any, options: dict[str, Any]) -> nn.Module:
    """The builder's model; what it makes of wrong options is told in one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return build(**options)
    except (TypeError, ValueError, RuntimeError, AssertionError, KeyError, ZeroDivisionError) as error:
        line = next(iter(str(error).splitlines()), "")
        raise UserError(f"{architecture} with options {options}: {type(error).__name__}: {line}") from None


def _from_function(path: Path, name: str, options: Mapping[str, Any], classes: int) -> Built:
    """A user's own function; it may take ``classes`` or ``num_classes``, and may give (model, InputCard's values)."""
    if not path.is_file():
        raise UserError(f"no file {path}; expected network.architecture as FILE.py:FUNCTION")
    asked = f"{path}:{name}"
    with telling(asked, lines=1):
        function = own_function(asked, lines=1)
        taken = inspect.signature(function).parameters
        counts = {option: classes for option in ("classes", "num_classes") if option in taken}
        result = function(**counts | dict(options))
    model, values = result if isinstance(result, tuple) else (result, None)
    if not isinstance(model, nn.Module):
        raise UserError(f"{path}:{name} gives a {type(model).__name__}; expected a torch.nn.Module")
    card = values if isinstance(values, InputCard) else IMAGENET if values is None else InputCard(**values)
    return model, card


def _from_export(path: Path, digest: str | None) -> Built:
    if not path.is_file():
        raise UserError(f"no file {path}")
    found = file_digest(path)
    if digest is None:
        raise UserError(f"{path}: {LOADING_RUNS_CODE}; if you trust it, give its sha256 ({found}) in params")
    if digest != found:
        raise UserError(f"{path}: its sha256 is {found}, params say {digest}; {LOADING_RUNS_CODE}, so it isn't loaded")
    exported = torch.export.load(path)
    return Exported(exported.module(check_guards=False)), IMAGENET


class Exported(nn.Module):
    """An exported program as a module that can be put in evaluation mode, which it is always in."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self._program = [program]
        for name, value in program.named_parameters():
            self.register_parameter(name.replace(".", "_"), value)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Whatever the program puts out."""
        return self._program[0](images)
