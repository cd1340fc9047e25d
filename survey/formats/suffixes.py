"""Endings of the names of files that hold weights."""

from __future__ import annotations

# Weights that are not read: their names say neither which model they are nor whether they are whole.
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
