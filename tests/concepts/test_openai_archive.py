import pickle
import warnings
import zipfile

import pytest
import torch
from clip_forms import OPENAI_TINY, half, random_model, write_openai_archive

from emobench.concepts.openai_archive import archive_config, is_program, read_archive
from emobench.errors import UserError


@pytest.fixture
def archive(tmp_path):
    return write_openai_archive(tmp_path / "tiny.pt", random_model(OPENAI_TINY))


def rewritten(archive, path, change):
    """A copy of an archive with other content in some files."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name.partition("/")[2], old.read(name)))
    return path


def test_the_weights_are_those_that_the_program_holds(archive, tmp_path):
    expected = half(random_model(OPENAI_TINY)).state_dict()
    state = read_archive(archive)
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name].float(), value) for name, value in expected.items())
    assert state["ln_final.weight"].dtype == torch.float16
    assert archive_config(state, archive) == OPENAI_TINY


def test_the_program_is_never_read(archive, tmp_path):
    """Its code may be anything: what is read is the tree of weights alone."""
    broken = rewritten(
        archive, tmp_path / "b.pt", lambda name, content: b"not code" if name.startswith("code/") else content
    )
    assert read_archive(broken).keys() == read_archive(archive).keys()
    with warnings.catch_warnings(), pytest.raises(RuntimeError):
        warnings.simplefilter("ignore")
        torch.jit.load(broken)


def test_only_programs_are_programs(archive, tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "weights.pt")
    (tmp_path / "text.pt").write_text("text")
    assert is_program(archive)
    assert not is_program(tmp_path / "weights.pt")
    assert not is_program(tmp_path / "text.pt")


class Runs:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("kind", ["runs code", "torn", "nothing"])
def test_an_archive_that_asks_for_more_than_tensors_is_refused(archive, tmp_path, kind):
    trap = tmp_path / "trap"
    content = {"runs code": pickle.dumps(Runs(trap), protocol=2), "torn": b"\x80\x02c__torch__", "nothing": b""}[kind]
    bad = rewritten(archive, tmp_path / "bad.pt", lambda name, old: content if name == "data.pkl" else old)
    with pytest.raises(UserError, match="bad.pt is not an archive whose weights can be read alone") as caught:
        read_archive(bad)
    assert "\n" not in str(caught.value)
    assert not trap.exists()


def test_another_program_is_not_taken_for_openais(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / "other.pt")
    state = read_archive(tmp_path / "other.pt")
    assert sorted(state) == ["bias", "weight"]
    with pytest.raises(UserError, match=r"not one of OpenAI's CLIPs \(it lacks text_projection\)"):
        archive_config(state, tmp_path / "other.pt")
