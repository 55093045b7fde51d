"""A user's own faces, network, weights and concepts, small and drawn from noise: no picture of a person."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from small_sets import class_folders, picture, write_files
from torch import nn

NETWORK = """
from torch import nn

def build(num_classes, width=4):
    layers = [nn.Conv2d(3, width, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(width, 6), nn.ReLU(), nn.Linear(6, num_classes))
    return model, {"channels": 3, "size": (32, 32)}

def failing(num_classes):
    return nn.Linear(3, undefined)

def number(num_classes):
    return 3
"""
CLASSES = ("happy", "sad", "surprise")


def network(width: int = 4) -> nn.Sequential:
    """What NETWORK builds."""
    layers = [nn.Conv2d(3, width, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(*layers, nn.Linear(width, 6), nn.ReLU(), nn.Linear(6, 3)).eval()


def write_own(folder: Path, each: int = 4) -> Path:
    """Writes my_faces/ (class/file, 40x40 RGB), net.py, net.safetensors, wide.safetensors, whole.pt and my.csv."""
    names = list(class_folders(("",), CLASSES, each))
    write_files(folder / "my_faces", {name: picture(seed, (40, 40)) for seed, name in enumerate(names)})
    write_files(
        folder, {"net.py": NETWORK, "my.csv": "concept,classes\nsmile,happy\nfrown,sad\nraised brows,surprise\n"}
    )
    save_file(network().state_dict(), folder / "net.safetensors")
    save_file(network(5).state_dict(), folder / "wide.safetensors")
    torch.save(network(), folder / "whole.pt")
    return folder
