import argparse

import numpy as np
import pytest
import torch

from emobench.errors import UserError
from emobench.weights import differences, fitted_state, read_state

STATE = {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2)}


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "net", "params", "model_state_dict", "own"])
def test_wrappers_are_taken_off_and_said(wrapper, tmp_path, capsys):
    torch.save({wrapper: STATE, "epoch": 3, "best": np.float64(0.5), "lr": 1e-3}, tmp_path / "w.pt")
    assert read_state(tmp_path / "w.pt", "own").keys() == STATE.keys()
    said = capsys.readouterr().err
    assert said == ("" if wrapper == "own" else f"{tmp_path / 'w.pt'}: took off {wrapper}\n")


def test_wrappers_in_wrappers_and_the_prefix_of_data_parallel(tmp_path, capsys):
    state = {f"module.{name}": value for name, value in STATE.items()}
    torch.save({"model": {"state_dict": state}}, tmp_path / "w.pt")
    assert read_state(tmp_path / "w.pt", "params").keys() == STATE.keys()
    assert "took off model, state_dict, module." in capsys.readouterr().err


def test_fitting(capsys):
    wanted = STATE | {"n.num_batches_tracked": torch.tensor(0)}
    fitting = fitted_state({f"model.backbone.{name}": value.half() for name, value in STATE.items()}, wanted)
    assert not differences(fitting, wanted)
    assert fitting["a.weight"].dtype == torch.float32
    assert "took off the prefix backbone." in capsys.readouterr().err


class Own(torch.nn.Module):
    pass


def write_pickle(path):
    torch.save(argparse.Namespace(a=1), path)


def write_script(path):
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(path)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize(
    ("write", "said"),
    [
        (write_pickle, r"a pickle of whole objects \(argparse\.Namespace\), .* save its state dict instead"),
        (lambda path: write_script(path), "is a TorchScript archive, .* save its state dict instead"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid x\n"), "Git LFS pointer"),
        (lambda path: path.write_text("\n<!DOCTYPE html><html>"), "is a web page"),
        (lambda path: path.write_text("<html>"), "is a web page"),
        (lambda path: path.write_bytes(b"nothing"), "is not a weights file"),
        (lambda path: torch.save({"epoch": 3, "lr": 0.1}, path), r"holds no state dict \(it has epoch, lr\)"),
        (lambda path: torch.save([1], path), "holds no state dict; expected"),
    ],
)
def test_what_is_no_weights_file_is_named(write, said, tmp_path):
    write(tmp_path / "w.pth")
    with pytest.raises(UserError, match=said):
        read_state(tmp_path / "w.pth", "params")
