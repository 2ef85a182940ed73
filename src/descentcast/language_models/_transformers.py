"""The reference engine: a Hugging Face decoder, the prompt once into a cache, then all branches in few packed passes.

This is the only file that imports transformers. Shapes: L prompt tokens, q nodes of a pass, H hidden size, A alphabet.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import save_file
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from descentcast import _checks
from descentcast.errors import ArgumentError, ModelError
from descentcast.language_models._adapters import merge_adapter, weights_fingerprint
from descentcast.language_models._base import Alphabet, Forest, ForestLogProbs
from descentcast.language_models._packing import Pass, passes
from descentcast.language_models._schemes import TokenScheme, symbol_scheme, token_scheme

NODES_PER_PASS = 256
SAMPLED_POSITIONS = 8
FULL, SLIDING = "full_attention", "sliding_attention"


class TransformersModel:
    """A causal decoder of the transformers library as a `LanguageModel`.

    Log-probabilities come from the hidden states and the rows of the output head that belong to the answer alphabet, so
    the vocabulary is never materialised. In float32 the branches equal one forward pass per branch to 1e-5.

    Args:
        network: A causal language model in evaluation mode.
        tokenizer: Its tokenizer; None for a decoder whose tokens are the symbols themselves, as its config says.
        name: What results call it.
        restarts: True if it was trained to read runs, several in one context. Its loss was over number symbols alone,
            so that is what its answers are normalised over: the rest of its output means nothing.
        fingerprint: Tells its weights from all others, adapter and precision included.

    Attributes:
        max_length: Longest prompt plus branch in symbols; for a decoder trained from scratch, the longest it has seen.

    Raises:
        TokenizerError: The tokenizer writes numbers neither digit by digit nor three digits at a time.
        ModelError: The model cannot be branched by an attention mask (recurrent, chunked attention), or its output head
            scales logits in a way this engine does not know.
    """

    def __init__(
        self, network: Any, tokenizer: Any, name: str, restarts: bool = False, fingerprint: str | None = None
    ) -> None:
        self.name = name
        self.restarts = restarts
        self.fingerprint = fingerprint
        self._network = network.eval()
        config = network.config
        own = _own_symbols(config)
        self._scheme: TokenScheme = symbol_scheme(own["begin"]) if own else token_scheme(tokenizer, name)
        self.alphabet: Alphabet = self._scheme.alphabet
        positions = own["longest"] if own else getattr(config, "max_position_embeddings", 1 << 20)
        self.max_length = int(positions) - len(self._scheme.begin)
        self._kinds = _attention_kinds(network, name)
        self._window = getattr(config, "sliding_window", None)
        self._softcap = getattr(config, "final_logit_softcapping", None)
        self._head = network.get_output_embeddings().weight
        self._last: tuple[torch.Tensor, DynamicCache, torch.Tensor] | None = None
        self._answers = torch.as_tensor(self._scheme.token_ids, device=self.device)
        _check_head(self, name)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._network.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights."""
        return self._network.dtype

    def __repr__(self) -> str:
        return f"TransformersModel({self.name!r}, {self.dtype}, {self.device})"

    @torch.inference_mode()
    def log_probs(self, forest: Forest) -> ForestLogProbs:
        """Return log-probabilities over the answer alphabet at the asked prompt positions and at every node.

        Args:
            forest: The prompt and its branches.

        Returns:
            Log-probabilities normalised over the A symbols of the alphabet.

        Raises:
            ArgumentError: A prompt longer than the model's context, or symbols outside the alphabet.
        """
        self._check(forest)
        offset = len(self._scheme.begin)
        ids = torch.cat([torch.as_tensor(self._scheme.begin, dtype=torch.long), self._tokens(forest.prompt)])
        cache, hidden = self._read(ids)
        asked = hidden[torch.as_tensor(forest.asked + offset)]
        nodes = np.empty((len(forest.symbols), self.alphabet.size))
        for part in passes(forest, NODES_PER_PASS):
            nodes[part.nodes[part.wanted]] = self._branches(forest, part, cache, offset)
        return ForestLogProbs(prompt=self._answer(asked), nodes=nodes, outside=self._outside(asked))

    def _read(self, ids: torch.Tensor) -> tuple[DynamicCache, torch.Tensor]:
        """Return the cache and hidden states (L, H) of a prompt; the last is kept: levels of one tree share it."""
        if self._last is None or not torch.equal(self._last[0], ids):
            # Made without a config so that every layer keeps all keys: sliding windows are the masks' business.
            cache = DynamicCache()
            output = self._network.base_model(ids[None].to(self.device), cache=cache, use_cache=True)
            self._last = (ids, cache, output.last_hidden_state[0])
        return self._last[1:]

    def _branches(self, forest: Forest, part: Pass, cache: DynamicCache, offset: int) -> np.ndarray:
        prefix = torch.as_tensor(forest.prefix[part.nodes] + offset)  # last prompt token each node sees
        positions = prefix + 1 + torch.as_tensor(part.depths)
        visible = part.visible + offset
        before = torch.arange(visible) <= prefix[:, None]
        sees = torch.cat([before, torch.as_tensor(part.sees)], dim=1)  # (q, visible + q)
        keys_at = torch.cat([torch.arange(visible), positions])
        masks = {FULL: sees}
        if self._window is not None:
            masks[SLIDING] = sees & (positions[:, None] - keys_at < self._window)
        masks = {kind: mask[None, None].to(self.device) for kind, mask in masks.items()}
        output = self._network.base_model(
            self._tokens(forest.symbols[part.nodes])[None].to(self.device),
            attention_mask=masks if len(self._kinds) > 1 else masks[next(iter(self._kinds))],
            position_ids=positions[None].to(self.device),
            cache=Cache(layers=[_Prefix(layer, visible) for layer in cache.layers]),
            use_cache=True,
        )
        return self._answer(output.last_hidden_state[0][torch.as_tensor(part.wanted)])

    def _tokens(self, symbols: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(self._scheme.token_ids[symbols])

    def _logits(self, hidden: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
        logits = (hidden @ head.T).float()
        return self._softcap * torch.tanh(logits / self._softcap) if self._softcap else logits

    def _answer(self, hidden: torch.Tensor) -> np.ndarray:
        logits = self._logits(hidden, self._head[self._answers]).double()
        if self.restarts:
            logits[:, self.alphabet.base :] = -torch.inf
        return logits.log_softmax(-1).cpu().numpy()

    def _outside(self, asked: torch.Tensor) -> np.ndarray:
        """Return the mass outside the alphabet, at a few asked positions spread over the prompt."""
        spread = np.unique(np.linspace(0, len(asked) - 1, min(SAMPLED_POSITIONS, len(asked))).round().astype(int))
        if len(asked) == 0:
            return np.empty(0)
        if self.restarts:
            return np.zeros(len(spread))
        logits = self._logits(asked[torch.as_tensor(spread)], self._head)
        inside = logits[:, self._answers].logsumexp(-1) - logits.logsumexp(-1)
        return -np.expm1(inside.double().cpu().numpy())

    def _check(self, forest: Forest) -> None:
        for name, symbols in (("prompt", forest.prompt), ("symbols", forest.symbols)):
            if ((symbols < 0) | (symbols >= self.alphabet.size)).any():
                raise ArgumentError(f"{name} must hold symbols in [0, {self.alphabet.size - 1}] for {self.name}")
        depth = int(forest.depths.max(initial=-1)) + 1
        if len(forest.prompt) + depth > self.max_length:
            raise ArgumentError(
                f"prompt of {len(forest.prompt)} symbols with branches of {depth}: {self.name} reads at most "
                f"{self.max_length}; give shorter runs or a larger stride"
            )


class _Prefix(DynamicLayer):
    """One layer of a prompt's cache, read by branches and never written."""

    def __init__(self, layer: Any, visible: int) -> None:
        super().__init__()
        self.lazy_initialization(layer.keys, layer.values)
        self._keys, self._values = layer.keys[:, :, :visible], layer.values[:, :, :visible]

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> Any:
        return torch.cat([self._keys, key_states], dim=-2), torch.cat([self._values, value_states], dim=-2)


def load_network(
    folder: str | Path, name: str, dtype: str, device: str, adapter: Path | None = None
) -> TransformersModel:
    """Load a local folder, or a hub id, as a `LanguageModel`; code that comes with a model is never run.

    Args:
        folder: A folder with config.json, weights and tokenizer, or a hub id.
        name: What results call the model.
        dtype: "float32", "bfloat16", "float16", or "auto": float32 on a CPU, bfloat16 on CUDA.
        device: "cpu", "cuda", or "auto": CUDA where there is one.
        adapter: Folder of an adapter to merge.

    Raises:
        ArgumentError: An unknown dtype or device.
        ModelError: The model cannot be loaded or branched, or the adapter is for another one.
    """
    _checks.one_of("dtype", dtype, ("auto", "float32", "bfloat16", "float16"))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ArgumentError(f"device == {device!r}, but torch finds no CUDA device here")
    if dtype == "auto":
        dtype = "bfloat16" if device.startswith("cuda") else "float32"
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    try:
        loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
            str(folder),
            # Fingerprints and merges want the weights before they are rounded to float16.
            dtype=torch.float32 if dtype == "float16" else getattr(torch, dtype),
            attn_implementation="sdpa",
            trust_remote_code=False,
            output_loading_info=True,
        )
        network, report = loaded
        own = _own_symbols(network.config)
        tokenizer = None if own else transformers.AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    except (OSError, ValueError, ImportError, KeyError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelError(f"{name}: cannot be loaded: {reason}") from error
    # transformers fills weights that a file lacks at random, and goes on.
    lacking = sorted(str(key) for kind in ("missing_keys", "mismatched_keys") for key in report[kind])
    if lacking:
        raise ModelError(f"{name}: its files lack {len(lacking)} weights of the model, {lacking[0]} among them")
    fingerprint = f"{weights_fingerprint(network)}:{dtype}"
    if adapter is not None:
        fingerprint += f":{merge_adapter(network, adapter, name)}"
        name = f"{name} + adapter"
    network = network.to(device=device, dtype=getattr(torch, dtype))
    return TransformersModel(network, tokenizer, name, adapter is not None or own is not None, fingerprint)


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write a GGUF file's weights, config and tokenizer into `folder` as float32 safetensors.

    Dequantising takes tens of seconds a load; the folder loads in about a second.

    Raises:
        ModelError: transformers cannot read the file.
    """
    transformers.utils.logging.disable_progress_bar()
    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    try:
        network = transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
        tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
    except (OSError, ValueError, ImportError, KeyError, NotImplementedError) as error:
        raise ModelError(f"{gguf}: cannot be read as a GGUF model: {str(error).splitlines()[0]}") from error
    folder.mkdir(parents=True, exist_ok=True)
    state = network.state_dict()
    if network.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    # save_pretrained refuses models that came from a quantised file, although these weights are plain float32 by now.
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    config = network.config.to_dict()
    config.pop("quantization_config", None)
    config["architectures"] = [type(network).__name__]
    (folder / "config.json").write_text(json.dumps(config, indent=2, default=str))
    tokenizer.save_pretrained(folder)


def _own_symbols(config: Any) -> dict[str, int] | None:
    """Return what the config of a decoder trained from scratch says: its begin token, the longest it has seen."""
    own = getattr(config, "descentcast", None)
    return own if isinstance(own, dict) and {"begin", "longest"} <= set(own) else None


def _attention_kinds(network: Any, name: str) -> set[str]:
    """Return the mask kinds the decoder's layers take, refusing decoders whose past is not just keys and values."""
    config = network.config
    kinds: set[str] = set(getattr(config, "layer_types", None) or [])
    recurrent = getattr(network, "_is_stateful", False) or hasattr(config, "layers_block_type")
    if recurrent or kinds - {FULL, SLIDING}:
        raise ModelError(
            f"{name}: a {config.model_type} model carries a recurrent or chunked state, which an attention mask cannot "
            "branch; take a decoder with full or sliding-window attention"
        )
    if kinds:
        return kinds
    return {SLIDING} if getattr(config, "sliding_window", None) else {FULL}


@torch.inference_mode()
def _check_head(model: TransformersModel, name: str) -> None:
    """Refuse a model whose own logits are not what the restricted head gives (unknown scaling)."""
    network = model._network
    ids = torch.as_tensor([*model._scheme.begin, *model._scheme.token_ids[[1, model.alphabet.separator, 2]]])
    ids = ids[None].to(model.device)
    own = network(ids, use_cache=False).logits[0][:, model._answers].float()
    ours = model._logits(network.base_model(ids, use_cache=False).last_hidden_state[0], model._head[model._answers])
    error = float((own - ours).abs().max())
    if not error <= 1e-2 * (1 + float(own.abs().max())):
        raise ModelError(f"{name}: its output head scales logits in an unknown way (off by {error:.3g})")
