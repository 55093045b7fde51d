"""What validate tells of a test set before the run, against what the stage prepare then makes."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from presets import preset

import emobench
from emobench.edits.power import foresight
from emobench.errors import UserError
from emobench.faces.card import DatasetCard, write_card
from emobench.faces.raw import RawImages
from emobench.faces.splitting import with_splits
from emobench.inputs.foresight import check_probe, expected_images, power_in_words

PRESETS = Path(emobench.__file__).parent / "presets"
PARAMS = preset()


def asked(limit: int = 0):
    """Params of a benchmark whose images the user brings."""
    data = preset("folder").data
    return dataclasses.replace(PARAMS, data=dataclasses.replace(data, limit=limit))


def raw_of(counts: dict[str, int]) -> RawImages:
    """Counted images, of which one was read."""
    return RawImages(np.zeros((1, 8, 8), np.uint8), ["a"], np.zeros(1, np.int64), [next(iter(counts))], counts=counts)


@pytest.mark.parametrize(
    "counts", [{"train": 60, "val": 20, "test": 20}, {"train": 60, "test": 40}, {"train": 60, "val": 40}, {"": 100}]
)
def test_as_many_test_images_are_expected_as_prepare_makes(counts, tmp_path) -> None:
    splits = [name for name, count in counts.items() for _ in range(count)]
    pixels = np.random.default_rng(0).integers(0, 256, (100, 8, 8)).astype(np.uint8)
    every = RawImages(pixels, [f"{k}" for k in range(100)], np.arange(100) % 2, splits, ("happy", "sad"))
    made = with_splits(every, 0).splits.count("test")
    assert expected_images(asked(), raw_of(counts), tmp_path) == made
    assert expected_images(asked(), raw_of(counts), tmp_path, "train") == with_splits(every, 0).splits.count("train")
    assert expected_images(asked(limit=50), raw_of(counts), tmp_path) == made / 2
    assert expected_images(asked(limit=500), raw_of(counts), tmp_path) == made


def test_where_the_source_is_not_counted_the_prepared_images_tell(tmp_path) -> None:
    raw = dataclasses.replace(raw_of({"test": 1}), counts=None)
    assert expected_images(asked(), raw, tmp_path) is None
    (line,) = power_in_words(asked(), raw, tmp_path)
    assert "counted by the stage prepare" in line
    folder = tmp_path / "data" / PARAMS.name
    folder.mkdir(parents=True)
    counts = {"train": 9, "val": 9, "test": 321}
    facts = {"private": True, "limited": False, "groups": False}
    write_card(folder, DatasetCard(("a", "b"), counts, 48, 1, "0" * 64, "folder: mine", **facts))
    assert expected_images(asked(), raw, tmp_path) == 321
    assert any("about 321 test images" in line for line in power_in_words(asked(), raw, tmp_path))


@pytest.mark.parametrize(("probe", "most"), [("train_unique", 60), ("val", 25)])
def test_a_probe_smaller_than_what_is_taken_of_a_unit_is_refused(probe, most, tmp_path) -> None:
    raw, params = raw_of({"train": 60, "val": 25, "test": 15}), asked()

    def taking(top_k: int, **others):
        soft_wpmi = dataclasses.replace(params.dissect.soft_wpmi, top_k=top_k)
        changed = {"similarity_fns": ["soft_wpmi"], "soft_wpmi": soft_wpmi, "probe": probe} | others
        return dataclasses.replace(params, dissect=dataclasses.replace(params.dissect, **changed))

    check_probe(taking(most), raw, tmp_path)
    with pytest.raises(UserError, match=rf"soft_wpmi.top_k is {most + 1}; the probe \({probe}\) has {most} images"):
        check_probe(taking(most + 1), raw, tmp_path)
    check_probe(taking(most + 1, similarity_fns=["rank_reorder"]), raw, tmp_path)
    with pytest.raises(UserError, match=f"dissect.top_images is 61; .* {most} images at most"):
        check_probe(taking(1, top_images=61), raw, tmp_path)


def test_the_words_are_those_of_the_table() -> None:
    drawn = PARAMS.data.synthetic.test
    said = power_in_words(PARAMS, raw_of({"train": 1}), Path())
    assert "edits to judge; found in 80% of cases" in said[0]
    tested = int(said[0].split(" test images, ")[1].split()[0])
    table = foresight(drawn, tested).dropna()
    assert len([line for line in said if "power: a gain of" in line]) == len(table)
    for line, row in zip(said[1:], table.itertuples(), strict=False):
        assert (
            f"{row.detectable_points:.2f} points ({row.detectable:.0f} images), where an edit turns {row.changed}"
            in line
        )
    (folds,) = (line for line in said if "cross_fitted" in line)
    both = foresight(drawn + PARAMS.data.synthetic.val, 1).iloc[0].tolist()
    assert f"(5 folds), one test of a choice on 3,000 val and test images, sees a gain of {both[3]:.2f} poi" in folds
    off = dataclasses.replace(PARAMS.compare.cross_fitting, folds=0)
    without = dataclasses.replace(PARAMS, compare=dataclasses.replace(PARAMS.compare, cross_fitting=off))
    advised = power_in_words(without, raw_of({"train": 1}), Path())
    assert any("(set compare.cross_fitting.folds: 5)" in line and "would see a gain" in line for line in advised)
    no_search = dataclasses.replace(PARAMS.edit.search, kinds=[], joint_kinds=[])
    no_arm = dataclasses.replace(PARAMS.edit, arms=[], search=no_search)
    assert power_in_words(dataclasses.replace(PARAMS, edit=no_arm), raw_of({"train": 1}), Path()) == []
