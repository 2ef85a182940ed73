"""Loops as people write them, recorded without a change; every value against what the loop itself computed."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import descentcast as dc
from descentcast.errors import ArgumentError, DataError
from descentcast.trajectories.recording import _backward

ORIGINALS = torch.autograd.backward, torch.amp.GradScaler.scale


@pytest.fixture(autouse=True)
def _nothing_stays_patched():
    yield
    assert _backward._listeners == ()
    assert (torch.autograd.backward, torch.amp.GradScaler.scale) == ORIGINALS


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def batches(count: int, size: int = 5, seed: int = 1) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(size, 3, generator=generator), torch.randn(size, 1, generator=generator)) for _ in range(count)
    ]


def flat(tensors) -> torch.Tensor:
    return torch.cat([t.detach().reshape(-1) for t in tensors])


def test_every_value_is_the_loops_own_at_the_parameters_before_the_step():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    start, expected = flat(model.parameters()), []
    with dc.record(
        optimizer, model, ["loss", "gradient_norm", "parameter_norm", "distance", "0.weight[1,-2]"]
    ) as recorder:
        for x, y in batches(12):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            now, gradient = flat(model.parameters()), flat(p.grad for p in model.parameters())
            weight = model[0].weight[1, -2]
            expected.append([v.item() for v in (loss, gradient.norm(), now.norm(), (now - start).norm(), weight)])
            optimizer.step()
            loss.data.mul_(7)  # What the loop does to its loss later is not what was recorded.
    run = recorder.trajectory()
    assert run.names == ("loss", "gradient_norm", "parameter_norm", "distance", "0.weight[1,-2]")
    assert run.steps.tolist() == list(range(12))
    np.testing.assert_allclose(run.values, expected, rtol=2e-6)
    assert run.values[:, 0].tolist() == [row[0] for row in expected]
    told = {"optimizer": "SGD", "step": 0.1, "schedule": "constant", "momentum": 0.9, "batch": 5, "weight_decay": 0}
    assert told.items() <= dict(run.setting).items()
    assert run.setting["seed"] == 0


def test_recording_leaves_the_training_as_it_is():
    def train(record: bool) -> torch.Tensor:
        model, optimizer = (m := network()), torch.optim.Adam(m.parameters(), lr=0.05)
        noisy = dc.recording.Call("noisy", lambda state: torch.rand(()) + nn.functional.dropout(torch.ones(1)).sum())
        loop = dc.record(optimizer, model, ["loss", "distance", "projection:2", noisy]) if record else None
        if loop:
            loop.start()
        for x, y in batches(10):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(nn.functional.dropout(x, 0.3)), y).backward()
            optimizer.step()
        if loop:
            loop.close()
        return flat(model.parameters())

    assert torch.equal(train(True), train(False))


@pytest.mark.parametrize("to_none", [True, False])
def test_accumulated_gradients_are_one_row_a_step_and_their_losses_are_summed(to_none):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    expected = []
    with dc.record(optimizer, model, ["loss"], every=2) as recorder:
        for i, (x, y) in enumerate(batches(12)):
            loss = nn.functional.mse_loss(model(x), y) / 3
            loss.backward()
            expected.append(loss.item())
            if i % 3 == 2:
                optimizer.step()
                optimizer.zero_grad(set_to_none=to_none)
    run = recorder.trajectory()
    assert run.steps.tolist() == [0, 2]
    np.testing.assert_allclose(run.values[:, 0], np.array(expected).reshape(4, 3).sum(axis=1)[::2], rtol=1e-6)
    assert run.setting["batch"] == 15


@pytest.mark.parametrize("fused", [True, False])
def test_a_step_that_the_scaler_skips_is_no_step_and_losses_and_gradients_are_unscaled(fused):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    expected = []
    with dc.record(optimizer, model, ["loss", "gradient_norm", "parameter_norm"]) as recorder:
        for i, (x, y) in enumerate(batches(6)):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            if i == 2:
                loss = loss * torch.inf
            else:
                gradient = flat(torch.autograd.grad(loss, list(model.parameters()), retain_graph=True))
                expected.append([loss.item(), gradient.norm().item(), flat(model.parameters()).norm().item()])
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    run = recorder.trajectory()
    assert run.steps.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(run.values, expected, rtol=1e-5)


def test_closures_count_once():
    model = network()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)
    (x, y), first = batches(1)[0], []

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        return loss

    with dc.record(optimizer, model, ["loss", "parameter_norm"]) as recorder:
        for _ in range(3):
            norm = flat(model.parameters()).norm().item()
            first.append([optimizer.step(closure).item(), norm])
    run = recorder.trajectory()
    np.testing.assert_allclose(run.values, first, rtol=1e-6)
    assert "batch" not in run.setting, "several evaluations a step: the batch size cannot be told"


def test_two_optimizers_hear_their_own_losses():
    one, two = network(0), network(1)
    first, second = torch.optim.SGD(one.parameters(), lr=0.1), torch.optim.SGD(two.parameters(), lr=0.1)
    expected = []
    with dc.record(first, one) as a, dc.record(second, two) as b:
        for x, y in batches(5):
            first.zero_grad()
            loss_one = nn.functional.mse_loss(one(x), two(x).detach())
            loss_one.backward()
            first.step()
            second.zero_grad()
            loss_two = nn.functional.mse_loss(two(x), y) + one(x).mean()
            loss_two.backward()
            second.step()
            expected.append([loss_one.item(), loss_two.item()])
    np.testing.assert_allclose(np.hstack([a.trajectory().values, b.trajectory().values]), expected, rtol=1e-6)


def test_the_step_size_of_every_group_is_recorded_at_every_step():
    model = network()
    groups = [{"params": model[0].parameters(), "lr": 1.0}, {"params": model[2].parameters(), "weight_decay": 0.5}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    with dc.record(optimizer, model) as recorder:
        for x, y in batches(4):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
            schedule.step()
    run = recorder.trajectory(["step_size:0", "step_size:1"])
    np.testing.assert_allclose(run.values, np.outer(0.5 ** np.arange(4), [1, 0.1]), rtol=1e-12)
    assert (run.setting["step"], run.setting["schedule"]) == (1.0, "column step_size")
    assert run.setting["groups"] == [{"weight_decay": 0}, {"weight_decay": 0.5}]
    assert recorder.trajectory().names == ("loss",)


def test_the_step_size_of_each_step_comes_back_beside_the_loss(tmp_path):
    """What phases of a schedule are built from: the step size that the step at a row took, bit by bit."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.1)
    rates = []
    with dc.record(optimizer, model, path=(path := tmp_path / "a.jsonl"), chunk=2) as recorder:
        for x, y in batches(8):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
            schedule.step()
    [run] = dc.read(path, ["loss", "step_size"])
    assert run.values[:, 1].tolist() == rates
    assert run.steps.tolist() == list(range(8))
    assert (run.setting["step"], run.setting["schedule"]) == (0.1, "column step_size")
    assert np.flatnonzero(np.diff(run.values[:, 1])).tolist() == [2, 5], "phases begin at steps 3 and 6"
    assert dc.read(path)[0].to_dict() == recorder.trajectory().to_dict()
    assert dc.read(path)[0].names == ("loss",)
    listed = dc.list_runs(path)
    assert listed["column"].tolist() == ["step_size", "loss"]


def test_parameters_alone_are_recorded_where_they_ended_too():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 8.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
    with dc.record(optimizer, model, ["weight[0,0]"], every=2) as recorder:
        for _ in range(4):
            optimizer.zero_grad()
            model(torch.ones(1, 1)).square().sum().backward()
            optimizer.step()
    run = recorder.trajectory()
    assert (run.steps.tolist(), run.values.ravel().tolist()) == ([0, 2, 4], [8, 2, 0.5])


def test_slower_cadences_and_logged_values_have_rows_of_their_own(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def held_out(state: dc.recording.State) -> torch.Tensor:
        x, y = batches(1, seed=9)[0]
        return nn.functional.mse_loss(state.model(x), y)

    slow = dc.recording.Cadence(held_out, every=3)
    expected = {}
    path = tmp_path / "runs" / "seed 1.jsonl"
    with dc.record(optimizer, model, ["loss", slow], path=path, chunk=2, arm="B", setting={"batch": 99}) as recorder:
        for i, (x, y) in enumerate(batches(7)):
            if i % 3 == 0:
                expected[i] = held_out(dc.recording.State(i, model, optimizer, {})).item()
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
            if i in (2, 6):
                recorder.log(accuracy=i / 10)
                recorder.log({"accuracy": i})
    assert recorder.trajectory().steps.tolist() == list(range(7))
    for run in (recorder.trajectory(["held_out", "loss"]), dc.read(path, ["held_out", "loss"])[0]):
        assert run.steps.tolist() == list(expected)
        np.testing.assert_allclose(run.values[:, 0], list(expected.values()), rtol=1e-6)
    assert recorder.trajectory(["accuracy"]).steps.tolist() == [3, 7]
    assert dc.read(path, ["accuracy"])[0].values.ravel().tolist() == [2, 6]
    back, run = dc.read(tmp_path / "runs")[0], recorder.trajectory()
    assert back.names == ("loss",), "columns of a slower cadence are read where they are asked for"
    assert back.to_dict() == json.loads(json.dumps(run.to_dict()))
    assert (back.run, back.arm, back.setting["batch"]) == ("seed 1", "B", 99)


def test_a_run_that_diverges_is_kept_up_to_there_and_says_so(tmp_path):
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e15)
    with dc.record(optimizer, model, ["loss", "weight[0,0]"], path=(path := tmp_path / "a.jsonl")) as recorder:
        for _ in range(6):
            optimizer.zero_grad()
            model(torch.ones(1, 1)).square().sum().backward()
            optimizer.step()
    for run in (recorder.trajectory(), dc.read(path)[0]):
        assert np.isfinite(run.values).all()
        assert (run.diverged, len(run)) == (2, 2)
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    assert '"Infinity"' in path.read_text()


def test_sparse_gradients_frozen_and_half_precision_parameters():
    torch.manual_seed(0)
    table, head = nn.Embedding(6, 3, sparse=True), nn.Linear(3, 1).to(torch.bfloat16)
    head.bias.requires_grad_(False)
    model = nn.ModuleDict({"table": table, "head": head})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    expected = []
    with dc.record(optimizer, model, ["gradient_norm", "parameter_norm", "distance", "projection:2"]) as recorder:
        for i in range(3):
            optimizer.zero_grad()
            head(table(torch.tensor([i, i, 5])).to(torch.bfloat16)).sum().backward()
            gradient = torch.cat([table.weight.grad.to_dense().reshape(-1), head.weight.grad.float().reshape(-1)])
            expected.append([gradient.norm().item(), flat(p.float() for p in model.parameters()).norm().item()])
            optimizer.step()
    np.testing.assert_allclose(recorder.trajectory().values[:, :2], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"observables": "loss"}, "observables == 'loss', must be a list"),
        ({"observables": []}, "must be a list of at least one"),
        ({"observables": ["lss"]}, "'lss' is unknown, must be one of loss, gradient_norm"),
        ({"observables": ["projection:0"]}, "'projection:0' is unknown"),
        ({"observables": [3]}, "3 must be a name, an observable or a function"),
        ({"observables": ["loss", "loss"]}, "two columns are called 'loss'"),
        ({"observables": ["3.weight[0]"]}, "no parameter '3.weight' is trained, there are 0.weight, 0.bias"),
        ({"observables": ["0.weight[4,0]"]}, r"'0.weight' has shape \(4, 3\), there is no entry \[4, 0\]"),
        ({"observables": ["0.weight[0]"]}, "there is no entry"),
        ({"observables": ["alpha"]}, "no layer has 50 singular values, the largest has 3"),
        ({"observables": [dc.recording.HeavyTail(layers=("0.bias",))]}, "no matrix '0.bias' is trained"),
        ({"every": 0}, "every == 0, must be at least 1"),
        ({"chunk": 0}, "chunk == 0, must be at least 1"),
        ({"path": "runs.csv"}, "path == 'runs.csv', must end in .jsonl"),
        ({"first_step": -1}, "first_step == -1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    model = network()
    with (
        pytest.raises(ArgumentError, match=message),
        dc.record(torch.optim.SGD(model.parameters(), lr=0.1), model, **arguments),
    ):
        pass


def test_copies_of_the_model_are_not_listened_to():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs = torch.ones(5, 3)
    with dc.record(optimizer, model) as recorder:
        copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
        for other in copies:
            torch.testing.assert_close(other(torch.ones(2, 3)), model(inputs)[:2])
        recorder._batches.clear()  # Of the model's own call just now.
        for other in copies:
            other(inputs)
        assert recorder._batches == []
        for _ in range(2):
            optimizer.zero_grad()
            model(inputs).square().mean().backward()
            optimizer.step()
    assert recorder.trajectory().setting["batch"] == 5


def test_misuse_is_named(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ArgumentError, match=r"optimizer is a str, must be a torch\.optim\.Optimizer"):
        dc.record("SGD", model)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ArgumentError, match="the recorder was not started"):
        dc.record(optimizer, model).trajectory()
    path = tmp_path / "a.jsonl"
    with dc.record(optimizer, model, path=path) as recorder:
        with pytest.raises(ArgumentError, match="'loss' is already the name of a column"):
            recorder.log(loss=1.0)
        with pytest.raises(ArgumentError, match="can be started once"):
            recorder.start()
        with pytest.raises(ArgumentError, match="is already there, recordings are not overwritten"):
            dc.record(optimizer, model, path=path).start()
    with pytest.raises(DataError, match="0 recorded"):
        recorder.trajectory()
    with pytest.raises(ArgumentError, match="the recording has ended"):
        recorder.log(accuracy=1.0)
    two = dc.recording.Call("f", lambda state: [1.0, 2.0])
    with (
        pytest.raises(DataError, match=r"f returned 2 number\(s\), must be 1"),
        dc.record(optimizer, model, [two]),
    ):
        optimizer.step()


def test_a_logged_value_that_is_replaced_is_replaced_in_the_file_too(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    path = tmp_path / "run.jsonl"
    with dc.record(optimizer, model, ["loss"], path=path) as recorder:
        for i, (x, y) in enumerate(batches(4)):
            recorder.log({"val": 3.0 + i})
            if i > 1:
                recorder.trajectory()  # writes what there is
            recorder.log({"val": 103.0 + i})
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
    assert recorder.trajectory(["val"]).values[:, 0].tolist() == [103, 104, 105, 106]
    assert dc.read(path, ["val"])[0].values[:, 0].tolist() == [103, 104, 105, 106]
