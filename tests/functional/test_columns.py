import pytest
import torch

from emobench.functional.columns import centred, constant_columns, standardised
from emobench.functional.faithfulness import pearson
from emobench.functional.similarity.asymptotic import correlated_normals


def awkward(dtype: torch.dtype, rows: int = 3) -> torch.Tensor:
    """Constants whose mean, taken as a plain sum, is another number in any arithmetic; and a column that moves."""
    constants = torch.tensor([0.1, 0.3, 1e-30, 7e20, -0.7, 0.0], dtype=dtype).expand(rows, -1)
    return torch.cat([constants, torch.arange(rows, dtype=dtype)[:, None]], dim=1)


def test_the_mean_of_a_constant_is_another_number() -> None:
    value = torch.tensor([0.1, 0.1, 0.1], dtype=torch.float64)
    assert (value[0] + value[1] + value[2]) / 3 != value[0], "what the others are about"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [3, 7, 701])
def test_constants_are_zero_and_the_rest_is_plain_arithmetic(dtype: torch.dtype, rows: int) -> None:
    columns = awkward(dtype, rows)
    assert constant_columns(columns).tolist() == [True] * 6 + [False]
    assert (centred(columns)[:, :6] == 0).all()
    assert (standardised(columns)[:, :6] == 0).all()
    moving = torch.arange(rows, dtype=torch.float64) - (rows - 1) / 2
    torch.testing.assert_close(centred(columns)[:, 6], moving)
    torch.testing.assert_close(standardised(columns)[:, 6].double(), moving / moving.std(), rtol=1e-5, atol=1e-5)


def test_one_step_of_the_last_bit_is_no_constant() -> None:
    column = torch.full((5, 1), 0.1)
    column[3] = torch.nextafter(column[3], torch.tensor(1.0))
    assert not constant_columns(column).any()
    assert centred(column).norm() > 0


def test_a_constant_has_no_correlation_and_no_draws() -> None:
    columns = awkward(torch.float64)
    assert pearson(columns, columns[:, 6:])[:6].isnan().all()
    drawn = correlated_normals(columns, 50, torch.Generator().manual_seed(0))
    assert (drawn[:, :6] == 0).all()
    assert drawn[:, 6].std() > 0.5
    assert (correlated_normals(columns[:, :6], 50, torch.Generator().manual_seed(0)) == torch.zeros(50, 6)).all()
