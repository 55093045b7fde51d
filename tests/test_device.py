import platform

import pytest
import torch

from emobench import device
from emobench.errors import UserError


@pytest.fixture(params=[True, False], ids=["native", "emulated"])
def native(request, monkeypatch) -> bool:
    monkeypatch.setattr(device, "computes_bfloat16", lambda on: request.param)
    return request.param


def test_auto_takes_bfloat16_only_where_it_is_native(native, capsys) -> None:
    assert device.pick_precision("auto", "cpu") == ("bfloat16" if native else "float32")
    assert device.pick_precision("float32", "cpu") == "float32"
    assert capsys.readouterr().err == ""


def test_asked_for_where_it_is_emulated_it_works_with_a_warning(native, capsys, monkeypatch) -> None:
    monkeypatch.setattr(device, "slowdown", lambda on: 11.04)
    assert device.pick_precision("bfloat16", "cpu") == "bfloat16"
    said = capsys.readouterr().err
    assert said == "" if native else "this CPU emulates" in said and "takes 11.0 times as long" in said
    assert said.count("\n") == (not native)


def test_the_forward_pass_is_in_the_precision_that_was_picked(native) -> None:
    layer, inputs = torch.nn.Linear(4, 4), torch.ones(2, 4)
    for name in ("auto", "float32", "bfloat16"):
        with device.autocast("cpu", name):
            half = layer(inputs).dtype == torch.bfloat16
        assert half == (name == "bfloat16" or (name == "auto" and native))


def test_the_slowdown_is_measured_and_the_same_precision_has_none(monkeypatch) -> None:
    times = iter([*[0, 9, 9, 15, 15, 18, 18, 28], *[30, 31, 31, 33, 33, 34, 34, 36]])
    monkeypatch.setattr(device.time, "process_time", lambda: next(times))
    # The first step counts on neither side; of the others the quickest took 3 and 1.
    assert device.slowdown("cpu") == 3


@pytest.mark.parametrize(
    ("machine", "onednn", "avx512", "expected"),
    [
        ("x86_64", True, True, True),
        ("x86_64", True, False, False),  # AVX-512 without bfloat16: oneDNN takes it, and emulates
        ("AMD64", True, False, False),
        ("x86_64", False, True, False),  # oneDNN was told to leave it
        ("x86_64", False, False, False),
        ("aarch64", True, False, True),
        ("arm64", False, False, False),
    ],
)
def test_what_is_native(monkeypatch, machine, onednn, avx512, expected) -> None:
    answers = {"_is_mkldnn_bf16_supported": onednn, "_is_avx512_bf16_supported": avx512}
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(device, "_says", lambda module, question: answers[question])
    assert device.computes_bfloat16("cpu") is expected


def test_a_torch_that_cannot_be_asked_computes_in_float32() -> None:
    class Broken:
        def fails(self) -> bool:
            raise RuntimeError("no such operator")

    assert not device._says(Broken(), "fails")
    assert not device._says(torch.ops.mkldnn, "_no_such_question")
    assert isinstance(device.computes_bfloat16("cpu"), bool)


@pytest.mark.parametrize(("newer", "emulates"), [(True, True), (False, True), (False, False)])
def test_a_gpu_is_asked_without_its_emulation(monkeypatch, newer, emulates, capsys) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: newer or (
        including_emulation and emulates))  # fmt: skip
    monkeypatch.setattr(device, "slowdown", lambda on: 2.0)
    assert device.pick_precision("auto", "cuda") == ("bfloat16" if newer else "float32")
    if newer or emulates:
        assert device.pick_precision("bfloat16", "cuda") == "bfloat16"
        assert ("this GPU emulates" in capsys.readouterr().err) == (not newer)
    else:
        with pytest.raises(UserError, match="bfloat16, which this GPU can't do; expected auto or float32"):
            device.pick_precision("bfloat16", "cuda")


def test_what_a_machine_lacks_is_one_line(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.pick_device("auto") == device.pick_device("cpu") == "cpu"
    with pytest.raises(UserError, match="finds no CUDA device; expected cpu or auto"):
        device.pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [device.pick_device(name) for name in ("auto", "cuda", "cpu")] == ["cuda", "cuda", "cpu"]
    with pytest.raises(UserError, match="precision is 'float16'; expected one of auto, float32, bfloat16"):
        device.pick_precision("float16", "cpu")


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("width", "threads"), [(100, 1), (50_000, 2)])
def test_short_steps_take_one_core(two_threads, width, threads):
    weight, inputs = torch.ones(width, 100), torch.ones(1000, 100)
    with device.cores_for(lambda: inputs @ weight.T):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 2


def test_all_cores_come_back_after_an_error(two_threads):
    with pytest.raises(ValueError, match="broken"), device.cores_for(lambda: None):
        assert torch.get_num_threads() == 1
        raise ValueError("broken")
    assert torch.get_num_threads() == 2
