"""What the name of a tensor's own module says: an embedding, another table, a small part of a head."""

from __future__ import annotations

import re

from survey.unembedding.known_names import EMBEDDINGS, VAGUE_EMBEDDINGS
from survey.unembedding.model_parts import WORDS_BEFORE

EMBEDDING_WORDS = re.compile(
    r"(?i)embed|(?:^|[._])(?:emb|wte|wpe|tok|shared)|(?:^|[._])w[._]|vocab|lookup|position"
)
# Judged by the module's own name: its parent may be called language_model.
OTHER_TABLE_WORDS = re.compile(
    r"(?i)position|pos_|_pos|wpe|segment|per_layer|relative|rotary|ngram|(?:^|_)rel_"
    r"|(?:^|_)(?:type|char|value|shape|pronunciation|lang|langs|language|languages|freq|frequency|time|timestep"
    r"|row|rows|column|columns|task|tasks|speaker|speakers|speaker_id|entity|entities|modality|frame|page|duration|pitch|energy)(?:_|$)"
)
# Parts of a head before or beside its matrix; a tensor of the matrix's own shape is more than that.
HEAD_PARTS = re.compile(
    r"(?i)(?:^|[._])(?:bias\w*|ln\w*|dense|transform|lora\w*)(?:[._]|$)"
    rf"|{WORDS_BEFORE}(?:norm[0-9]*|scale)(?:[._]|$)"
)
# A module's own name, before what an adapter or a class appends to it.
_MODULE = re.compile(
    r"([^.]*?)(?:\.(?:modules_to_save(?:\.\w+)?|base_layer|original_module|embedding|W_E))?(?:\.weight)?$"
)
_POSITIONS = re.compile(r"(?i)(?:^|[._])pos(?:ition)?s?(?:al)?_?enc")
_ENTRY = re.compile(r"\.[0-9]+(?=\.weight$|$)")
_TABLES = tuple(f".{table}" for table in (*EMBEDDINGS, *VAGUE_EMBEDDINGS))


def module_name(name: str) -> str:
    """The last component of the path of a tensor's module: `embed_tokens` in `model.embed_tokens.weight`."""
    match = _MODULE.search(name)
    return match[1] if match else name


def module_parent(name: str) -> str:
    """The part of a tensor's name before its module's own name, with the dot."""
    module = module_name(name)
    return name[: name.rfind(module)] if module else name


def is_table_name(name: str) -> bool:
    """Whether a name is that of a lookup table: of tokens, or of positions, types, languages, …"""
    name = _ENTRY.sub("", name)  # one of several, in a list
    module = module_name(name)
    path = module_parent(name) + module
    # A class that encodes positions keeps its table under a name of its own (`pos_encoder.pe`).
    positions = _POSITIONS.search(".".join(path.split(".")[-2:]))
    return (f".{path}".endswith(_TABLES) or positions is not None) or (
        OTHER_TABLE_WORDS.search(module) is not None and EMBEDDING_WORDS.search(module) is not None
    )
