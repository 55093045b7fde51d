"""Faces that are drawn: their values, the drawing, and what it is drawn on."""
