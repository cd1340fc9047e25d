"""The names that unembeddings and embeddings have in checkpoints.

A name is `wrapper + body + stem + rest`: what holds the language model (a multimodal model, an adapter),
what holds its layers, what the matrix is called, and what of it the tensor is. The lists are hints: what
holds the layers that the files name is known from these names alone. A tower for images or sound, a draft
head, a codebook or a table for each layer has another name, or stands elsewhere. What is called a tower and
holds the only layers beside a table of tokens is the language model (`video_lm.`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

from survey.formats.suffixes import WEIGHT_SUFFIXES
from survey.records.target import TensorSpec
from survey.unembedding.model_config import model_types, stated_rows, stated_shapes, stated_widths
from survey.unembedding.model_parts import (
    SOUNDS_LIKE_A_HEAD,
    beyond,
    model_bodies,
    of_another_part,
    other_part,
    outside_layers,
)
from survey.unembedding.stems import OutlineOf, Stem

# The language model: alone, in a multimodal model, in an encoder-decoder, in an adapter.
WRAPPERS = (
    "",
    "model.",
    "language_model.",
    "model.language_model.",
    "text_model.",
    "model.text_model.",
    "llm.",
    "model.llm.",
    "thinker.",  # Qwen-Omni, beside its talker
    "text_decoder.",  # BLIP, SeamlessM4T
    "decoder.",  # any encoder and any decoder, as in Donut
    "base_model.model.",  # PEFT, around any of the above
    "base_model.model.language_model.",
    "base_model.model.model.language_model.",
    "pretrained_model.",  # TRL
    "mm_whisper_embeddings.",  # Voxtral, in Mistral's own format
)
# What holds its layers; a model type's own name (`bert.`, `gpt_neox.`) is added from the config.
BODIES = ("", "model.", "transformer.", "backbone.", "gpt_neox.", "rwkv.",
          "bert.", "roberta.", "electra.", "distilbert.", "albert.", "deberta.")  # fmt: skip

# Within a list, the earlier name wins.
HEADS = (
    "lm_head",
    "embed_out",  # GPT-NeoX
    "transformer.ff_out",  # OLMo-1: a layer's own ff_out has a longer name
    "lm_head.linear",  # phi-msft
    "lm_head.out_proj",  # T5Gemma
    "cls.predictions.decoder",  # BERT
    "lm_head.decoder",  # RoBERTa
    "predictions.decoder",  # ALBERT
    "vocab_projector",  # DistilBERT
    "generator_lm_head",  # ELECTRA
    "pred_layer.proj",  # XLM
    "lm_loss",  # XLNet
    "unembed",  # Inkling
    "decoder.output_projection",  # FSMT
    "unembedding",  # gpt-oss of its authors
    "sequence_head",  # ESM-3
    "mlm_score.decoder",  # ViLT, BridgeTower
    "text_decoder_postnet.lm_head",  # SpeechT5
    "log_softmax.mlp.layer0",  # Cohere's ASR, in NeMo's names
    "lm_heads",  # of several codebooks
)
# Other models call a classifier so, or what leaves a diffusion transformer: a head only beside an embedding.
VAGUE_HEADS = (
    "output_layer",  # ChatGLM
    "proj_out",  # Whisper
    "output_projection",
    "output",  # Mistral's own format, InternLM2
    "head",  # RWKV
    "decoder",  # ModernBERT
    "head.decoder",
)
EMBEDDINGS = (
    "embed_tokens",  # Llama, Qwen, Gemma, Mistral, Phi, OLMo-2, …
    "tok_embeddings",  # Mistral's own format, InternLM2
    "wte",  # GPT-2, GPT-J, OLMo-1
    "embd.wte",  # phi-msft
    "embed_in",  # GPT-NeoX
    "decoder.word_embeddings",  # ProphetNet
    "word_embeddings",  # Falcon, BLOOM
    "embedding.word_embeddings",  # ChatGLM
    "shared",  # T5, BART
    "decoder.embed_tokens",  # OPT
    "embeddings.word_embeddings",  # BERT
    "embeddings.tok_embeddings",  # ModernBERT
    "word_embedding",  # XLNet
    "tokens_embed",  # GPT-1
    "input_embedding",  # CPM-Ant
    "local_encoder.embed_tokens",  # BLT
    "encoder.embed_tokens",  # T5Gemma
    "token_embeddings",  # OpenELM
    "token_embedding",
    "sequence_embed",  # ESM-3
    "encoder.sequence_embed",
    "embed_tokens.word_embeddings",  # NeoMME
    "embeddings.text_embeddings.word_embeddings",  # ViLT
    "decoder.prenet.embed_tokens",  # SpeechT5
    "encoder.prenet.embed_tokens",
    "transf_decoder._embedding.token_embedding",  # Cohere's ASR
    "input_embeds_layer",  # Bark, CLVP
)
# In another part of a model they may be tables of something else: behind those, whatever holds them.
VAGUE_EMBEDDINGS = (
    "transformer.w",  # CTRL
    "embeddings",  # Mamba, RWKV, XLM
    "embedding",  # Mamba of its authors
    "emb",  # RWKV of its authors
    "embed",  # Inkling
)
BIASES = ("cls.predictions.bias", "predictions.bias", "final_logits_bias")


_OF_OTHER_RUNTIMES = (".onnx", ".h5", ".msgpack")  # the same model once more
_MOST_PARTS = 32  # of a name in a hostile file
_LISTS = (HEADS, VAGUE_HEADS, EMBEDDINGS, VAGUE_EMBEDDINGS)


class TensorNames:
    """The names of a checkpoint's tensors, and which of them have a place in a language model.

    outline_of: a tensor as its file's header has it. outside: the tensors of no numbered layer.
    files: of weights that are called as a head is, and are not read. spec_of: a tensor with its place.
    heads, embeddings: the stems at which there is something, the preferred first. homes: what holds the
    tables of tokens, where none lies outside the parts that are called something else.
    """

    def __init__(
        self,
        names: Collection[str],
        config: Mapping[str, Any],
        outline_of: OutlineOf = lambda name: None,
        files: Collection[str] = (),
        spec_of: Callable[[str], TensorSpec | None] = lambda name: None,
    ) -> None:
        self.all, self.config, self.outline_of, self.spec_of = names, config, outline_of, spec_of
        self.files = sorted(file for file in files if _is_of_a_head(file))
        self.outside = outside_layers(names)
        kinds = [kind.replace("-", "_") + "." for kind in model_types(config)]
        holders = tuple(dict.fromkeys((*BODIES, *kinds)))
        self._hinted = tuple(dict.fromkeys(wrapper + body for wrapper in WRAPPERS for body in holders))
        self._learnt = tuple(prefix for prefix in model_bodies(names) if prefix not in self._hinted)
        self.homes: tuple[str, ...] = ()
        self.embeddings = self._stems(EMBEDDINGS, VAGUE_EMBEDDINGS)
        if not any(stem.holds_a_matrix() for stem in self.embeddings):
            self._move_into_other_parts()
        embedded = any(stem.holds_a_matrix() for stem in self.embeddings)
        self.heads = self._stems(HEADS, VAGUE_HEADS if embedded else ())

    @property
    def rows(self) -> int | None:
        """Rows of the vocabulary: as the config says, else of the embedding, where its header was read."""
        held = self.embedding_shape
        return stated_rows(self.config) or (held[0] if held else None)

    @property
    def embedding_shape(self) -> tuple[int, int] | None:
        """[V, D] of the embedding, where its header was read."""
        for stem in (*self.embeddings, *getattr(self, "heads", ())):
            spec = self.outline_of(stem.whole() or "")
            if spec is not None and len(spec.shape) == 2:
                return spec.shape[0], spec.shape[1]
        return None

    @property
    def head_bias(self) -> bool:
        """Whether a bias is added to the logits."""
        stems = {stem.path: stem for stem in (*self.heads, *self._stems(HEADS, ("output",)))}.values()
        last = (stem.last_of_sequence(self.outline_of, self.rows) for stem in stems)
        return (
            any(".bias" in stem.rests for stem in stems)
            or any(name.removesuffix("weight") + "bias" in self.all for name in last if name)
            or any(prefix + name in self.all for name in BIASES for prefix in (*self._hinted, *self._learnt))
        )

    def matrix(self, stem: Stem) -> str | None:
        """The tensor that is a stem's matrix."""
        return stem.whole() or stem.last_of_sequence(self.outline_of, self.rows)

    def matrices(self, stems: list[Stem]) -> list[str]:
        return [whole for stem in stems if (whole := self.matrix(stem))]

    def is_hinted(self, stem: Stem) -> bool:
        """Whether what holds a stem is listed, not learnt from where the layers stand."""
        return any(stem.path in _ranks(self._hinted, known) for known in _LISTS)

    def is_vague(self, stem: Stem) -> bool:
        """Whether another part of a model could have a stem's name, too."""
        prefixes = (self._hinted, self._learnt)
        return not any(stem.path in _ranks(held, known) for held in prefixes for known in (HEADS, EMBEDDINGS))

    def is_elsewhere(self, name: str) -> bool:
        """Whether a tensor belongs to another part of the model than what reads tokens."""
        return of_another_part(self._beyond_home(name))

    def part_of(self, name: str) -> str:
        """The other part of the model that a tensor belongs to; empty for what reads tokens."""
        rest = self._beyond_home(name)
        return name[: len(name) - len(rest)] + part if (part := other_part(rest)) else ""

    def _beyond_home(self, name: str) -> str:
        return min((beyond(name, home) for home in self.homes), key=len, default=name)

    def _move_into_other_parts(self) -> None:
        """Look for a table of tokens beside layers whose holder is called something else."""
        known, rows, widths = self._learnt, stated_rows(self.config) or 0, stated_widths(self.config)
        widths |= {width for _, width in stated_shapes(self.config) if width}
        others = model_bodies(self.all, of_other_parts=True)
        self._learnt = (*known, *(prefix for prefix in others if prefix not in (*self._hinted, *known)))
        tables = self._stems(EMBEDDINGS)
        shapes = [outline.shape for stem in tables if (outline := self.outline_of(stem.whole() or ""))]
        if any(10 * shape[0] < 9 * rows or (widths and shape[-1] not in widths) for shape in shapes if shape):
            tables = []  # of codes, not of the tokens that the config counts
        self.homes = tuple(stem.path.rpartition(".")[0] + "." for stem in tables if stem.holds_a_matrix())
        if self.homes:
            self.embeddings = self._stems(EMBEDDINGS, VAGUE_EMBEDDINGS)
        else:
            self._learnt = known

    def _stems(self, *lists: tuple[str, ...]) -> list[Stem]:
        """Those of the known stems at which there are tensors, the better known first.

        A list comes before the next one, and in it the hinted prefixes before those that were learnt.
        """
        ranks = [_ranks(prefixes, known) for known in lists for prefixes in (self._hinted, self._learnt)]
        held: dict[str, dict[str, str]] = {}
        for name in self.outside:
            for path in _fronts(name):
                if any(path in ranked for ranked in ranks):
                    held.setdefault(path, {})[name[len(path) :]] = name

        def rank(path: str) -> tuple[int, int]:
            return next((place, ranked[path]) for place, ranked in enumerate(ranks) if path in ranked)

        return [Stem(path, held[path]) for path in sorted(held, key=rank)]


def _is_of_a_head(file: str) -> bool:
    sounds = SOUNDS_LIKE_A_HEAD.search(file.rpartition("/")[2]) and not of_another_part(file)
    return bool(sounds) and file.endswith(WEIGHT_SUFFIXES) and not file.endswith(_OF_OTHER_RUNTIMES)


def _fronts(name: str) -> Iterator[str]:
    """What stands before each of a name's dots, and the name."""
    dot = name.find(".")
    for _ in range(_MOST_PARTS):
        if dot < 0:
            break
        yield name[:dot]
        dot = name.find(".", dot + 1)
    yield name


@lru_cache(16)  # thousands of names, the same for every model of a type
def _ranks(prefixes: tuple[str, ...], known: tuple[str, ...]) -> Mapping[str, int]:
    """Every path at which a known stem may stand; the less, the better known."""
    paths = dict.fromkeys(prefix + stem for stem in known for prefix in prefixes)
    return {path: rank for rank, path in enumerate(paths)}
