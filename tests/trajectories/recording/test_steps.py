"""Steps that fail, steps that evaluate the loss themselves, and steps that are not recorded."""

import functools

import numpy as np
import pytest
import torch
from torch import nn

import descentcast as dc
from descentcast.trajectories.recording import _backward

ORIGINAL = torch.autograd.backward


@pytest.fixture(autouse=True)
def _nothing_stays_patched():
    torch.manual_seed(0)
    yield
    assert _backward._listeners == ()
    assert torch.autograd.backward is ORIGINAL


def batches(count):
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(5, 3, generator=generator), torch.randn(5, 1, generator=generator)) for _ in range(count)]


@pytest.mark.parametrize("by_name", [True, False])
def test_a_closure_that_fails_leaves_the_next_step_its_own_loss(by_name):
    """Of a closure's losses those of its first evaluation count, together; a step that failed is no step."""
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    expected, calls = [], []

    def closure(x, y, fails):
        optimizer.zero_grad()
        halves = [nn.functional.mse_loss(model(x), y) / 2, nn.functional.l1_loss(model(x), y) / 2]
        for half in halves:
            half.backward()
        calls.append(1)
        if fails:
            raise RuntimeError("out of memory")
        expected.append(sum(half.item() for half in halves))
        return sum(halves)

    with dc.record(optimizer, model, ["loss", "gradient_norm"]) as recorder:
        for i, (x, y) in enumerate(batches(6)):
            try:
                step = functools.partial(closure, x, y, i in (1, 4))
                optimizer.step(closure=step) if by_name else optimizer.step(step)
            except RuntimeError:
                continue
            if i == 2:  # A step of the usual kind after one with a closure.
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(model(x), y)
                loss.backward()
                expected.append(loss.item())
                optimizer.step()
    run = recorder.trajectory()
    assert len(calls) == 6
    assert run.steps.tolist() == list(range(5))
    np.testing.assert_allclose(run.values[:, 0], expected, rtol=1e-6)


def test_a_batch_that_fails_within_the_loop_is_forgotten_with_its_gradients():
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    expected = []
    with dc.record(optimizer, model) as recorder:
        for i, (x, y) in enumerate(batches(5)):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            if i == 2:
                continue  # As where an exception was caught.
            expected.append(loss.item())
            optimizer.step()
    np.testing.assert_allclose(recorder.trajectory().values[:, 0], expected, rtol=1e-6)


def test_between_recorded_steps_nothing_is_watched_but_their_number():
    """And whoever wraps `backward` in the meantime is left in place, and heard once."""
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    expected, outer = [], []
    with dc.record(optimizer, model, ["loss", "gradient_norm"], every=3) as recorder:
        for i, (x, y) in enumerate(batches(14)):
            watched = torch.autograd.backward is not ORIGINAL
            assert watched == bool(i % 3 == 0 or i > 9)
            assert len(optimizer._optimizer_step_pre_hooks) == (i % 3 == 0)
            if i == 9:
                theirs = torch.autograd.backward

                def backward(*arguments, theirs=theirs, **named):
                    outer.append(1)
                    return theirs(*arguments, **named)

                torch.autograd.backward = backward
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            expected.append(loss.item())
            optimizer.step()
    torch.autograd.backward = theirs
    with dc.record(optimizer, model):
        pass
    run = recorder.trajectory()
    assert run.steps.tolist() == [0, 3, 6, 9, 12]
    np.testing.assert_allclose(run.values[:, 0], expected[::3], rtol=1e-6)
    assert len(outer) == 5
    assert run.setting["batch"] == 5
