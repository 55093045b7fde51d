"""A benchmark of few drawn faces that every stage up to the report really ran, in some seconds."""

import dataclasses
import importlib
import shutil
from pathlib import Path

from presets import preset

from emobench.faces.card import read_card, write_card
from emobench.layout import Layout
from emobench.params import Params

STAGES = ("prepare", "annotate", "network", "clip", "embed", "record", "dissect", "edit", "compare")
TINY_CLIP = {
    "embed_dim": 16, "image_size": 32, "image_width": 8, "text_width": 32, "text_layers": 1, "epochs": 2,
    "batch_size": 32, "max_lr": 0.01, "captions": 4, "precision": "float32",
}  # fmt: skip


def real_params() -> Params:
    """The demo's params with few faces, a narrow network and a narrow CLIP, few draws and a grid of 3 x 3."""
    demo = preset()
    drawn = dataclasses.replace(demo.data.synthetic, train=210, val=70, test=105)
    trained = dataclasses.replace(demo.network.train, epochs=2, batch_size=32, precision="float32")
    few = dataclasses.replace(demo.dissect.soft_wpmi, top_k=20)
    search = dataclasses.replace(demo.edit.search, kinds=["free"], joint=[], folds=2, steps=3, penalties=[1.0])
    edit = {"taus": [-0.5, 0.0, 0.5], "factors": [1.0, 1.5, 2.0], "operations": ["rows"], "search": search, "jobs": 1}
    edit |= {"arms": ["similarity", "weight_norm", "proportional"]}
    edit |= {"controls": dataclasses.replace(demo.edit.controls, draws=20, least=20)}
    return dataclasses.replace(
        demo,
        name="small",
        data=dataclasses.replace(demo.data, synthetic=drawn),
        network=dataclasses.replace(demo.network, options={"width": 0.05, "dropout": 0.2}, train=trained),
        clip=dataclasses.replace(demo.clip, training=dataclasses.replace(demo.clip.training, **TINY_CLIP)),
        dissect=dataclasses.replace(
            demo.dissect, similarity_fns=["soft_wpmi"], soft_wpmi=few, null_draws=200, resamples=2, coherence_images=10
        ),
        edit=dataclasses.replace(demo.edit, **edit),
        compare=dataclasses.replace(demo.compare, bootstrap_draws=200),
        report=dataclasses.replace(demo.report, top_units=2, top_images=3),
    )


def as_fer2013(params: Params, layout: Layout) -> Params:
    """The same results, told to be of FER2013's photos, which nobody may pass on; changes the card."""
    card = dataclasses.replace(read_card(layout.data), private=True, source="fer2013: mine")
    write_card(layout.data, card)
    shutil.rmtree(layout.artifacts / "seen")  # of results without notes all is believed
    fer2013 = preset("fer2013")
    return dataclasses.replace(params, data=fer2013.data)


def real_run(root: Path) -> tuple[Params, Layout]:
    """Runs all stages before the report below ``root``."""
    params = real_params()
    layout = Layout(params.name, root)
    for name in STAGES:
        importlib.import_module(f"emobench.stages.{name}").run(params, layout)
    return params, layout
