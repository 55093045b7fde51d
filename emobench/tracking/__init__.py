"""Logging to MLflow and its model registry; mlflow is imported here alone."""
