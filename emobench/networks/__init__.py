"""The network under study: its architecture, loading, training, recording, and the evaluation of edits."""
