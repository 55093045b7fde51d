"""Comparing results in folders, at revisions and in MLflow: the command line's own."""
