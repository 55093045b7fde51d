"""The sections of params.yaml, a file for each floor of the house."""
