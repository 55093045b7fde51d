from emobench.networks.vggnet import LAYERS, VGGNet


def test_the_published_network() -> None:
    model = VGGNet()
    assert sum(parameter.numel() for parameter in model.parameters()) == 29_890_759
    assert [name for name, module in model.named_modules() if name.startswith(("conv", "lin"))] == list(LAYERS)
    assert model.conv4b.weight.shape == (512, 512, 3, 3)
    assert model.lin1.weight.shape == (4096, 2048)


def test_width_scales_every_layer_but_the_last() -> None:
    model = VGGNet(width=0.5)
    units = [model.get_submodule(layer).weight.shape[0] for layer in LAYERS]
    assert units == [32, 32, 64, 64, 128, 128, 256, 256, 2048, 2048, 7]
