"""The network as MLflow serves it. A registered model holds a copy of this file and runs it: code, no pickle.

It needs emobench where it is loaded; the weights lie beside it as safetensors.
"""

from typing import Any

import numpy as np
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from emobench.networks.loading import load_network

BATCH = 256


class ServedNetwork(PythonModel):
    """Pictures to class probabilities."""

    def load_context(self, context: PythonModelContext) -> None:
        """Loads the weights that the model was registered with."""
        self.network = load_network(context.artifacts["weights"])

    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> np.ndarray:
        """Pictures uint8 (images, 48, 48) to probabilities float32 (images, classes), in the order of CLASSES."""
        inputs = self.network.transform(model_input)
        with torch.inference_mode():
            return torch.cat([self.network.model(part).softmax(-1) for part in inputs.split(BATCH)]).numpy()


set_model(ServedNetwork())
