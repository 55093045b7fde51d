"""Stage annotate: how strongly each concept shows on each image."""

from pathlib import Path

from emobench.concepts.annotations import annotate
from emobench.faces.imageset import load_imageset
from emobench.files import write_parquet
from emobench.layout import Layout
from emobench.params import Params
from emobench.vocabulary.card import load_vocabulary


def run(params: Params, layout: Layout) -> None:
    """Writes annotations.parquet beside the images: image_id and a score in [0, 1] for each concept."""
    source = params.annotate.source
    given = layout.data / "truth.parquet" if source == "truth" else layout.root / params.annotate.input
    imageset, vocabulary = load_imageset(layout.data), load_vocabulary(layout.data)
    table = annotate(imageset, vocabulary, source, given=Path(given), work=layout.partial / "annotate")
    write_parquet(layout.data / "annotations.parquet", table, made_from={"images": imageset.digest()})
