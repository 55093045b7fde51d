import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from emobench.concepts.captions import CaptionWriter, score_table
from emobench.concepts.clip import load_clip, preprocessing, save_clip
from emobench.concepts.clip_sources import train_clip
from emobench.concepts.clip_training import ClipTrainer, ScoredImages
from emobench.concepts.ranking import rank_names
from emobench.errors import UserError
from emobench.faces.imageset import ImageSet
from emobench.params import load_params

PARAMS = load_params("emobench/presets/demo.yaml")
SMALL = {
    "embed_dim": 16, "image_size": 32, "image_width": 8, "text_width": 32, "text_layers": 1, "epochs": 3,
    "batch_size": 32, "max_lr": 0.01, "captions": 8, "precision": "float32",
}  # fmt: skip
TRAINING = dataclasses.replace(PARAMS.clip.training, **SMALL)


def bars(count, seed=0):
    """Pictures whose upper, lower, left and right part are bright or dark, and how bright as four concepts."""
    rng = np.random.default_rng(seed)
    shades = rng.random((count, 4))
    images = rng.normal(0, 8, (count, 48, 48))
    for image, (top, bottom, left, right) in zip(images, shades, strict=True):
        image[:16, 16:32] += 255 * top
        image[32:, 16:32] += 255 * bottom
        image[16:32, :16] += 255 * left
        image[16:32, 32:] += 255 * right
    return np.clip(images, 0, 255).astype(np.uint8), shades.astype(np.float32), (shades[:, 0] > 0.5).astype(np.int64)


NAMES = ("raised brows", "smile", "closed eyes", "frown")


def bars_set(count=400, val=400):
    images, shades, labels = bars(count + val)
    index = pd.DataFrame({
        "image_id": [str(row) for row in range(count + val)],
        "label": labels,
        "split": ["train"] * count + ["val"] * val,
        "status": "kept",
        "duplicate_of": None,
    })  # fmt: skip
    return ImageSet(images, index), pd.DataFrame(shades, columns=list(NAMES))


def trainer(val=64, **changes):
    images, shades, labels = bars(96 + val)
    scores = score_table(shades, labels, 2)
    writer = CaptionWriter(NAMES, ("happy", "sad"), 0.5)
    parts = [ScoredImages(images[rows], scores[rows]) for rows in (slice(0, 96), slice(96, None))]
    params = dataclasses.replace(TRAINING, **changes)
    return ClipTrainer(params, writer, *parts, preprocessing([32, 32], [0.5] * 3, [0.25] * 3), seed=0)


def params_with(**changes):
    training = dataclasses.replace(TRAINING, **changes.pop("training", {}))
    clip = dataclasses.replace(PARAMS.clip, training=training)
    return dataclasses.replace(PARAMS, clip=clip, **changes)


def test_training_teaches_the_concepts_and_lists_what_it_could_not_teach(tmp_path):
    imageset, annotations = bars_set()
    annotations["tearful eyes"] = np.nan
    params = params_with(training={"epochs": 6})
    clip = train_clip(params, imageset, annotations, tmp_path / "work", "cpu")
    (tmp_path / "clip").mkdir()
    save_clip(tmp_path / "clip", clip)
    clip = load_clip(tmp_path / "clip")
    val = imageset.rows("val")
    vectors = clip.embed_images(imageset.images[val])
    table = rank_names(clip, vectors, annotations.iloc[val].fillna(0.9), ["{}"]).set_index("concept")
    assert table["auroc"][list(NAMES)].mean() > 0.9
    assert table["note"]["tearful eyes"] == "no negatives"
    assert np.isnan(table["auroc"]["tearful eyes"])
    assert clip.origin.images_digest == imageset.digest()
    assert clip.origin.saw_labels
    assert clip.origin.saw_annotations
    assert set(NAMES) < set(clip.origin.concepts)
    assert {"tearful eyes", "flared nostrils"} <= set(clip.origin.unmeasured)
    assert not set(clip.origin.unmeasured) & set(clip.origin.concepts)
    # The trained tower with its hundred tokens and the saved one with all of them say the same.
    assert set(clip.origin.candidates(["smile", "tearful eyes"])[0]) == {"smile"}


def test_an_interrupted_training_ends_as_if_it_had_not_been(tmp_path):
    whole, history = trainer().fit(tmp_path / "whole")
    first = trainer()
    finish = first._finish_epoch

    def stop_after_two(epoch, loss):
        if epoch == 2:
            raise KeyboardInterrupt
        finish(epoch, loss)

    first._finish_epoch = stop_after_two
    with pytest.raises(KeyboardInterrupt):
        first.fit(tmp_path / "broken")
    resumed = trainer()
    again, history_again = resumed.fit(tmp_path / "broken")
    assert history_again == history
    assert all(torch.equal(again[name], value) for name, value in whole.items())


@pytest.mark.parametrize(("val", "key", "sign"), [(400, "val_auroc", 1), (20, "train_loss", -1)])
def test_val_decides_which_epoch_is_kept_and_the_loss_if_val_is_too_small(tmp_path, val, key, sign):
    run = trainer(val, epochs=4)
    snapshots = []
    finish = run._finish_epoch

    def keep(epoch, loss):
        finish(epoch, loss)
        snapshots.append({name: value.clone() for name, value in run.model.state_dict().items()})

    run._finish_epoch = keep
    state, history = run.fit(tmp_path)
    best = int(np.argmax([sign * row[key] for row in history]))
    assert torch.equal(state["visual.conv1.weight"], snapshots[best]["visual.conv1.weight"])
    assert torch.equal(state["token_embedding.weight"][run.tokens], snapshots[best]["token_embedding.weight"])
    assert state["token_embedding.weight"].shape == (49408, 32)


def test_the_seed_decides_and_leaves_torchs_own_state_alone(tmp_path):
    before = torch.random.get_rng_state()
    first, second = (trainer(epochs=1).fit(tmp_path / name)[0] for name in "ab")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_without_anything_to_say_there_is_no_training(tmp_path):
    imageset, annotations = bars_set(40, 20)
    params = params_with(training={"emotion_captions": 0.0})
    with pytest.raises(UserError, match="nothing to train captions on"):
        train_clip(params, imageset, annotations * np.nan, tmp_path, "cpu")
    with pytest.raises(UserError, match="0 val images"):
        train_clip(params, ImageSet(imageset.images[:40], imageset.index[:40]), annotations[:40], tmp_path, "cpu")


def test_emotions_alone_can_be_taught(tmp_path):
    imageset, annotations = bars_set(100, 60)
    clip = train_clip(params_with(training={"epochs": 1}), imageset, annotations * np.nan, tmp_path, "cpu")
    assert not clip.origin.saw_annotations
    assert clip.origin.candidates(["smile", "happy"]) == (["happy"], ["smile"])


def test_a_diverged_training_says_what_to_change(tmp_path):
    run = trainer()
    run.model.logit_bias.data.fill_(np.nan)
    with pytest.raises(UserError, match="epoch 1, the loss is not finite; lower"):
        run.fit(tmp_path)
    assert not (tmp_path / "last.pt").exists()


@pytest.mark.parametrize(("name", "width", "step"), [("image_width", 25, 2), ("text_width", 40, 32)])
def test_a_width_that_the_heads_do_not_divide_is_refused(name, width, step):
    with pytest.raises(UserError, match=f"{name} is {width}; expected a multiple of {step}"):
        trainer(**{name: width})
