"""What the processors of this machine can do."""


def native_bfloat16(device: str) -> bool:
    """Tells whether a device computes bfloat16 itself; elsewhere it is emulated, ten times slower than float32.

    Args:
        device: ``cpu``, or ``cuda`` with or without a number.
    """
    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported() and torch.cpu._is_avx512_bf16_supported())
