"""Evaluating many edits of a network: network, layer and scales in, logits out."""
