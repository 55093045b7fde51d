"""Which layer is edited: apart from all that edits it, since the page asks for it too."""

import pandas as pd

from emobench.errors import UserError, unknown_name
from emobench.networks.card import NetworkCard
from emobench.settings.edit import Edit


def choose_layer(edit: Edit, layers: pd.DataFrame, card: NetworkCard) -> str:
    """The layer named in params, or with ``auto`` the one with the most interpretable units (paper, section 3.3).

    Args:
        edit: concept_set and similarity_fn say which dissection counts.
        layers: layers.parquet. Of layers with as many units the first is taken.
        card: the network's. Its outputs are no layer to edit.

    Raises:
        UserError: no such layer, or the dissection asked for is not in the table.
    """
    names = [layer.name for layer in card.editable]
    if edit.layer != "auto":
        if edit.layer not in names:
            raise unknown_name("layer to edit", edit.layer, names)
        return edit.layer
    rows = layers[(layers["concept_set"] == edit.concept_set) & (layers["similarity_fn"] == edit.similarity_fn)]
    counts = rows.set_index("layer")["num_interp"].reindex(names).dropna()
    if counts.empty:
        raise UserError(
            f"layers.parquet has no layer for {edit.concept_set} and {edit.similarity_fn}; run dvc repro dissect"
        )
    return str(counts.idxmax())
