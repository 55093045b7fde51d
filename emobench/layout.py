"""Where each file of a benchmark lies. dvc.yaml says the same to DVC; a test compares the two."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

REFERENCE = "reference"
"""Folder below reports/ of the results that git keeps; no benchmark may be called so."""


@dataclass(frozen=True)
class Layout:
    """The files of the benchmark ``name`` below ``root``."""

    name: str
    root: Path = Path()

    @property
    def data(self) -> Path:
        """Image set: images.npy, index.parquet, truth.parquet, annotations.parquet."""
        return self.root / "data" / self.name

    @property
    def models(self) -> Path:
        """Networks: network/, edited.safetensors, search_scales.safetensors, clip/."""
        return self.root / "models" / self.name

    @property
    def artifacts(self) -> Path:
        """Embeddings, activations, tables, predictions."""
        return self.root / "artifacts" / self.name

    @property
    def reports(self) -> Path:
        """What people read; git keeps references only."""
        return self.root / "reports" / self.name

    @property
    def reference(self) -> Path:
        """Results that git keeps, beside where they came from."""
        return self.root / "reports" / REFERENCE / self.name

    @property
    def partial(self) -> Path:
        """Interrupted work, nobody's output: DVC deletes outputs before a stage runs, but not this."""
        return self.root / "artifacts" / ".partial"

    def partial_for(self, stage: str, *inputs: object) -> Path:
        """The folder of a stage's interrupted work that belongs to just these inputs (told apart by their repr)."""
        return self.partial / stage / hashlib.sha256(repr(inputs).encode()).hexdigest()[:16]
