"""Fused operations equal what they stand for, forward and backward."""

import copy

import torch
from training.contexts import Prior, fixed_batch
from training.drawn_ahead import tensors
from training.fused import fuse
from training.train_adapter import adapted
from transformers import LlamaConfig, LlamaForCausalLM

SHAPE = {
    "vocab_size": 20,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 32,
}


def test_fused_network_has_the_same_losses_and_gradients():
    torch.manual_seed(0)
    plain = adapted(LlamaForCausalLM(LlamaConfig(**SHAPE)), range(13), {"r": 4, "lora_alpha": 8}, seed=0)
    with torch.no_grad():
        for name, p in plain.named_parameters():
            if "lora_B" in name or "norm" in name:
                p.add_(0.3 * torch.randn_like(p))
    fused = copy.deepcopy(plain)
    fuse(fused)
    drawn = tensors(fixed_batch(Prior(), 0, 0, 60, 3))
    losses = [model(*drawn) for model in (plain, fused)]
    assert torch.allclose(*losses, atol=1e-5)
    for loss in losses:
        loss.sum().backward()
    trained = 0
    for one, other in zip(plain.parameters(), fused.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None:
            trained += 1
            assert torch.allclose(one.grad, other.grad, atol=1e-4, rtol=1e-4)
    assert trained == 2 * 2 * 7


def test_fused_norm_rounds_to_what_follows():
    model = adapted(LlamaForCausalLM(LlamaConfig(**SHAPE)), range(13), {"r": 4, "lora_alpha": 8}, seed=0)
    fuse(model)
    norm = model.decoder.norm
    with torch.autocast("cpu", torch.bfloat16):
        assert norm(torch.ones(2, 16)).dtype == torch.bfloat16
    assert norm(torch.ones(2, 16)).dtype == torch.float32
