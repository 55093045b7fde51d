"""Stage prepare: reads or draws the images, splits and audits them, and writes the image set and the two cards."""

import pandas as pd

from emobench.faces.audit import audit_images, audit_summary, removed_sheet
from emobench.faces.card import describe, write_card
from emobench.faces.raw import stratified_rows
from emobench.faces.sources import source_images, source_in_words, stated_classes_of
from emobench.files import replacing, write_array, write_json, write_parquet
from emobench.layout import Layout
from emobench.params import Params
from emobench.vocabulary.card import check_concepts, save_vocabulary, vocabulary_of


def run(params: Params, layout: Layout) -> None:
    """Writes images.npy, index.parquet, truth.parquet, both cards, audit.json and the sheet of removed images."""
    data, names = params.data, params.concept_sets
    check_concepts(names, stated_classes_of(data), layout.root)
    raw, truth = source_images(data, params.seed)
    vocabulary = vocabulary_of(names, raw.classes, layout.root)
    rows = stratified_rows(raw, data.limit, params.seed)
    raw = raw.take(rows) if len(rows) < len(raw.images) else raw
    index = audit_images(raw, data.audit.near_duplicate_distance, remove=data.audit.placeholders)
    known = index[["image_id"]]
    if truth is not None:
        known = pd.concat([known, truth.iloc[rows].reset_index(drop=True)], axis=1)
    card = describe(raw.images, index, raw.classes, **source_in_words(data), limited=data.limit > 0)
    said = {"said": list(raw.said)} if raw.said else {}
    write_array(layout.data / "images.npy", raw.images)
    write_parquet(layout.data / "index.parquet", index)
    write_parquet(layout.data / "truth.parquet", known)
    write_card(layout.data, card)
    save_vocabulary(layout.data, vocabulary, names, layout.root)
    limited = {"limited": int(data.limit > 0), "limit": data.limit}
    write_json(layout.reports / "audit.json", limited | audit_summary(index, raw.classes) | said)
    with replacing(layout.artifacts / "removed.png") as temporary:
        removed_sheet(raw.images, index).save(temporary)
