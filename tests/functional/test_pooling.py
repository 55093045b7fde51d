import pytest
import torch

from emobench.functional.pooling import pool


@pytest.mark.parametrize("how", ["avg", "max"])
def test_convolution_is_pooled_over_space(how):
    output = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    pooled = pool(output, how)
    for image in range(3):
        for channel in range(4):
            values = output[image, channel].flatten().tolist()
            expected = max(values) if how == "max" else sum(values) / 30
            assert pooled[image, channel].item() == pytest.approx(expected, abs=1e-6)


def test_linear_output_stays_as_it_is():
    output = torch.randn(3, 4)
    assert pool(output, "max") is output


def test_unknown_pool_and_shape_are_refused():
    with pytest.raises(ValueError, match=r"how: expected one of avg, max; got 'sum'"):
        pool(torch.zeros(1, 2), "sum")
    with pytest.raises(ValueError, match=r"output: expected .*got shape \(1, 2, 3\)"):
        pool(torch.zeros(1, 2, 3))
    with pytest.raises(ValueError, match="at least one pixel"):
        pool(torch.zeros(1, 2, 0, 3))
