import pytest
import torch

from emobench.networks.vggnet import LAYERS, VGGNet


def test_the_published_network() -> None:
    model = VGGNet()
    assert sum(parameter.numel() for parameter in model.parameters()) == 29_890_759
    assert [name for name, module in model.named_modules() if name.startswith(("conv", "lin"))] == list(LAYERS)
    assert model.conv4b.weight.shape == (512, 512, 3, 3)
    assert model.lin1.weight.shape == (4096, 2048)


@pytest.mark.parametrize("layer", LAYERS)
def test_forward_after_goes_on_from_a_layers_output(layer: str) -> None:
    torch.manual_seed(0)
    model = VGGNet(width=1 / 16).eval()
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    with torch.no_grad():
        logits = model(torch.rand(2, 1, 40, 40))
        handle.remove()
        assert torch.equal(model.forward_after(layer, kept[0]), logits)


def test_width_scales_every_layer_but_the_last() -> None:
    model = VGGNet(width=0.5)
    units = [model.get_submodule(layer).weight.shape[0] for layer in LAYERS]
    assert units == [32, 32, 64, 64, 128, 128, 256, 256, 2048, 2048, 7]
