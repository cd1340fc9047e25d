"""Suffixes of files that hold weights."""

from __future__ import annotations

# Of any format, also of those that are not read.
WEIGHT_SUFFIXES = (
    ".safetensors",
    ".bin",
    ".gguf",
    ".pth",
    ".pt",
    ".ckpt",
    ".h5",
    ".msgpack",
    ".onnx",
    ".npz",
)
