"""Concepts: the image-text model that scores them, and the annotations that measure them."""
