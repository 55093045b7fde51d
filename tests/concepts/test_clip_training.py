import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from presets import preset

from emobench.concepts.captions import CaptionWriter, score_table
from emobench.concepts.clip import load_clip, preprocessing, save_clip
from emobench.concepts.clip_sources import train_clip
from emobench.concepts.clip_training import ClipTrainer, ScoredImages
from emobench.concepts.ranking import rank_names
from emobench.errors import UserError
from emobench.faces.card import describe
from emobench.faces.imageset import ImageSet
from emobench.vocabulary.class_names import BASIC

PARAMS = preset()
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
    parts = [ScoredImages(images, rows, scores[rows]) for rows in (np.arange(96), np.arange(96, len(images)))]
    params = dataclasses.replace(TRAINING, **changes)
    return ClipTrainer(params, writer, *parts, preprocessing([32, 32], [0.5] * 3, [0.25] * 3), seed=0)


def trained(imageset, annotations, work, **changes):
    clip = dataclasses.replace(PARAMS.clip, training=dataclasses.replace(TRAINING, **changes))
    return train_clip(clip, imageset, annotations, work, seed=0, device="cpu")


def test_training_teaches_the_concepts_and_lists_what_it_could_not_teach(tmp_path):
    imageset, annotations = bars_set()
    annotations["tearful eyes"] = np.nan
    clip = trained(imageset, annotations, tmp_path / "work", epochs=6)
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
    assert clip.origin.unmeasured == ["tearful eyes"]
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
    with pytest.raises(UserError, match="nothing to train captions on"):
        trained(imageset, annotations * np.nan, tmp_path, emotion_captions=0.0)
    with pytest.raises(UserError, match="nothing to train captions on"):
        trained(imageset, annotations[[]], tmp_path, emotion_captions=0.0)
    with pytest.raises(UserError, match="0 val images"):
        trained(ImageSet(imageset.images[:40], imageset.index[:40]), annotations[:40], tmp_path)


def test_emotions_alone_can_be_taught(tmp_path):
    imageset, annotations = bars_set(100, 60)
    clip = trained(imageset, annotations * np.nan, tmp_path, epochs=1)
    assert not clip.origin.saw_annotations
    assert clip.origin.candidates(["smile", "happy"]) == (["happy"], ["smile"])


@pytest.mark.parametrize(
    "classes", [("bored", "happy", "sad", "proud", "angry"), tuple(f"class {k}" for k in range(8))]
)
def test_captions_speak_of_the_classes_of_the_data(tmp_path, classes):
    imageset, annotations = bars_set(100, 60)
    index = imageset.index.assign(label=np.arange(160) % len(classes))
    card = describe(imageset.images, index, classes, source="a test", private=False, limited=False)
    # A table may measure a class too: of those the label tells.
    annotations["happy"] = annotations["smile"]
    clip = trained(ImageSet(imageset.images, index, card), annotations, tmp_path, epochs=1)
    measured = list(NAMES) if "happy" in classes else [*NAMES, "happy"]
    assert clip.origin.concepts == [*measured, *classes]
    assert not set(clip.origin.concepts) & (set(BASIC) - {*classes, "happy"})
    assert clip.origin.unmeasured == []


def test_a_set_in_colour_of_another_size_is_trained_on_as_its_grey_twin(tmp_path):
    imageset, annotations = bars_set(64, 40)
    colour = ImageSet(np.repeat(imageset.images[..., None], 3, axis=3), imageset.index)
    grey, coloured = (
        trained(given, annotations, tmp_path / str(given.images.ndim), epochs=1) for given in (imageset, colour)
    )
    for name, value in grey.model.state_dict().items():
        torch.testing.assert_close(coloured.model.state_dict()[name], value, atol=2e-3, rtol=0)
    large = ImageSet(colour.images.repeat(2, axis=1).repeat(2, axis=2), imageset.index)
    assert large.images.shape == (104, 96, 96, 3)
    assert trained(large, annotations, tmp_path / "large", epochs=1).embed_images(large.images[:3]).shape == (3, 16)


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
