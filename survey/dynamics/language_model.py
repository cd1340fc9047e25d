"""A small decoder-only transformer whose unembedding is its embedding (GPT-2's layout, pre-norm)."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody calls it
from torch import Tensor, nn

from survey.dynamics.config import Training

OTHER_SCALE = 0.02  # of every other matrix, whatever the vocabulary's init is


class LanguageModel(nn.Module):
    """W: [V, D]. The final hidden states are layer-normed; logits are their products with W's rows."""

    def __init__(self, wanted: Training) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(wanted.seed)
        self.W = nn.Parameter(_first_rows(wanted, draw))
        self.positions = nn.Parameter(_normal(wanted.context, wanted.dim, draw=draw))
        self.blocks = nn.ModuleList(TransformerBlock(wanted, draw) for _ in range(wanted.layers))
        self.norm = nn.LayerNorm(wanted.dim)

    def hidden(self, tokens: Tensor) -> Tensor:
        """Final hidden states of tokens [B, T]: [B, T, D]."""
        states = F.embedding(tokens, self.W) + self.positions[: tokens.shape[1]]
        for block in self.blocks:
            states = block(states)
        normed: Tensor = self.norm(states)
        return normed


class TransformerBlock(nn.Module):
    """Attention and a GELU layer, each on the normed sum of all before."""

    def __init__(self, wanted: Training, draw: torch.Generator) -> None:
        super().__init__()
        self.heads = wanted.heads
        self.attention_norm, self.ff_norm = nn.LayerNorm(wanted.dim), nn.LayerNorm(wanted.dim)
        self.attention_in = _linear(wanted.dim, 3 * wanted.dim, draw)
        self.attention_out = _linear(wanted.dim, wanted.dim, draw)
        self.ff_in, self.ff_out = _linear(wanted.dim, wanted.ff, draw), _linear(wanted.ff, wanted.dim, draw)

    def forward(self, states: Tensor) -> Tensor:
        batch, length, dim = states.shape
        mixed = self.attention_in(self.attention_norm(states))
        query, key, value = mixed.view(batch, length, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        states = states + self.attention_out(attended.transpose(1, 2).reshape(batch, length, dim))
        added: Tensor = states + self.ff_out(F.gelu(self.ff_in(self.ff_norm(states))))
        return added


def _first_rows(wanted: Training, draw: torch.Generator) -> Tensor:
    rows = _normal(wanted.vocabulary, wanted.dim, draw=draw, scale=wanted.init_scale)
    if wanted.init == "point":
        point = torch.randn(wanted.dim, generator=draw)
        rows += point / point.norm()
    return rows


def _normal(*shape: int, draw: torch.Generator, scale: float = OTHER_SCALE) -> Tensor:
    return scale * torch.randn(*shape, generator=draw)


def _linear(inputs: int, outputs: int, draw: torch.Generator) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    with torch.no_grad():
        layer.weight.copy_(_normal(outputs, inputs, draw=draw))
        layer.bias.zero_()
    return layer
