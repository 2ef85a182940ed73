"""Muon: the direction is the orthogonal factor of the momentum, the step has the stated size."""

import pytest
import torch
from torch import nn
from training.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(8, 8), (6, 20), (20, 6)])
def test_orthogonalised_has_the_singular_vectors_of_its_input(shape):
    """Singular vectors are kept and singular values brought near 1: the polar factor, to the iteration's precision."""
    torch.manual_seed(0)
    short = min(shape)
    left, right = (torch.linalg.qr(torch.randn(n, short, dtype=torch.float64))[0] for n in shape)
    matrix = left @ torch.diag(torch.linspace(1, 3, short, dtype=torch.float64)) @ right.mT
    inner = left.mT @ orthogonalised(matrix[None])[0] @ right
    values = inner.diagonal()
    assert (values > 0.65).all()
    assert (values < 1.25).all()
    assert torch.allclose(inner, torch.diag(values), atol=1e-9)


def test_a_batch_is_orthogonalised_matrix_by_matrix():
    torch.manual_seed(0)
    batch = torch.randn(3, 5, 9)
    for one, of_batch in zip(batch, orthogonalised(batch), strict=True):
        assert torch.allclose(orthogonalised(one[None])[0], of_batch, atol=1e-5)


def test_first_step_by_hand():
    """The direction of a gradient c I is s I, s one number: W goes to (1 - lr wd) W - lr 0.2 sqrt(4) s I."""
    p = nn.Parameter(2 * torch.eye(4))
    p.grad = 3 * torch.eye(4)
    Muon([p], lr=0.1, weight_decay=0.5).step()
    s = orthogonalised(torch.eye(4)[None])[0, 0, 0]
    assert torch.allclose(p.data, (2 * 0.95 - 0.1 * 0.2 * 2 * s) * torch.eye(4), atol=1e-6)


def test_step_does_not_depend_on_the_gradient_s_size():
    after = []
    for factor in (1e-3, 1e3):
        torch.manual_seed(0)
        p = nn.Parameter(torch.zeros(4, 6))
        p.grad = factor * torch.randn(4, 6)
        Muon([p], lr=0.1, weight_decay=0.0).step()
        after.append(p.data)
    assert torch.allclose(*after, atol=1e-4)


def test_matrices_without_gradient_stay():
    p = nn.Parameter(torch.ones(3, 3))
    Muon([p], lr=0.1, weight_decay=0.5).step()
    assert (p.data == 1).all()
