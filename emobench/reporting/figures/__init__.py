"""The report's figures; matplotlib is imported here alone."""
