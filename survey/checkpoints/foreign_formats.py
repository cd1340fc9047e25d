"""Checkpoints of trainers and other libraries, which are not read: their files, and how to convert them."""

from __future__ import annotations

import re
from collections.abc import Collection

# format -> pattern of its files, and what to do
_FOREIGN = {
    "a Megatron-LM checkpoint": (
        r"(?:.*/)?mp_rank_\d+(?:_\d+)*/(?:model_\w+|distrib_optim)\.pt|(?:.*/)?model_optim_rng\.pt",
        "convert it with Megatron Bridge or its tools/checkpoint/convert.py",
    ),
    "a DeepSpeed checkpoint": (
        r"(?:.*/)?(?:mp_rank_\d+_model_states|(?:\w+_)?zero_pp_rank_\d+_\w+|layer_\d+-model_\d+-model_states)\.pt",
        "convert it with the zero_to_fp32.py that lies beside it",
    ),
    "a PaddlePaddle checkpoint": (r".*\.pdparams(?:\.\w+)?", "save it with PaddleNLP's safe_serialization"),
    "a NeMo archive": (r".*\.nemo", "convert it with NeMo's export to transformers"),
    "a Flax checkpoint": (r"(?:.*/)?flax_model.*\.msgpack", "load it with from_flax=True and save it"),
    "a TensorFlow checkpoint": (
        r"(?:.*/)?tf_model.*\.h5|.*\.ckpt\.index",
        "load it with from_tf=True and save it",
    ),
    "a checkpoint of torch's that lacks its .metadata": (r".*\.distcp", "upload all of its files"),
    "a GGUF file that was cut anywhere": (
        r".*\.gguf[-.](?:part|split)[-\w]*",
        "join its parts in their order to one file, as `cat` does, or name the file of another quantisation",
    ),
    "a model for an older llama.cpp": (r"(?:.*/)?ggml-.*\.bin", "convert it to GGUF, or survey its original"),
}


def foreign_format(files: Collection[str]) -> str | None:
    """The format of a repository without readable weights, and how to convert it; None if it is unknown."""
    for what, (pattern, remedy) in _FOREIGN.items():
        if matches := sorted(file for file in files if re.fullmatch(pattern, file)):
            return f"holds {what} ({matches[0]}), which is not read: {remedy}"
    return None
