"""The reference engine: a Hugging Face decoder, prompts and branches packed into few passes, nothing computed twice.

This is the only file that imports transformers. Shapes: L prompt tokens, H hidden size, A alphabet.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import save_file
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from descentcast import _checks
from descentcast.errors import ArgumentError, ModelError
from descentcast.language_models._adapters import merge_adapter, weights_fingerprint
from descentcast.language_models._attention import PackedPass
from descentcast.language_models._base import Alphabet, Forest, ForestLogProbs
from descentcast.language_models._compatible import check_answers, check_attention
from descentcast.language_models._hub import REFUSED
from descentcast.language_models._kept import KeptPrompts
from descentcast.language_models._linear import TwoPrecisions
from descentcast.language_models._packing import lineage
from descentcast.language_models._passes import Piece, Work, passes
from descentcast.language_models._precision import measured
from descentcast.language_models._schemes import TokenScheme, symbol_scheme, token_scheme

NODES_PER_PASS = 1024
SAMPLED_POSITIONS = 8
# Views of a kernel are read one after the other, and again when a run has grown.
KEPT_PROMPTS, KEPT_BYTES = 8, 1 << 29
PACKED = "descentcast_packed"
FULL, SLIDING = "full_attention", "sliding_attention"
# Of a config: what decides no answer.
ASIDE = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache", "architectures")


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
        fingerprint: Tells its weights from all others, adapter and precision included; how they are read is added.
        precisions: Switches the network to bfloat16 for branches of little mass.

    Attributes:
        precision: In what precision it computes, and why, in words.
        light: Nodes with less mass than this are computed in bfloat16; 0 where none are.
        max_length: Longest prompt plus branch in symbols; for a decoder trained from scratch, the longest it has seen.

    Raises:
        TokenizerError: The tokenizer writes numbers neither digit by digit nor three digits at a time.
        ModelError: The model cannot be branched by an attention mask (recurrent, chunked attention), or its output head
            scales logits in a way this engine does not know.
    """

    def __init__(
        self,
        network: Any,
        tokenizer: Any,
        name: str,
        restarts: bool = False,
        fingerprint: str | None = None,
        precisions: TwoPrecisions | None = None,
    ) -> None:
        self.name = name
        self.restarts = restarts
        self.precision, self.light = str(network.dtype).removeprefix("torch."), 0.0
        self._precisions = precisions
        self._network = network.eval()
        config = network.config
        own = _own_symbols(config)
        self._scheme: TokenScheme = symbol_scheme(own["begin"]) if own else token_scheme(tokenizer, name)
        self.alphabet: Alphabet = self._scheme.alphabet
        self.fingerprint = fingerprint and f"{_reading(config, self._scheme)}:{fingerprint}"
        positions = own["longest"] if own else getattr(config, "max_position_embeddings", 1 << 20)
        self.max_length = int(positions) - len(self._scheme.begin)
        check_attention(network, name)
        network.set_attn_implementation(PACKED)
        self._softcap = getattr(config, "final_logit_softcapping", None)
        self._head = network.get_output_embeddings().weight
        self._begin = np.array(self._scheme.begin, dtype=np.int64)
        self._kept = KeptPrompts(KEPT_PROMPTS, KEPT_BYTES)
        self._no_mask = torch.empty((1, 1, 0, 0), device=self.device)  # four dimensions: no mask is made
        self._answers = torch.as_tensor(self._scheme.token_ids, device=self.device)
        check_answers(self, name)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._network.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights."""
        return self._network.dtype

    def __deepcopy__(self, memo: dict[int, Any]) -> "TransformersModel":
        return self  # weights are never written: clones of an estimator share its model

    def __repr__(self) -> str:
        return f"TransformersModel({self.name!r}, {self.dtype}, {self.device})"

    def log_probs(self, forest: Forest) -> ForestLogProbs:
        """Return log-probabilities over the answer alphabet at the asked prompt positions and at every node.

        Args:
            forest: The prompt and its branches.

        Returns:
            Log-probabilities normalised over the A symbols of the alphabet.

        Raises:
            ArgumentError: A prompt longer than the model's context, or symbols outside the alphabet.
        """
        return self.log_probs_of([forest])[0]

    @torch.inference_mode()
    def log_probs_of(self, forests: Sequence[Forest]) -> list[ForestLogProbs]:
        """Answer several forests, their tokens packed into the same passes, as `log_probs` answers each.

        Prompts are kept, with their branches: one that begins with another that was read, and a node that was answered
        under a prompt that begins alike, are not computed again.

        Args:
            forests: Prompts and their branches.

        Raises:
            ArgumentError: A prompt longer than the model's context, or symbols outside the alphabet.
        """
        for forest in forests:
            self._check(forest)
        works: list[Work] = []
        pending: list[Work] = []
        try:
            for forest in forests:
                ids = np.concatenate([self._begin, self._scheme.token_ids[forest.prompt]])
                prompt = self._kept.find(ids, self._head.new_empty((0, self._head.shape[1])))
                if any(work.prompt is prompt for work in pending):  # what two forests share is computed once
                    self._run(pending)
                    pending = []
                pending.append(Work.of(prompt, forest, len(self._begin), self.alphabet.size, self.light))
                works.append(pending[-1])
            self._run(pending)
        except BaseException:
            self._kept.forget()  # keys that were interrupted while they were written must never be read
            raise
        answers = self._collected(forests, works)
        self._kept.trim()
        return answers

    def forget(self) -> None:
        """Drop what is kept of prompts that were read: the next call computes everything, as the first did."""
        self._kept.forget()

    def choose_precision(self) -> None:
        """Measure bfloat16 branches, or look up what was measured here before, and use them where that pays."""
        if self._precisions is None:
            return
        self.light = 1.0
        choice = measured(self, self.fingerprint or "", self.forget, self._precisions.largest)
        self.light, self.precision = choice.limit, str(choice)
        if choice.limit:
            self.fingerprint = f"{self.fingerprint}:bfloat16<{choice.limit:g}"
        else:
            self._precisions.drop()

    def _run(self, works: list[Work]) -> None:
        """Compute what is missing, pass by pass."""
        for part in passes(works, NODES_PER_PASS):
            pieces = part.pieces
            ids = np.concatenate([self._ids(piece) for piece in pieces])
            positions = np.concatenate([piece.positions for piece in pieces])
            output = self._forward(
                part.light,
                torch.as_tensor(ids, device=self.device)[None],
                attention_mask=self._no_mask,
                position_ids=torch.as_tensor(positions, device=self.device)[None],
                use_cache=False,
                packed=part.queries(),
            )
            hidden = output.last_hidden_state[0].split([len(piece) for piece in pieces])
            for piece, states in zip(pieces, hidden, strict=True):
                piece.finish(states, self._answer, part.light)

    def _forward(self, light: bool, ids: torch.Tensor, **options: Any) -> Any:
        if self._precisions is None:
            return self._network.base_model(ids, **options)
        self._precisions.half = light
        try:
            return self._network.base_model(ids, **options)
        finally:
            self._precisions.half = False

    def _ids(self, piece: Piece) -> np.ndarray:
        return piece.tokens if piece.is_prompt else self._scheme.token_ids[piece.tokens]

    def _collected(self, forests: Sequence[Forest], works: list[Work]) -> list[ForestLogProbs]:
        asked = [
            work.prompt.hidden[torch.as_tensor(forest.asked + len(self._begin), device=self.device)]
            for forest, work in zip(forests, works, strict=True)
        ]
        return [
            ForestLogProbs(prompt=self._answer(hidden), nodes=work.prompt.answers[work.numbers], outside=outside)
            for hidden, work, outside in zip(asked, works, self._outside(asked), strict=True)
        ]

    def _logits(self, hidden: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
        logits = (hidden @ head.T).float()
        return self._softcap * torch.tanh(logits / self._softcap) if self._softcap else logits

    def _answer(self, hidden: torch.Tensor) -> np.ndarray:
        return self._normalised(self._logits(hidden, self._head[self._answers]))

    def _normalised(self, logits: torch.Tensor) -> np.ndarray:
        logits = logits.double()
        if self.restarts:
            logits[:, self.alphabet.base :] = -torch.inf
        return logits.log_softmax(-1).cpu().numpy()

    def _outside(self, asked: list[torch.Tensor]) -> list[np.ndarray]:
        """Return the mass outside the alphabet, for each prompt at a few asked positions spread over it."""
        counts = [min(SAMPLED_POSITIONS, len(hidden)) for hidden in asked]
        if self.restarts or not asked:
            return [np.zeros(count) for count in counts]
        sampled = [
            hidden[torch.as_tensor(np.linspace(0, len(hidden) - 1, count).round().astype(int))]
            for hidden, count in zip(asked, counts, strict=True)
        ]
        # At once, since the whole head is as large as some layers.
        logits = self._logits(torch.cat(sampled), self._head)
        inside = logits[:, self._answers].logsumexp(-1) - logits.logsumexp(-1)
        return np.split(-np.expm1(inside.double().cpu().numpy()), np.cumsum(counts)[:-1])

    def _check(self, forest: Forest) -> None:
        for name, symbols in (("prompt", forest.prompt), ("symbols", forest.symbols)):
            if ((symbols < 0) | (symbols >= self.alphabet.size)).any():
                raise ArgumentError(f"{name} must hold symbols in [0, {self.alphabet.size - 1}] for {self.name}")
        depth = lineage(forest.parents).shape[1]
        if len(forest.prompt) + depth > self.max_length:
            raise ArgumentError(
                f"prompt of {len(forest.prompt)} symbols with branches of {depth}: {self.name} reads at most "
                f"{self.max_length}; give shorter runs or a larger stride"
            )


def _packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    packed: PackedPass | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as a packed pass says; plain passes go the way of transformers."""
    if packed is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    unknown = [name for name in ("softcap", "s_aux") if options.get(name) is not None]
    if unknown:
        raise ModelError(f"attention with {unknown[0]} is not one that this engine knows")
    scale = options.get("scaling") or query.shape[-1] ** -0.5
    window = options.get("sliding_window")
    return packed.attention(cast(int, module.layer_idx), query, key, value, scale, window), None


# Masks are made as for sdpa where a pass is not packed.
transformers.AttentionInterface.register(PACKED, _packed_attention)
transformers.AttentionMaskInterface.register(PACKED, sdpa_mask)


def load_network(
    folder: str | Path, name: str, dtype: str, device: str, adapter: Path | None = None
) -> TransformersModel:
    """Load a local folder, or a hub id, as a `LanguageModel`; code that comes with a model is never run.

    Args:
        folder: A folder with config.json, weights and tokenizer, or a hub id.
        name: What results call the model.
        dtype: "float32", "bfloat16", "float16", or "auto": float32, and on a CPU bfloat16 for
            branches of so little mass that no probability is off by more than 1e-3, where that is measured to be
            faster.
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
    both = dtype == "auto" and device == "cpu"
    if dtype == "auto":  # on an H100 bfloat16 is no faster, since launches decide, and is off by 0.006 in probability
        dtype = "float32"
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
    except (OSError, ValueError, ImportError, KeyError, RuntimeError, SafetensorError, REFUSED) as error:
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
    precisions = TwoPrecisions(network.base_model) if device == "cpu" and dtype == "float32" else None
    restarts = adapter is not None or own is not None
    model = TransformersModel(network, tokenizer, name, restarts, fingerprint, precisions)
    if both:
        model.choose_precision()
    return model


def _reading(config: Any, scheme: TokenScheme) -> str:
    """Return what tells apart how the same weights are read: the architecture's numbers and the symbols' tokens."""
    numbers = {key: value for key, value in config.to_dict().items() if key not in ASIDE}
    known = json.dumps([numbers, scheme.begin, scheme.token_ids.tolist()], sort_keys=True, default=str)
    return hashlib.sha256(known.encode()).hexdigest()[:16]


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
