"""One's own faces and network from ``emobench use`` to params.yaml, and every mistake as one line."""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from small_own import CLASSES, network
from small_sets import picture, write_files

from emobench import cli
from emobench.params import Params, load_params

OWN = ("--archive", "../mine/my_faces", "--network", "../mine/net.py:build")
WEIGHTS = ("--weights", "../mine/net.safetensors", "--classes", "sadness,happiness,surprised")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, arguments)


def use(*arguments: str) -> list[str]:
    """The lines that ``emobench use`` prints."""
    result = call("use", *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def params() -> Params:
    return load_params()


def test_options_stay_where_a_later_call_names_others_or_none(own) -> None:
    use("folder", *OWN, "--option", "width=3", "--layers", "0")
    said = "\n".join(use("folder", *OWN, "--concepts", "../mine/my.csv"))
    assert params().network.options == {"width": 3}
    assert "network.options: width=3 as in the params.yaml before; --option sets others" in said
    assert "not kept from the params.yaml before: --layers; give them again" in said
    assert params().network.layers == "auto"
    said = "\n".join(use("folder", *OWN, "--option", "width=5"))
    assert params().network.options == {"width": 5}
    assert "params.yaml before" not in said


def test_options_of_another_network_or_benchmark_do_not_stay(own) -> None:
    use("folder", *OWN, "--option", "width=3")
    said = "\n".join(use("folder", *OWN, "--name", "other"))
    assert (params().network.options, "before" in said) == ({}, False)
    use("folder", *OWN, "--option", "width=3")
    said = "\n".join(use("folder", "--archive", "../mine/my_faces"))
    assert params().network.architecture == "vggnet"
    assert "width" not in params().network.options or params().network.options["width"] != 3
    assert "network: net.py:build of the params.yaml before is not kept; name it by --network again" in said


def test_a_complete_params_yaml_and_what_was_assumed(own) -> None:
    said = "\n".join(use("folder", *OWN, *WEIGHTS, "--option", "width=4"))
    found = params()
    assert (found.name, found.data.source, found.data.input) == ("my_faces", "folder", "data/raw/my_faces-archive")
    assert (found.data.size, found.data.channels) == (32, 3)
    assert (found.network.architecture, found.network.file) == ("net.py:build", "net.py")
    assert (found.network.source, found.network.input) == ("weights", "data/raw/my_faces-weights.safetensors")
    assert found.network.classes == ["sadness", "happiness", "surprised"]
    assert found.network.options == {"width": 4}
    assert (found.edit.layer, found.edit.search.joint, found.edit.concept_set) == ("auto", [], "emotions")
    assert Path("net.py").read_text() == (own / "net.py").read_text()
    for line in (
        "12 pictures of 3 classes in ../mine/my_faces",
        "classes: happy, sad, surprise",
        "splits: none given, so 80 % train, 10 % val and 10 % test",
        "its outputs are sad, happy, surprise; it takes RGB 32x32 (bilinear), values 0 to 1",
        "layers: 3 of 3 recorded; edits are evaluated ",
        "stored: RGB 32x32 (the network takes 32, the pictures have about 40)",
        "dissect.soft_wpmi.top_k is 3 instead of 100: about 9 train pictures",
        "edit.layer: auto",
        "a CLIP trained here then knows the 3 emotions only",
        "../mine/net.py is copied to net.py",
        "next: emobench validate, then dvc repro",
    ):
        assert line in said, line


def test_what_is_asked_for_is_taken(own) -> None:
    use("folder", *OWN, "--size", "20", "--channels", "1", "--name", "mine", "--layers", "0,4", "--picture", "crop=0.5")
    found = params()
    assert (found.name, found.data.size, found.data.channels) == ("mine", 20, 1)
    assert (found.network.source, found.network.layers) == ("train", ["0", "4"])
    assert (found.network.picture.crop, found.network.picture.size, found.network.picture.mean) == (0.5, [32, 32], [])


def test_the_order_of_the_outputs_is_said_to_be_assumed(own) -> None:
    said = use("folder", *OWN, *WEIGHTS[:2])
    assert any("its outputs are ASSUMED to be happy, sad, surprise; say otherwise with --classes" in s for s in said)
    assert params().network.classes == []


def test_concepts_are_kept_and_used_where_something_can_rank_them(own) -> None:
    said = use("folder", *OWN, "--concepts", "../mine/my.csv")
    assert any("concept set my is left out: the CLIP trained here will know 0 of its concepts" in line for line in said)
    assert params().concept_sets == ["emotions"]
    (own / "scores.csv").write_text("image_id,smile,frown\nhappy/0.png,1,0\n")
    use("folder", *OWN, "--concepts", "../mine/my.csv", "--annotations", "../mine/scores.csv")
    found = params()
    assert (found.annotate.source, found.annotate.input) == ("file", "data/raw/my_faces-annotations.csv")
    assert found.concept_sets == ["emotions", "expressions", "concepts/my.csv"]
    assert found.edit.concept_set == "my"
    assert Path("concepts/my.csv").is_file()
    assert call("validate").exit_code == 0


def test_numbered_folders_get_their_names_from_the_classes(own) -> None:
    for number, name in enumerate(CLASSES):
        (own / "my_faces" / name).rename(own / "my_faces" / str(number))
    result = call("use", "folder", *OWN)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "the classes are numbers (0 to 2); state their names in order" in result.stderr
    said = use("folder", *OWN, "--classes", "sad,happy,surprise")
    assert params().data.classes == ["sad", "happy", "surprise"]
    assert "class numbers count from 0: 0 is sad, 1 is happy, 2 is surprise" in said


def test_a_table(own) -> None:
    rows = "".join(f"{name}/{k}.png,{name}\n" for name in CLASSES for k in range(4))
    (own / "my_faces" / "metadata.csv").write_text(f"file_name,label\n{rows}")
    use("table", *OWN)
    assert (params().data.source, params().name) == ("table", "my_faces")
    assert call("validate").exit_code == 0


def test_another_network_on_the_preset_of_drawn_faces(own) -> None:
    said = use("demo", "--network", "../mine/net.py:build")
    found = params()
    assert (found.name, found.edit.layer, found.edit.search.joint) == ("demo-build", "auto", [])
    assert "edit.search.joint is empty: this network has no lin1, lin2" in said
    assert call("validate").exit_code == 0


def test_layers(own) -> None:
    use("folder", *OWN, *WEIGHTS)
    rows = json.loads(call("layers", "--json").stdout)
    assert [(row["layer"], row["kind"], row["units"], row["grid"]) for row in rows] == [
        ("0", "conv2d", 4, [15, 15]), ("4", "linear", 6, []), ("6", "linear", 3, []),
    ]  # fmt: skip
    assert [row["multiplications"] for row in rows] == [4 * 27 * 15 * 15, 4 * 6, 6 * 3]
    assert [(row["recorded"], row["editable"]) for row in rows] == [(True, True), (True, True), (True, False)]
    assert all(row["way"] in ("quick", "cut") and row["reason"] == "" for row in rows)
    shown = call("layers").stdout.splitlines()
    assert shown[0].split() == ["layer", "kind", "units", "outputs", "multiplications", "way", "recorded", "edited"]
    assert shown[1].split()[:5] == ["0", "conv2d", "4", "15x15", "24,300"]


def test_validate_tells_the_accuracy_and_sees_a_wrong_order(own) -> None:
    write_files(own / "my_faces", {f"{name}/{k}.png": _shade(place) for place, name in enumerate(CLASSES)
                                   for k in range(40)})  # fmt: skip
    torch.save(_shades().state_dict(), own / "shades.pt")
    right = (*OWN, "--weights", "../mine/shades.pt", "--classes", "happy,sad,surprise")
    use("folder", *right)
    found = json.loads(call("validate", "--json").stdout)
    assert (found["valid"], found["accuracy"], found["accuracy_images"]) == (True, 1.0, 120)
    use("folder", *right[:-1], "happy,surprise,sad")
    result = call("validate")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "the classes seem to be in another order: 33" in result.stderr


def _shade(place: int) -> bytes:
    """A picture of one brightness for each class."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (40 + 80 * place,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


def _shades() -> torch.nn.Module:
    """A network that tells the three brightnesses apart: the nearest of 40, 120 and 200."""
    model = network()
    state = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    state["0.weight"][0] = 1 / 27
    state["4.weight"][0, 0] = 1
    levels = torch.tensor([40.0, 120.0, 200.0]) / 255
    state["6.weight"][:, 0], state["6.bias"] = 2 * levels, -(levels**2)
    model.load_state_dict(state)
    return model


def test_every_mistake_of_validate_is_a_line(own) -> None:
    use("folder", *OWN, *WEIGHTS)
    text = Path("params.yaml").read_text()
    changed = text.replace("layer: auto", "layer: '5'").replace("joint: []", "joint: ['0', '44']")
    Path("params.yaml").write_text(changed.replace("device: cpu", "device: cuda"))
    result = call("validate")
    lines = result.stderr.splitlines()
    assert result.exit_code == 1
    assert len(lines) == (2 if torch.cuda.is_available() else 3)
    assert any("params: edit.layer: '5'; known: 0, 4" in line or "edit.layer: '5'" in line for line in lines)
    assert any("unknown params: edit.search.joint: '44'; known: 4" in line for line in lines)
    Path("params.yaml").write_text(text.replace("seed: 0", "seed: no").replace("jobs: 2", "jobs: 0"))
    lines = call("validate").stderr.splitlines()
    assert lines == [
        "emobench: params: seed is 'no'; expected int",
        "emobench: params: edit.jobs is 0; expected 1 to inf",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*OWN, "--weights", "../mine/wide.safetensors"), "does not fit: wrong shapes: 0.weight (5, 3, 3, 3)"),
        ((*OWN, "--weights", "../mine/whole.pt"), "is a pickle of whole objects (torch.nn.modules"),
        ((*OWN, "--weights", "../mine/nix.pt"), "no file or folder ../mine/nix.pt"),
        ((*OWN, *WEIGHTS[:3], "happy,sad"), "6.bias (3,), expected (2,); it was built for 2 classes"),
        ((*OWN, *WEIGHTS[:3], "happy,sad,angry"), "the network has no output for surprise; network.classes is happy"),
        ((*OWN[:2], "--network", "timm/resnet81"), "timm has no architecture 'resnet81'; nearest: resnet18"),
        ((*OWN[:2], "--network", "resnet18"), "unknown network architecture 'resnet18'; known: vggnet, deep_emotion"),
        ((*OWN[:2], "--network", "../mine/net.py"), "names no function; expected FILE.py:FUNCTION"),
        ((*OWN[:2], "--network", "../mine/nix.py:build"), "no file or folder ../mine/nix.py"),
        ((*OWN[:2], "--network", "../mine/net.py:nix"), "net.py has no function 'nix'"),
        ((*OWN[:2], "--network", "../mine/net.py:number"), "net.py:number gives a int; expected a torch.nn.Module"),
        ((*OWN[:2], "--network", "../mine/net.py:failing"), "line 10, in failing: return nn.Linear(3, undefined)"),
        ((*OWN, "--picture", "channels=1"), "the network does not take (1, 32, 32): RuntimeError"),
        ((*OWN, "--picture", "side=1"), "network.picture has no side; known: channels, size"),
        ((*OWN, "--layers", "9"), "unknown params: network.layers: '9'; known: 0, 4, 6"),
        ((*OWN, "--option", "depth=1"), "unexpected keyword argument 'depth'"),
        ((*OWN, "--concepts", "../mine/net.py"), "--concepts ../mine/net.py: expected a file that ends in .txt"),
        ((*OWN, "--concepts", "../mine/bored.csv"), "concept 'yawn': 'bored'; known: happy, sad, surprise"),
        ((*OWN, "--annotations", "../mine/my.csv"), "my.csv has the columns ['concept', 'classes']; expected image_id"),
        (("--network", "../mine/net.py:build"), "preset 'folder' needs images: emobench use folder --archive"),
        (("--archive", "../mine/nix"), "no file or folder ../mine/nix"),
        (("--archive", "../mine/net.zip"), "net.zip is a truncated or damaged zip"),
        (("--archive", "../mine/twice.zip"), "happy/0.png stands there twice"),
        (("--archive", "../mine/broken"), "broken: sad/0.png: can't be decoded"),
        (("--archive", "../mine/flat"), "unexpected picture 0.png; expected split/class/file"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_nothing_is_written(own, arguments, message) -> None:
    _write_broken(own)
    result = call("use", "folder", *arguments)
    assert result.exit_code == 1, result.output
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert sorted(str(path) for path in Path().rglob("*")) == ["concepts", "data", "data/raw", "data/raw/none"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def _write_broken(folder: Path) -> None:
    """Archives and files that nobody should be able to use."""
    write_files(folder, {"bored.csv": "concept,classes\nyawn,bored\n", "net.zip": b"PK no zip"})
    write_files(folder / "broken", {"happy/0.png": picture(0), "sad/0.png": b"no picture"})
    write_files(folder / "flat", {"0.png": picture(0)})
    with zipfile.ZipFile(folder / "twice.zip", "w") as archive:
        archive.writestr("happy/0.png", picture(0))
        archive.writestr("sad/0.png", picture(1))
        archive.writestr("happy\\0.png", picture(2))


def test_a_table_whose_paths_leave_the_folder(own) -> None:
    (own / "my_faces" / "metadata.csv").write_text("file_name,label\n../net.py,happy\n")
    result = call("use", "table", *OWN)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "row 1: ../net.py leaves the folder; expected a path within it" in result.stderr


def test_a_class_without_pictures(own) -> None:
    use("folder", *OWN)
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("classes: []", "classes: [happy, sad, surprise, fear]", 1))
    result = call("validate")
    assert result.exit_code == 1
    assert "no picture of class fear in the images" in result.stderr


def test_another_file_of_the_same_name_is_not_replaced(own) -> None:
    Path("net.py").write_text("# mine, and another one\n")
    result = call("use", "folder", *OWN)
    assert result.exit_code == 1
    assert "../mine/net.py would replace net.py, which is another file" in result.stderr
    assert Path("net.py").read_text() == "# mine, and another one\n"


def test_an_exported_program_needs_the_users_word(own) -> None:
    images = torch.rand(2, 3, 32, 32)
    shape = ({0: torch.export.Dim("batch", min=2)},)
    program = own / "net.pt2"
    torch.export.save(torch.export.export(network(), (images,), dynamic_shapes=shape), program)
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    given = ("folder", *OWN[:2], "--network", "../mine/net.pt2", "--picture", "size=[32, 32]")
    refused = call("use", *given)
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert f"can run code that it carries; if you trust it, say so: --sha256 {digest} (or --trust)" in refused.stderr
    assert "--sha256 says 0000" in call("use", *given, "--sha256", "0000").stderr
    assert "takes no --weights" in call("use", *given, "--trust", *WEIGHTS).stderr
    assert not Path("params.yaml").exists()
    use(*given, "--sha256", digest)
    found = params()
    assert (found.network.architecture, found.network.sha256, found.record.untrained) == ("net.pt2", digest, False)
    assert Path("net.pt2").is_file()
    assert call("validate").exit_code == 0
    shutil.copy(own / "net.py", "net.pt2")
    assert "its sha256 is" in call("validate").stderr
