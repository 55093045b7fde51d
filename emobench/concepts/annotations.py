"""How strongly each of the 25 expressions shows on each image: one table, from one of four sources.

The table has a row an image in index order, the column ``image_id``, and a column for each concept of the set
``expressions`` with a score in [0, 1]; NaN means not measured.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from emobench.concepts.facial_geometry import concept_percentiles
from emobench.concepts.landmarks import find_landmarks
from emobench.errors import UserError, unknown_name
from emobench.faces.imageset import ImageSet
from emobench.registry import Registry
from emobench.vocabulary import concept_set

CONCEPTS = concept_set("expressions")
SOURCES = Registry("annotate.source")
"""Name -> function (imageset, given, work) -> concept columns; ``given`` is the source's input file."""
_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    # All as text: an id or a value is read by us, so that a wrong one can be named with its row.
    ".csv": lambda path: pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8"),
    ".parquet": pd.read_parquet,
}
_NOT_MEASURED = ("", "nan", "na", "none", "<na>")


def annotate(imageset: ImageSet, source: str, *, given: Path, work: Path) -> pd.DataFrame:
    """Makes the table of annotations.

    Args:
        imageset: the images and their index.
        source: ``truth``, ``landmarks``, ``file`` or ``none``.
        given: what the source reads: the truth table, a landmark model, or the user's table.
        work: folder where interrupted work is kept.

    Raises:
        UserError: an unknown source, or ``given`` is missing or wrong.
    """
    columns = SOURCES[source](imageset, Path(given), work)
    scores = {concept: np.asarray(columns.get(concept, np.nan), float) for concept in CONCEPTS}
    return pd.DataFrame({"image_id": imageset.index["image_id"].to_numpy(), **scores})


@SOURCES.register("none")
def _none(imageset: ImageSet, given: Path, work: Path) -> dict[str, np.ndarray]:
    """Nothing is measured."""
    return {}


@SOURCES.register("truth")
def _truth(imageset: ImageSet, given: Path, work: Path) -> dict[str, np.ndarray]:
    """The values that the synthetic faces were drawn from."""
    table = pd.read_parquet(given) if given.is_file() else pd.DataFrame()
    if not set(CONCEPTS) <= set(table):
        raise UserError(
            f"annotate.source 'truth': {given} holds no truth about these images; "
            "expected synthetic faces, or another source: landmarks, file, none"
        )
    if not np.array_equal(table["image_id"], imageset.index["image_id"]):
        raise UserError(f"{given} is not of these images; run the stage 'prepare' again")
    return {concept: table[concept].to_numpy() for concept in CONCEPTS}


@SOURCES.register("landmarks")
def _landmarks(imageset: ImageSet, given: Path, work: Path) -> dict[str, np.ndarray]:
    """Geometry on the points of each found face, as percentile over the set."""
    points = find_landmarks(imageset.images, given, work)
    if np.isnan(points).all():
        raise UserError(
            f"no face found in any of the {len(points)} images; expected photos of faces, or another source"
        )
    return concept_percentiles(points)


@SOURCES.register("file")
def _file(imageset: ImageSet, given: Path, work: Path) -> dict[str, np.ndarray]:
    """A table of the user's: csv or parquet with image_id and any of the concepts; images not listed are NaN."""
    table = _read(given)
    _check_columns(table, given)
    ids = table["image_id"].astype(str)
    for row in np.flatnonzero(ids.duplicated()):
        raise UserError(f"{given}, row {row + 1}: image_id {ids[row]!r} stands already in an earlier row")
    for row in np.flatnonzero(~ids.isin(imageset.index["image_id"])):
        example = imageset.index["image_id"].iloc[0]
        raise UserError(f"{given}, row {row + 1}: no image {ids[row]!r} in the set; expected ids like {example!r}")
    scores = {name: _scores(table[name], given) for name in table.columns.drop("image_id")}
    return pd.DataFrame(scores, index=ids.to_numpy()).reindex(imageset.index["image_id"]).to_dict("series")


def _read(path: Path) -> pd.DataFrame:
    """Reads a csv or parquet table."""
    if path.suffix not in _READERS:
        raise UserError(f"annotate.input is {str(path)!r}; expected a table, .csv or .parquet")
    try:
        return _READERS[path.suffix](path)
    except FileNotFoundError:
        raise UserError(f"no table {path} (params annotate.input)") from None
    # What pandas and pyarrow raise for files that are not what their names say.
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is no readable {path.suffix[1:]} table: {str(error).splitlines()[0]}") from None


def _check_columns(table: pd.DataFrame, path: Path) -> None:
    """Expects image_id and at least one concept, and nothing else."""
    for name in table.columns.drop("image_id", errors="ignore"):
        if name not in CONCEPTS:
            raise unknown_name(f"column in {path}:", name, ["image_id", *CONCEPTS])
    if "image_id" not in table or table.shape[1] < 2:
        raise UserError(f"{path} has the columns {list(table)}; expected image_id and at least one concept")


def _scores(column: pd.Series, path: Path) -> np.ndarray:
    """Reads one column of scores in [0, 1]; an empty cell is NaN."""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(float, na_value=np.nan)
    empty = column.isna() | column.astype(str).str.strip().str.lower().isin(_NOT_MEASURED)
    wrong = np.where(np.isnan(numbers), ~empty, (numbers < 0) | (numbers > 1))
    for row in np.flatnonzero(wrong):
        raise UserError(f"{path}, row {row + 1}: {column.name} is {str(column[row])!r}; expected a number from 0 to 1")
    return numbers
