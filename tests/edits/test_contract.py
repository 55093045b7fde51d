"""A benchmark's contract: what is in it, and that it stands before the test is read."""

import dataclasses
import shutil

import edit_bench
import pytest

from emobench.contracts import FILE, known
from emobench.edits.contract import contract_in_words, contract_of, promised, seal
from emobench.faces.imageset import ImageSet, load_imageset
from emobench.inputs.checking import try_inputs
from emobench.stages import compare, edit

PARAMS = edit_bench.small_params()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return edit_bench.write_benchmark(tmp_path_factory.mktemp("contract"))


@pytest.fixture
def layout(written):
    """The benchmark before anybody read its test."""
    shutil.rmtree(written.reports, ignore_errors=True)
    return written


@pytest.mark.parametrize(("stage", "reader"), [(edit, "sweep_edits"), (compare, "read_ids")])
def test_it_stands_before_the_test_is_read(layout, monkeypatch, stage, reader) -> None:
    def stop(*args, **options):
        raise InterruptedError

    monkeypatch.setattr(stage, reader, stop)
    with pytest.raises(InterruptedError):
        stage.run(PARAMS, layout)
    assert known(layout.reports) == [contract_of(PARAMS, load_imageset(layout.data))]


def test_what_changes_a_result_changes_it_and_nothing_else_does(layout) -> None:
    imageset = load_imageset(layout.data)
    before = contract_of(PARAMS, imageset)
    quicker = dataclasses.replace(PARAMS, device="cuda", edit=dataclasses.replace(PARAMS.edit, jobs=7))
    assert contract_of(dataclasses.replace(quicker, name="other"), imageset) == before
    index = imageset.index.assign(split=imageset.index["split"].replace({"train": "val"}))
    moved = contract_of(PARAMS, ImageSet(imageset.images, index, imageset.card))
    assert {key for key in before if moved[key] != before[key]} == {"splits.train", "splits.val"}
    stricter = dataclasses.replace(PARAMS, compare=dataclasses.replace(PARAMS.compare, confidence=0.9))
    assert contract_of(stricter, imageset)["params.compare.confidence"] == 0.9
    assert before.items() >= promised(PARAMS).items()


def test_validate_tells_of_a_second_look(layout) -> None:
    root = layout.reports.parents[1]
    assert not any(line.startswith("contract") for line in try_inputs(PARAMS, root).said)
    seal(PARAMS, layout, load_imageset(layout.data))
    assert any("contract: " in line and "unchanged" in line for line in try_inputs(PARAMS, root).said)
    other = dataclasses.replace(PARAMS, seed=5)
    assert any("changed after its test was read: params.seed" in line for line in try_inputs(other, root).said)
    seal(other, layout, load_imageset(layout.data))
    assert "2 contracts have read it" in contract_in_words(PARAMS, layout)


def test_a_smoke_run_has_none(layout) -> None:
    limited = dataclasses.replace(PARAMS, data=dataclasses.replace(PARAMS.data, limit=20))
    seal(limited, layout, load_imageset(layout.data))
    assert not (layout.reports / FILE).exists()
