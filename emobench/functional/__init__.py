"""The maths: tensors in, tensors out. No paths, no printing, no choice of device."""
