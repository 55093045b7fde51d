"""How strongly concepts show on each image: one table, from one of four sources.

The table has a row an image in index order, the column ``image_id``, and a column a concept with a score in [0, 1];
NaN means not measured. The built-in expressions come first, where they are in the vocabulary or are what the source
measures; of the vocabulary's other concepts only those follow that were measured.
"""

import csv
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from emobench.concepts.facial_geometry import concept_percentiles
from emobench.concepts.landmarks import find_landmarks
from emobench.errors import UserError
from emobench.faces.imageset import ImageSet
from emobench.registry import Registry
from emobench.stored_tables import in_order, read_table
from emobench.vocabulary import MARK, concept_set
from emobench.vocabulary.card import Vocabulary
from emobench.vocabulary.reading import words

EXPRESSIONS = concept_set("expressions")
SOURCES = Registry("annotate.source")
"""Name -> function (imageset, vocabulary, given, work) -> concept columns; ``given`` is the source's input file."""
_NOT_MEASURED = ("", "nan", "na", "none", "<na>")


def annotate(imageset: ImageSet, vocabulary: Vocabulary, source: str, *, given: Path, work: Path) -> pd.DataFrame:
    """Makes the table of annotations.

    Args:
        imageset: the images and their index.
        vocabulary: the concepts that a table of the user's may measure.
        source: ``truth``, ``landmarks``, ``file`` or ``none``.
        given: what the source reads: the truth table, a landmark model, or the user's table.
        work: folder where interrupted work is kept.

    Raises:
        UserError: an unknown source, or ``given`` is missing or wrong.
    """
    columns = SOURCES[source](imageset, vocabulary, Path(given), work)
    known = vocabulary.every
    order = [name for name in EXPRESSIONS if name in known or name in columns]
    order += [name for name in columns if name not in order]
    scores = {concept: np.asarray(columns.get(concept, np.nan), float) for concept in order}
    return pd.DataFrame({"image_id": imageset.index["image_id"].to_numpy(), **scores})


def load_annotations(folder: Path, imageset: ImageSet) -> pd.DataFrame:
    """Reads what :func:`annotate` made: a row an image in index order, a column a concept.

    Raises:
        UserError: the table is missing, not such a table, or not of these images.
    """
    path = folder / "annotations.parquet"
    table = read_table(path, made_from={"images": imageset.digest()})
    table = in_order(table, "image_id", imageset.index["image_id"], path, "annotate")
    return table.drop(columns="image_id")


@SOURCES.register("none")
def _none(imageset: ImageSet, vocabulary: Vocabulary, given: Path, work: Path) -> dict[str, np.ndarray]:
    """Nothing is measured."""
    return {}


@SOURCES.register("truth")
def _truth(imageset: ImageSet, vocabulary: Vocabulary, given: Path, work: Path) -> dict[str, np.ndarray]:
    """The values that the synthetic faces were drawn from; the expressions, and the mark of a shortcut."""
    table = read_table(given) if given.is_file() else pd.DataFrame()
    if not set(EXPRESSIONS) <= set(table):
        raise UserError(
            f"annotate.source 'truth': {given} holds no truth about these images; "
            "expected synthetic faces, or another source: landmarks, file, none"
        )
    if not np.array_equal(table["image_id"], imageset.index["image_id"]):
        raise UserError(f"{given} is not of these images; run the stage 'prepare' again")
    return {concept: table[concept].to_numpy() for concept in (*EXPRESSIONS, MARK) if concept in table}


@SOURCES.register("landmarks")
def _landmarks(imageset: ImageSet, vocabulary: Vocabulary, given: Path, work: Path) -> dict[str, np.ndarray]:
    """Geometry on the points of each found face, as percentile over the set."""
    points = find_landmarks(imageset.images, given, work, digest=imageset.digest())
    if np.isnan(points).all():
        raise UserError(
            f"no face found in any of the {len(points)} images; expected photos of faces, or another source"
        )
    return concept_percentiles(points)


@SOURCES.register("file")
def _file(imageset: ImageSet, vocabulary: Vocabulary, given: Path, work: Path) -> Mapping[str, np.ndarray]:
    """A table of the user's: csv or parquet with image_id and any concepts; images not listed are NaN."""
    table = _known_columns(_read(given), given, vocabulary)
    ids = table["image_id"].astype(str)
    for row in np.flatnonzero(ids.duplicated()):
        raise UserError(f"{given}, row {row + 1}: image_id {ids[row]!r} stands already in an earlier row")
    # A smoke run's subset lacks most of a table's images.
    strange = np.flatnonzero(~ids.isin(imageset.index["image_id"]))
    for row in strange if not (imageset.card and imageset.card.limited) else ():
        example = imageset.index["image_id"].iloc[0]
        raise UserError(f"{given}, row {row + 1}: no image {ids[row]!r} in the set; expected ids like {example!r}")
    scores = {name: _scores(table[name], given) for name in table.columns.drop("image_id")}
    listed, count = len(table) - len(strange), len(imageset.index)
    if not listed:
        raise UserError(f"{given} measures none of the {count} images; expected rows with their image_id")
    if listed < count:
        print(f"{given}: measures {listed} of {count} images; nothing is known of the others", file=sys.stderr)
    return pd.DataFrame(scores, index=ids.to_numpy()).reindex(imageset.index["image_id"]).to_dict("series")


def look_at_table(path: Path, vocabulary: Vocabulary) -> str:
    """Reads a table of the user's before there is an image set, and says what it holds.

    Raises:
        UserError: it can't be read, measures no concept, or holds a score that is none.
    """
    table = _known_columns(_read(path), path, vocabulary)
    for name in table.columns.drop("image_id"):
        _scores(table[name], path)
    return f"{len(table):,} rows measure {table.shape[1] - 1} concepts"


def _read_csv(path: Path) -> pd.DataFrame:
    """All as text: an id or a value is read by us, so that a wrong one can be named with its row.

    A row that ends too early is not one of empty cells: the file was cut off, or a separator is missing.
    """
    with open(path, encoding="utf-8-sig") as file:
        separator = max(",;\t", key=file.readline().count)
        file.seek(0)
        widths = [len(cells) for cells in csv.reader(file, delimiter=separator) if cells]
    for row, width in enumerate(widths):
        if width < widths[0]:
            raise ValueError(f"row {row} has {width} cells, the header {widths[0]}")
    return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {".csv": _read_csv, ".parquet": pd.read_parquet}


def _read(path: Path) -> pd.DataFrame:
    """Reads a csv or parquet table."""
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise UserError(f"annotate.input is {str(path)!r}; expected a table, .csv or .parquet")
    try:
        return _READERS[suffix](path)
    except FileNotFoundError:
        raise UserError(f"no table {path} (params annotate.input)") from None
    # What pandas and pyarrow raise for files that are not what their names say.
    except (ValueError, OSError, csv.Error) as error:
        raise UserError(f"{path} is no readable {suffix[1:]} table: {str(error).splitlines()[0]}") from None


def _known_columns(table: pd.DataFrame, path: Path, vocabulary: Vocabulary) -> pd.DataFrame:
    """The table with image_id and the vocabulary's concepts in its order; what was left out is said."""
    names = {str(name): "image_id" if str(name).strip() == "image_id" else words(str(name)) for name in table}
    concepts, found = list(vocabulary.every), set(names.values())
    known = [name for name in concepts if name in found]
    if "image_id" not in found or not known:
        some = ", ".join([*concepts[:6], *["..."] * (len(concepts) > 6)])
        raise UserError(
            f"{path} has the columns {list(names)[:8]}; expected image_id and at least one concept of concept_sets "
            f"({some})"
        )
    for name in ("image_id", *known):
        if list(names.values()).count(name) > 1:
            raise UserError(f"{path} has {name!r} in two columns; expected one")
    others = [name for name, word in names.items() if word != "image_id" and word not in known]
    if others:
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        print(f"{path}: left out columns that no concept set has: {', '.join(others[:5])}{more}", file=sys.stderr)
    return table.set_axis(list(names.values()), axis=1)[["image_id", *known]]


def _scores(column: pd.Series, path: Path) -> np.ndarray:
    """Reads one column of scores in [0, 1]; an empty cell is NaN."""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(float, na_value=np.nan)
    empty = column.isna() | column.astype(str).str.strip().str.lower().isin(_NOT_MEASURED)
    wrong = np.where(np.isnan(numbers), ~empty, (numbers < 0) | (numbers > 1))
    for row in np.flatnonzero(wrong):
        raise UserError(f"{path}, row {row + 1}: {column.name} is {str(column[row])!r}; expected a number from 0 to 1")
    return numbers
