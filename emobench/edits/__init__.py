"""Edits of a network's layers: which, their search, their controls and their verdicts."""
