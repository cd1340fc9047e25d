"""Checkpoints of a few kilobytes with planted black holes."""

from __future__ import annotations

from jobs.demo.checkpoints import Cloud, DemoModel

LITTLE = Cloud(rows=300, dims=16, centre_l2=0.3, row_norm=1.1, holes=(5, 3, 2), dead_l2=0.4, angle_deg=30)


def little(repo: str, *, tied: bool = True, shards: int = 1, cloud: Cloud = LITTLE) -> DemoModel:
    """A Qwen3 of a few kilobytes with three black holes."""
    config = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "tie_word_embeddings": tied}
    if tied:
        return DemoModel(repo, config, "model.embed_tokens.weight", cloud, shards=shards, layers=1)
    return DemoModel(
        repo, config, "lm_head.weight", cloud, embedding="model.embed_tokens.weight", shards=shards, layers=1
    )
