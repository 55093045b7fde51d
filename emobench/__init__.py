"""What the units of a facial-emotion network react to, and whether strengthening the readable ones helps.

>>> import emobench
>>> faces, concepts = emobench.draw_faces(100, seed=0)
>>> network = emobench.build_network("vggnet", {"width": 0.02}, classes=faces.classes)
>>> activations = emobench.record(network, faces.images, ["lin2"])["lin2"]
>>> seen = faces.rows("train")
>>> dissector = emobench.Dissector("cos_similarity", null_draws=200).fit(activations[seen], concepts.iloc[seen])
>>> set(dissector.units_["description"]) <= set(concepts.columns)
True
>>> better = dissector.units_["similarity"] > dissector.units_["similarity"].median()
>>> result = emobench.evaluate_edit(network, faces, "lin2", better, controls=0, bootstrap_draws=100)
>>> result.verdict in ("improves", "harms", "no evidence", "not judged (no controls)")
True

Nothing is imported before it is used. Whatever is not in ``__all__`` may change without notice.
"""

import importlib
from typing import Any

__version__ = "0.1.0"
"""Of the package; pyproject.toml reads it here."""

_HOMES = {
    "Dissector": "emobench.library.dissector",
    "EditResult": "emobench.library.edits",
    "UserError": "emobench.errors",
    "build_network": "emobench.networks.sources",
    "draw_faces": "emobench.library.images",
    "evaluate_edit": "emobench.library.edits",
    "evaluate_range": "emobench.library.ranges",
    "image_set": "emobench.library.images",
    "load_images": "emobench.library.images",
    "load_network": "emobench.networks.sources",
    "record": "emobench.library.recording",
    "recorded": "emobench.networks.recording",
}
__all__ = [
    "Dissector",
    "EditResult",
    "UserError",
    "__version__",
    "build_network",
    "draw_faces",
    "evaluate_edit",
    "evaluate_range",
    "image_set",
    "load_images",
    "load_network",
    "record",
    "recorded",
]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'emobench' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
