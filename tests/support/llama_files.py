"""Files of small models of two layouts, and the matrix that is read from them."""

from support.checkpoints import CONFIG, stored

import survey

STORED_HEAD, STORED_EMBEDDING = stored(6, 4, seed=1), stored(6, 4)
LLAMA = {"model.embed_tokens.weight": STORED_EMBEDDING, "lm_head.weight": STORED_HEAD}
MISTRAL = {"tok_embeddings.weight": STORED_EMBEDDING, "output.weight": STORED_HEAD}
UNTIED_CONFIG = CONFIG | {"tie_word_embeddings": False}


def read(matrix: survey.Matrix) -> bytes:
    """The bytes of the whole matrix [V, D]."""
    return b"".join(bytes(block) for block in matrix.blocks())
