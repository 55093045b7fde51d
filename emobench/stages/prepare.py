"""Stage prepare: reads or draws the images, audits them and writes the image set."""

from pathlib import Path

import pandas as pd

from emobench.faces.audit import audit_images, audit_summary, removed_sheet
from emobench.faces.fer2013 import read_fer2013
from emobench.faces.raw import RawImages, stratified_rows
from emobench.faces.synthetic import synthesize
from emobench.files import replacing, write_array, write_json, write_parquet
from emobench.layout import Layout
from emobench.params import Params
from emobench.vocabulary import SPLITS


def run(params: Params, layout: Layout) -> None:
    """Writes images.npy, index.parquet, truth.parquet, audit.json and the sheet of removed images."""
    data = params.data
    drawn = data.source == "synthetic"
    raw, truth = _synthetic(params) if drawn else (read_fer2013(Path(data.archive)), None)
    rows = stratified_rows(raw, data.limit, params.seed)
    raw = raw.take(rows) if len(rows) < len(raw.images) else raw
    index = audit_images(raw, data.audit.near_duplicate_distance, remove=not drawn)
    known = index[["image_id"]]
    if truth is not None:
        known = pd.concat([known, truth.iloc[rows].reset_index(drop=True)], axis=1)
    write_array(layout.data / "images.npy", raw.images)
    write_parquet(layout.data / "index.parquet", index)
    write_parquet(layout.data / "truth.parquet", known)
    write_json(
        layout.reports / "audit.json",
        {"limited": int(data.limit > 0), "limit": data.limit} | audit_summary(index),
    )
    with replacing(layout.artifacts / "removed.png") as temporary:
        removed_sheet(raw.images, index).save(temporary)


def _synthetic(params: Params) -> tuple[RawImages, pd.DataFrame]:
    """Draws the synthetic faces of all splits, and what is true about them."""
    wanted = params.data.synthetic
    splits = [split for split in SPLITS for _ in range(getattr(wanted, split))]
    faces = synthesize(len(splits), params.seed, label_noise=wanted.label_noise)
    ids = [f"synthetic/{row:06d}" for row in range(len(splits))]
    return RawImages(faces.images, ids, faces.labels, splits), faces.truth
