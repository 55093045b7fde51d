import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from joblib.externals.loky import get_reusable_executor, reusable_executor
from small_network import new_network

from emobench.errors import UserError
from emobench.networks.cut import cut
from emobench.networks.vggnet import LAYERS
from emobench.process import end_workers
from emobench.sweeps import runs as sweep_runs
from emobench.sweeps import suffix, sweep
from emobench.sweeps import tasks as sweep_tasks
from emobench.sweeps.runs import Memory, WorkerDiedError, until_done, workers_ready
from emobench.sweeps.suffix import SuffixEvaluator
from emobench.sweeps.sweep import sweep_logits, sweep_outcomes
from emobench.sweeps.tasks import Question, costs_of, cut_up

IMAGES, CONFIGS = 22, 9


@pytest.fixture(scope="module")
def network():
    return new_network(0.02, 0.2, seed=0).eval()


@pytest.fixture
def small_tasks(monkeypatch):
    """Three blocks of images by two groups of configurations for lin1."""
    monkeypatch.setattr(suffix, "BLOCK_IMAGES", 8)
    monkeypatch.setattr(sweep_tasks, "TASK_PRODUCTS", 8 * 5 * (82 * 82 + 82 * 7))
    monkeypatch.setattr(sweep_tasks, "PREFIX_SHARE", 1e9)


def draw(network, layer="lin1", images=IMAGES, configs=CONFIGS):
    generator = torch.Generator().manual_seed(0)
    units = len(network.get_submodule(layer).weight)
    return {
        "inputs": torch.rand(images, 1, 40, 40, generator=generator),
        "labels": torch.randint(7, (images,), generator=generator),
        "scales": torch.rand(configs, units, generator=generator) * 2,
    }


def question_of(network, layer, images, configs, labels=None):
    """Zeros take no room until they are written."""
    inputs = np.zeros((images, 1, 40, 40), np.float32)
    scales = np.zeros((configs, len(network.get_submodule(layer).weight)), np.float32)
    at = cut(network, layer, torch.zeros(2, 1, 40, 40))
    return Question(at, layer, 7, inputs, scales, None, labels, None)


def costs(network, layer):
    inputs = torch.zeros(2, 1, 40, 40)
    return costs_of(cut(network, layer, inputs), layer, inputs)


@pytest.fixture
def computed(monkeypatch):
    """The tasks that are computed in this process."""
    done = []

    def counting(question, task):
        done.append(task)
        return sweep_tasks.evaluate(question, task)

    monkeypatch.setattr(sweep_runs, "evaluate", counting)
    return done


@pytest.mark.parametrize("layer", ["conv2b", "lin1", "lin2"])
def test_tasks_change_nothing(network, layer, small_tasks, computed):
    drawn = draw(network, layer)
    del drawn["labels"]
    expected = SuffixEvaluator(network, layer, drawn["inputs"]).logits(drawn["scales"])
    found = sweep_logits(network, layer, memory_gib=1, **drawn)
    assert len(computed) >= 3
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    shifts = drawn["scales"].flip(0)
    expected = SuffixEvaluator(network, layer, drawn["inputs"]).logits(drawn["scales"], shifts)
    found = sweep_logits(network, layer, shifts=shifts, memory_gib=1, **drawn)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_outcomes_are_those_of_the_logits(network, small_tasks):
    drawn = draw(network)
    counted = torch.arange(IMAGES) % 3 == 0
    logits = sweep_logits(network, "lin1", drawn["inputs"], drawn["scales"], memory_gib=1)
    outcomes = sweep_outcomes(network, "lin1", memory_gib=1, nll_on=counted, **drawn)
    assert outcomes.predictions.dtype == "uint8"
    assert outcomes.predictions.tolist() == logits.argmax(-1).tolist()
    wanted = counted.nonzero().flatten().tolist()
    losses = [[-float(one[i].double().log_softmax(-1)[drawn["labels"][i]]) for i in wanted] for one in logits]
    assert outcomes.nll == pytest.approx([sum(some) / len(wanted) for some in losses], rel=1e-9)
    everything = sweep_outcomes(network, "lin1", memory_gib=1, **drawn)
    assert everything.nll != pytest.approx(outcomes.nll, rel=1e-6)
    none = sweep_outcomes(network, "lin1", memory_gib=1, nll_on=torch.zeros(IMAGES, dtype=torch.bool), **drawn)
    assert np.isnan(none.nll).all()
    assert (none.predictions == outcomes.predictions).all()


def test_nothing_to_do(network):
    drawn = draw(network, configs=0)
    assert sweep_outcomes(network, "lin1", memory_gib=1, **drawn).predictions.shape == (0, IMAGES)
    assert sweep_logits(network, "lin1", drawn["inputs"][:0], torch.ones(2, 82), memory_gib=1).shape == (2, 0, 7)


@pytest.mark.parametrize("layer", LAYERS[:-1])
@pytest.mark.parametrize("most_gib", [10, 0.02, 0])
def test_tasks_hold_every_pair_once(network, layer, most_gib):
    tasks, each = cut_up(question_of(network, layer, 700, 150), most_gib * 2**30)
    pairs = np.zeros((700, 150), int)
    for task in tasks:
        pairs[slice(*task.images), slice(*task.configs)] += 1
    assert (pairs == 1).all()
    assert [task.index for task in tasks] == list(range(len(tasks)))
    largest = max(task.images[1] - task.images[0] for task in tasks)
    assert {10: largest == costs(network, layer).block, 0.02: each <= 0.02 * 2**30, 0: largest == 1}[most_gib]


def test_tasks_of_the_published_network():
    network = new_network(1.0, 0.2, seed=0).eval()
    labels = np.zeros(7178, np.int64)
    lin2, lin2_bytes = cut_up(question_of(network, "lin2", 7178, 14400, labels), 2**30)
    assert len(lin2) == 29
    assert lin2[0].configs == (0, 14400)
    assert lin2_bytes < 2**29
    lin1, _ = cut_up(question_of(network, "lin1", 7178, 14400, labels), 2**30)
    sizes = [task.configs[1] - task.configs[0] for task in lin1]
    assert 250 < min(sizes) <= max(sizes) < 350
    found = costs(network, "lin1")
    assert found.after == 4096 * 4096 + 4096 * 7
    assert found.before == sum(
        network.get_submodule(name).weight.numel() * side**2
        for name, side in zip(LAYERS[:9], [40, 40, 20, 20, 10, 10, 5, 5, 1], strict=True)
    )


def test_as_many_tasks_at_once_as_memory_holds():
    memory = Memory(1, held=2**29, task=2**27)
    assert [memory.at_once(workers) for workers in (1, 3, 8)] == [1, 3, 4]
    assert memory.at_once(8, each=2**27) == 2
    assert memory.at_once(8, fixed=2**28) == 2
    with pytest.raises(UserError, match="edit.memory_gib is 1; this sweep needs at least 1.5$"):
        memory.at_once(8, fixed=2**29 - 1, each=2**29 - 2**27 + 1)


def test_bad_input(network):
    drawn = draw(network)
    with pytest.raises(UserError, match="edit.memory_gib is 1e-07; this sweep needs at least 0.0"):
        sweep_outcomes(network, "lin1", memory_gib=1e-7, **drawn)
    with pytest.raises(UserError, match=r"unknown layer 'lin9'; known: conv1a.*lin3"):
        sweep_outcomes(network, "lin9", memory_gib=1, **drawn)
    broken = drawn | {"scales": drawn["scales"].index_fill(0, torch.tensor([2, 5]), torch.nan)}
    with pytest.raises(ValueError, match="scales: 2 of 9 configurations hold NaN"):
        sweep_outcomes(network, "lin1", memory_gib=1, **broken)
    with pytest.raises(ValueError, match=r"scales is \(9, 80\) for lin1; expected \(9, 82\)"):
        sweep_outcomes(network, "lin1", memory_gib=1, **drawn | {"scales": drawn["scales"][:, 2:]})
    with pytest.raises(ValueError, match=r"shifts is \(1, 82\) for lin1; expected \(9, 82\)"):
        sweep_outcomes(network, "lin1", memory_gib=1, shifts=drawn["scales"][:1], **drawn)
    with pytest.raises(ValueError, match=r"labels is \(3,\); there are 22 images"):
        sweep_outcomes(network, "lin1", memory_gib=1, **drawn | {"labels": drawn["labels"][:3]})
    with pytest.raises(ValueError, match=r"nll_on is \(2,\); there are 22 images"):
        sweep_outcomes(network, "lin1", memory_gib=1, nll_on=torch.ones(2, dtype=torch.bool), **drawn)


def same(one, other):
    return one.predictions.tobytes() == other.predictions.tobytes() and one.nll.tobytes() == other.nll.tobytes()


def test_an_interrupted_sweep_goes_on_where_it_was(network, small_tasks, computed, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sweep, "SAID_FROM", 0)
    drawn = draw(network)
    whole, threads = sweep_outcomes(network, "lin1", memory_gib=1, **drawn), torch.get_num_threads()
    count = len(computed)
    assert count == 6
    counting = sweep_runs.evaluate

    def interrupted(question, task):
        if len(computed) >= count + 3:
            # Of three that were begun in two threads one is done, but maybe not yet written.
            for _ in range(1000):
                if any(tmp_path.rglob("*.safetensors")):
                    break
                time.sleep(0.01)
            raise KeyboardInterrupt
        return counting(question, task)

    monkeypatch.setattr(sweep_runs, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep_outcomes(network, "lin1", memory_gib=1, work=tmp_path, **drawn)
    assert torch.get_num_threads() == threads
    kept = len(list(tmp_path.rglob("*.safetensors")))
    assert 0 < kept <= 3
    monkeypatch.setattr(sweep_runs, "evaluate", counting)
    computed.clear()
    capsys.readouterr()
    again = sweep_outcomes(network, "lin1", memory_gib=1, work=tmp_path, **drawn)
    assert len(computed) == count - kept
    assert same(again, whole)
    said = capsys.readouterr().err
    assert said == f"edit lin1: 9 configurations on 22 images, {kept} of 6 parts were done before, about 0 s\n"
    sweep_outcomes(network, "lin1", memory_gib=1, work=tmp_path, **drawn)
    assert len(computed) == count - kept


def test_broken_and_foreign_files_are_not_used(network, small_tasks, computed, tmp_path):
    drawn = draw(network)
    other = drawn | {"scales": drawn["scales"] + 1}
    whole = sweep_outcomes(network, "lin1", memory_gib=1, work=tmp_path, **drawn)
    (folder,) = tmp_path.iterdir()
    files = sorted(folder.iterdir())
    foreign = sweep_outcomes(network, "lin1", memory_gib=1, work=tmp_path, **other)
    assert not same(whole, foreign)
    (other_folder,) = set(tmp_path.iterdir()) - {folder}
    files[0].write_bytes(files[0].read_bytes()[:-10])
    files[1].write_bytes((other_folder / files[1].name).read_bytes())
    files[2].write_bytes(files[3].read_bytes())
    files[4].write_bytes(b"")
    computed.clear()
    assert same(sweep_outcomes(network, "lin1", memory_gib=1, work=tmp_path, **drawn), whole)
    assert sorted(task.index for task in computed) == [0, 1, 2, 4]


def test_any_difference_is_another_sweep(network, small_tasks, computed, tmp_path):
    drawn = draw(network)
    sweep_outcomes(network, "lin1", memory_gib=1, work=tmp_path, **drawn)
    other = new_network(0.02, 0.2, seed=1).eval()
    for model, more in [
        (other, {}),
        (network, {"nll_on": torch.arange(IMAGES) > 3}),
        (network, {"shifts": drawn["scales"]}),
        (network, {"labels": drawn["labels"].flip(0)}),
        (network, {"inputs": drawn["inputs"].flip(0)}),
    ]:
        computed.clear()
        sweep_outcomes(model, "lin1", memory_gib=1, work=tmp_path, **drawn | more)
        assert len(computed) == 6


def test_a_long_sweep_is_announced(network, small_tasks, monkeypatch, capsys):
    drawn = draw(network)
    sweep_outcomes(network, "lin1", memory_gib=1, **drawn)
    assert capsys.readouterr().err == ""
    evaluate = sweep_tasks.evaluate
    monkeypatch.setattr(sweep_runs, "evaluate", lambda *args: (*evaluate(*args)[:2], 1100.0))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        sweep_outcomes(network, "lin1", memory_gib=1, **drawn)
        line = capsys.readouterr().err
    finally:
        torch.set_num_threads(threads)
    # The first of six tasks holds 8 of 22 images and 5 of 9 configurations: 1100 s * 22 * 9 / (8 * 5) = 1.51 h.
    assert line == "edit lin1: 9 configurations on 22 images, about 1.5 h\n"


def kill_when(seen, victim, done):
    """Kills a process once two files of finished tasks are there; ``done`` tells that it was running until then."""

    def watch():
        while len(list(seen.rglob("*.safetensors"))) < 2:
            time.sleep(0.005)
        os.kill(victim(), signal.SIGKILL)
        done.append(len(list(seen.rglob("*.safetensors"))))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


@pytest.mark.slow
def test_processes_give_the_same_bytes_though_one_is_killed(network, small_tasks, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(suffix, "BLOCK_IMAGES", 2)
    monkeypatch.setattr(sweep_tasks, "TASK_PRODUCTS", 1)
    drawn, killed = draw(network, images=20), []
    whole = sweep_outcomes(network, "lin1", memory_gib=2, **drawn)
    thread = kill_when(tmp_path, lambda: next(iter(reusable_executor._executor._processes)), killed)
    found = sweep_outcomes(network, "lin1", memory_gib=2, jobs=2, work=tmp_path, **drawn)
    thread.join()
    assert same(found, whole)
    tasks = len(list(tmp_path.rglob("*.safetensors")))
    assert killed[0] < tasks
    assert "a process was killed, or ran out of memory; going on with" in capsys.readouterr().err
    get_reusable_executor().shutdown()


def test_workers_that_keep_dying(capsys):
    tasks = cut_up(question_of(new_network(0.02, 0.2, seed=0).eval(), "conv1a", 600, 1), 2**30)[0]
    assert len(tasks) > 2
    rounds = []

    def dying(some):
        rounds.append(len(some))
        yield from ((task, {}, 0.0) for task in some[: 1 if len(rounds) < 3 else 0])
        raise WorkerDiedError("killed")

    found = []
    with pytest.raises(UserError, match=r"workers die before they finish a part \(killed\); finished parts are kept"):
        found += until_done(dying, tasks)
    assert rounds == [len(tasks), len(tasks) - 1, len(tasks) - 2]
    assert capsys.readouterr().err.count("going on with") == 2


def test_what_a_worker_raises_is_raised_here(network, small_tasks):
    drawn = draw(network)
    with pytest.raises(UserError, match="layer lin1 gives NaN"):
        sweep_outcomes(network, "lin1", memory_gib=1, **drawn | {"inputs": drawn["inputs"] * torch.nan})


@pytest.mark.slow
def test_processes_that_were_started_before_compute(network, small_tasks) -> None:
    def processes() -> set[int]:
        return set(get_reusable_executor(reuse=True)._processes)

    given = [draw(network)[name] for name in ("inputs", "scales")]
    get_reusable_executor(reuse=True).shutdown(kill_workers=True)
    with workers_ready(2):
        started = processes()
        logits = sweep_logits(network, "lin1", *given, memory_gib=2.0, jobs=2)
        assert processes() == started
        assert len(started) == 2
    end_workers()
    assert not any(Path(f"/proc/{process}").exists() for process in started)
    assert torch.equal(logits, sweep_logits(network, "lin1", *given, memory_gib=2.0))


def test_one_process_is_this_one(monkeypatch) -> None:
    monkeypatch.setattr("emobench.sweeps.runs.Parallel", lambda **options: pytest.fail("a process was started"))
    with workers_ready(1):
        pass
