"""A causal language model read as a model of digits: symbols in, cross-entropies of the ten digits out.

The head is restricted to the ten digits, and applied only where a symbol is scored: a vocabulary is never
materialised.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class DigitModel(nn.Module):
    """A causal language model with the tokens of the symbols.

    Attributes:
        language_model: A transformers causal language model (or one wrapped by peft): a decoder and `lm_head`.
        decoder: What turns token ids into hidden states.
        token_ids: Token of each symbol: ten digits, ",", newline and, where the model has one, begin.
    """

    def __init__(self, language_model: nn.Module, decoder: nn.Module, token_ids: Sequence[int]) -> None:
        super().__init__()
        self.language_model = language_model
        self.decoder = decoder
        self.token_ids: Tensor
        self.register_buffer("token_ids", torch.tensor(token_ids), persistent=False)

    def forward(self, symbols: Tensor, laws: Tensor) -> Tensor:
        """Return the cross-entropy of every symbol that is scored, in nats, in reading order.

        Args:
            symbols: Begin and text, shape (B, T + 1).
            laws: What they are scored against, shape (B, T + 1, 10); zero where they are not, as for the first two.
        """
        if len(self.token_ids) == 12:  # no begin token: the text alone, whose first digit is never scored
            symbols, laws = symbols[:, 1:], laws[:, 1:]
        scored = laws.any(-1)
        hidden = self.decoder(input_ids=self.token_ids[symbols[:, :-1]]).last_hidden_state
        head = self.language_model.get_output_embeddings().weight[self.token_ids[:10]]
        log_probs = (hidden[scored[:, 1:]] @ head.T).float().log_softmax(-1)
        return -(laws[scored] * log_probs).sum(-1)
