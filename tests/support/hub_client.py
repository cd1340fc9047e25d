"""A model of a few bytes on a local Hub, and how a client asks for it."""

from __future__ import annotations

import struct

import httpx2
from huggingface_hub import HfApi

from jobs.demo.hub.local_hub import LocalHub

HEADER = b'{"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}'
WEIGHTS = struct.pack("<Q", len(HEADER)) + HEADER + bytes(range(8))
DIGITS = b"0123456789"
MODEL = {
    "config.json": b'{"model_type": "toy", "architectures": ["ToyLM"], "hidden_size": 8}',
    "tokenizer_config.json": b'{"eos_token": "</s>", "padding_side": "left"}',
    "onnx/read me.txt": b"a folder",
    "model.safetensors": WEIGHTS,
    "digits.bin": DIGITS,
}


def api(hub: LocalHub, token: str | bool = False) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=token)


def signed_url(hub: LocalHub, file: str = "digits.bin") -> str:
    reply = httpx2.head(f"{hub.endpoint}/org/model/resolve/main/{file}")
    assert reply.status_code == 302
    return reply.headers["Location"]


def ranged(hub: LocalHub, value: str) -> httpx2.Response:
    return httpx2.get(signed_url(hub), headers={"Range": value})
