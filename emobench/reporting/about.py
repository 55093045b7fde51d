"""What a reader of the page may ask of it: what was done, what the words mean, where it came from, how to cite it."""

from importlib.metadata import version
from pathlib import Path

from emobench import __version__, costs
from emobench.edits.family import LEVEL
from emobench.reporting import tables
from emobench.reporting.page_tables import NONE, Table
from emobench.reporting.results import Results
from emobench.reporting.words import architecture
from emobench.revisions import git

GLOSSARY = {
    "unit": "A channel of a convolution or a neuron of a linear layer; its activation is taken before normalisation.",
    "concept label, description": "The concept whose image-text similarity goes best with a unit's activation.",
    "probing set": "The images that the descriptions come from: kept training images without exact copies.",
    "τ": "The similarity from which on the paper calls a unit interpretable.",
    "significant": "A best similarity above what units with random top images reach, corrected over the layer's units.",
    "label agreement": "How often a unit's top images are of a class that its description speaks for.",
    "held-out evidence": "How well a unit finds its concept on images that its description was not chosen on.",
    "selection strategy, arm": "A rule that says which rows of the edited layer are strengthened.",
    "random control": "The same edit of units drawn at random, each draw with the same search on validation.",
    "norm-matched (decile) control": "The same, drawn among rows of like weight norm.",
    "points": "Percentage points: hundredths of the images.",
    "detectable": "The least gain that the edit's test would have found in 80 of 100 cases.",
    "improves, harms": "Verdicts: significant after Holm's correction; a gain must also beat its controls and every "
    "uniform factor, and not raise the calibrated NLL.",
}
CITE = (
    "emobench (see CITATION.cff in its repository).",
    "J. Cha, S. Choi, J. Lo, H. Luu, L. Weng: Enhancing Emotion Recognition in AI: A CLIP-Dissect Approach.",
    "T. Oikarinen, T.-W. Weng: CLIP-Dissect: Automatic Description of Neuron Representations in Deep Vision Networks. "
    "ICLR 2023, arXiv:2204.10965.",
)


def method(results: Results) -> list[str]:
    """What was done, in a few sentences with the numbers at hand."""
    edit, dissect = results.params.edit, results.params.dissect
    judged = results.verdicts.loc[results.verdicts["images"] == "test", "config_id"].nunique()
    return [
        f"Every unit of {len(results.layer_names)} layers of {architecture(results)} was described by the concept that "
        f"its activation goes with best ({', '.join(dissect.similarity_fns)}; Oikarinen and Weng, 2023), held against "
        f"{dissect.null_draws:,} random draws and an untrained network.",
        f"Rows of {tables.edited_layer(results)} were scaled by {len(edit.arms)} selection strategies and "
        f"{len(edit.search.kinds)} searches. Of each, the edit best on validation was judged on test: "
        f"{judged} edits, an exact McNemar test each, corrected by Holm's method at {LEVEL:g}.",
        f"Each judged edit stands beside up to {edit.controls.draws} random controls of two kinds. A kind stops, after "
        f"{edit.controls.least} draws at least, once no further draw can change a verdict.",
    ]


def provenance(results: Results) -> Table:
    """Where the page came from. When it was made is not among it: the same inputs give the same bytes."""
    rows = costs.latest(results.layout)
    machines = dict.fromkeys(f"{row['cpu']}, {row['cores']} cores" for row in rows if row["cpu"])
    kinds = {"network": results.metrics("network"), "CLIP": results.clip_model | results.metrics("clip")}
    precisions = (f"{found['precision']} ({name})" for name, found in kinds.items() if "precision" in found)
    found = {
        "benchmark": results.params.name,
        "commit": commit(results.layout.root) or NONE,
        "machine": "; ".join(machines) or NONE,
        "precision of training": ", ".join(precisions) or "float32",
        "seed": str(results.params.seed),
        "versions": ", ".join([f"emobench {__version__}", *(f"{name} {version(name)}" for name in ("torch", "numpy"))]),
        "parameters": "params.yaml; what DVC ran, with digests of all files: dvc.lock",
    }
    return Table("Where this page came from.", ["", ""], [list(pair) for pair in found.items()], words=2, folded=True)


def commit(root: Path) -> str:
    """The commit of the repository at hand, short, and its day; empty where there is none."""
    return (git(root, "show", "--no-patch", "--format=%h of %cs", "--abbrev=12", "HEAD") or b"").decode().strip()
