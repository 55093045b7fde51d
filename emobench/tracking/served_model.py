"""The network as MLflow serves it. A registered model holds a copy of this file and runs it: code, no pickle.

It needs emobench where it is loaded; the network's card, its weights and its own file, if it has one, lie beside it.
"""

from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from emobench.networks.sources import load_network

BATCH = 256


class ServedNetwork(PythonModel):
    """Pictures to class probabilities."""

    def load_context(self, context: PythonModelContext) -> None:
        """Loads the network that the model was registered with."""
        self.network = load_network(Path(context.artifacts["network"]))

    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> np.ndarray:
        """Pictures uint8 (images, height, width) or (images, height, width, 3), as the benchmark's were stored.

        Returns:
            Probabilities float32 (images, classes), in the order of the network's classes.
        """
        return self.network.logits(model_input, batch_size=BATCH).float().softmax(-1).numpy()


set_model(ServedNetwork())
