import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle

from emobench.errors import UserError
from emobench.reporting import concept_tables
from emobench.reporting.figures import concepts as figures
from emobench.reporting.results import Results

CLASSES = ("happy", "sad", "bored")
TABLE = pd.DataFrame(
    [
        ("mine", "smile", 0.8, 0.6, 0.1, "happy", "happy", 1.0),
        ("mine", "None", 0.1, 0.7, 0.4, "sad", "happy|bored", 0.0),
        ("mine", "yawn", 0.2, 0.3, 0.9, "bored", "sad", 0.0),
        ("mine", "hat", 0.2, 0.5, np.nan, "sad", "", np.nan),
    ],
    columns=["concept_set", "concept", *(f"cosine_{name}" for name in CLASSES), "nearest", "mapped", "agrees"],
)


class Shown:
    """What the figure asks of results."""

    classes, concept_sets, concept_classes = CLASSES, ["mine", "absent"], TABLE


def cells(axes, *, framed: bool) -> set[tuple[int, int]]:
    """(row, column) of each filled cell, or of each frame."""
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_fill() != framed]
    return {(int(box.get_y()), int(box.get_x())) for box in boxes}


def test_frames_are_the_map_and_dots_the_clips_nearest():
    (picture,) = figures.draw(Shown())
    axes, bar = picture.figure.axes
    assert cells(axes, framed=False) == {(row, column) for row in range(4) for column in range(3)}
    assert cells(axes, framed=True) == {(0, 0), (1, 0), (1, 2), (2, 1)}
    dots = [(*map(int, (line.get_ydata()[0], line.get_xdata()[0])), line.get_color()) for line in axes.lines]
    assert [dot[:2] for dot in dots] == [(0, 0), (1, 1), (2, 2), (3, 1)]
    orange = figures.SERIES[1]
    assert [dot[2] == orange for dot in dots] == [False, True, True, False]
    assert [label.get_text() for label in axes.get_yticklabels()] == TABLE["concept"].tolist()
    assert [label.get_text() for label in axes.get_xticklabels()] == list(CLASSES)
    assert bar.get_ylabel() == "cosine of the two names"
    assert "agree for 1 of 3 concepts" in picture.caption
    assert "None: sad by the CLIP, happy or bored by the map; yawn: bored by the CLIP, sad by the map" in picture.alt
    assert "<image" not in picture.svg


def test_darker_is_closer_and_what_is_unknown_is_grey():
    (picture,) = figures.draw(Shown())
    axes = picture.figure.axes[0]
    boxes = {(int(box.get_y()), int(box.get_x())): box.get_facecolor() for box in axes.patches if box.get_fill()}
    values = TABLE[[f"cosine_{name}" for name in CLASSES]].to_numpy()
    known = sorted((values[place], sum(color[:3])) for place, color in boxes.items() if np.isfinite(values[place]))
    assert [light for _, light in known] == sorted((light for _, light in known), reverse=True)
    assert boxes[3, 2] == pytest.approx(matplotlib.colors.to_rgba(figures.GRID))


def test_of_many_concepts_the_ones_that_differ_most_are_shown():
    assert concept_tables.most_doubtful(TABLE, 4)["concept"].tolist() == ["smile", "None", "yawn", "hat"]
    # Ahead of the map's best: yawn by .9 - .3, None by .7 - .4, smile by 0; a hat speaks for nothing.
    assert concept_tables.most_doubtful(TABLE, 3)["concept"].tolist() == ["yawn", "None", "smile"]
    rows = concept_tables.concept_classes_table(Shown()).rows
    assert rows[0] == ["mine", "yawn", "sad", "bored", "no", "0.900", "0.600"]
    assert rows[-1] == ["mine", "hat", "–", "sad", "–", "0.500", "–"]


def test_the_page_tells_what_the_stage_embed_found(real):
    results = Results(*real)
    table = pd.read_csv(results.layout.reports / "concept_classes.csv", keep_default_na=False)
    pd.testing.assert_series_equal(results.concept_classes["nearest"], table["nearest"])
    judged = pd.to_numeric(table["agrees"]).dropna()
    assert (
        f"one of the map's for {judged.sum():.0f} of {len(judged)} concepts" in concept_tables.concept_text(results)[1]
    )
    pictures = figures.draw(results)
    assert [picture.name for picture in pictures] == ["concept_classes_1", "concept_classes_2"]


def test_names_like_none_are_words(real_copy):
    params, layout = real_copy
    path = layout.reports / "concept_classes.csv"
    path.write_text(path.read_text().replace(",smile,", ",NA,", 1))
    found = Results(params, layout).concept_classes
    assert "NA" in found["concept"].tolist()
    assert pd.api.types.is_numeric_dtype(found["agrees"])
    assert found["mapped"].map(type).eq(str).all()


def test_a_table_that_was_cut(real_copy):
    params, layout = real_copy
    path = layout.reports / "concept_classes.csv"
    path.write_text(path.read_text()[:-3])
    with pytest.raises(UserError, match="concept_classes.csv is not as it should be .*ends within a row"):
        _ = Results(params, layout).concept_classes


def test_metrics_that_say_nothing(real_copy):
    params, layout = real_copy
    (layout.reports / "network.json").write_text("{}")
    with pytest.raises(UserError, match=r"network.json is not as it should be \(it says nothing\)"):
        Results(params, layout).metrics("network")
