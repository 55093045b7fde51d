"""Stage annotate: how strongly each expression shows on each image."""

from pathlib import Path

from emobench.concepts.annotations import annotate
from emobench.faces.imageset import load_imageset
from emobench.files import write_parquet
from emobench.layout import Layout
from emobench.params import Params


def run(params: Params, layout: Layout) -> None:
    """Writes annotations.parquet beside the images: image_id and a score in [0, 1] for each expression."""
    source = params.annotate.source
    given = layout.data / "truth.parquet" if source == "truth" else layout.root / params.annotate.input
    table = annotate(load_imageset(layout.data), source, given=Path(given), work=layout.partial / "annotate")
    write_parquet(layout.data / "annotations.parquet", table)
