"""A small decoder-only transformer whose unembedding is its embedding (GPT-2's layout, pre-norm)."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody calls it
from torch import Tensor, nn

from survey.dynamics.config import Training

OTHER_SCALE = 0.02  # of every matrix but the vocabulary's, whatever the vocabulary's init is


class LanguageModel(nn.Module):
    """W: [V, D]. Final hidden states are layer-normed; logits are their products with W's rows."""

    def __init__(self, config: Training) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(config.seed)
        self.W = nn.Parameter(_first_rows(config, draw))
        self.positions = nn.Parameter(_normal(config.context, config.dim, draw=draw))
        self.blocks = nn.ModuleList(TransformerBlock(config, draw) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)

    def hidden(self, tokens: Tensor) -> Tensor:
        """Final hidden states of tokens [B, T], [B, T, D]."""
        states = F.embedding(tokens, self.W) + self.positions[: tokens.shape[1]]
        for block in self.blocks:
            states = block(states)
        normed: Tensor = self.norm(states)
        return normed


class TransformerBlock(nn.Module):
    """Attention and a GELU layer, each on the layer-normed sum of all layers before."""

    def __init__(self, config: Training, draw: torch.Generator) -> None:
        super().__init__()
        self.heads = config.heads
        self.attention_norm, self.ff_norm = nn.LayerNorm(config.dim), nn.LayerNorm(config.dim)
        self.attention_in = _linear(config.dim, 3 * config.dim, draw)
        self.attention_out = _linear(config.dim, config.dim, draw)
        self.ff_in, self.ff_out = _linear(config.dim, config.ff, draw), _linear(config.ff, config.dim, draw)

    def forward(self, states: Tensor) -> Tensor:
        """Hidden states [B, T, D] to the next layer's, [B, T, D]."""
        batch, length, dim = states.shape
        mixed = self.attention_in(self.attention_norm(states))
        query, key, value = mixed.view(batch, length, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        states = states + self.attention_out(attended.transpose(1, 2).reshape(batch, length, dim))
        added: Tensor = states + self.ff_out(F.gelu(self.ff_in(self.ff_norm(states))))
        return added


def _first_rows(config: Training, draw: torch.Generator) -> Tensor:
    rows = _normal(config.vocabulary, config.dim, draw=draw, scale=config.init_scale)
    if config.init == "point":
        point = torch.randn(config.dim, generator=draw)
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
