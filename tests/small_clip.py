"""A CLIP small enough for tests, with random weights that open_clip itself draws."""

import open_clip
import torch

CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def random_clip(seed: int = 0, **changes: object) -> open_clip.CLIP:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return open_clip.CLIP(**{**CONFIG, **changes}).eval()
