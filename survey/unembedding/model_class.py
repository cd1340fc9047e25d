"""What the class of a model (`architectures` in its config) says of its matrices."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from survey.unembedding.model_config import architecture
from survey.unembedding.tying import stated_tie

# Classes whose output is a score, a label, a span or a box.
_SCORES = re.compile(
    r"Classification|QuestionAnswering|MultipleChoice|NextSentencePrediction|Reward|Ranking|Scor(?:e|ing)|Regression|Critic"
    r"|Retriev|Detection|Segmentation|Grounding|Alignment|Reasoning|Discriminat|EmbeddingModel|ForTextEncoding"
    r"|ColBERT|Rerank|^(?:Col|Bi)(?=[A-Z0-9])(?!\w*For[A-Z])|Encoder$|Embed(?:der|dings?)?$"
    # Texts compared with images or sound: their configs repeat the text part's statement on tying.
    r"|(?:C[Ll][Ii]P(?![Cc]ap)|Siglip|SigLIP|C[Ll][Aa][Pp]|Align|GroupViT|Flava|DualEncoder|Aimv2)\w*Model(?:WithProjection)?$"
)
# The task in the name of a class, and the tasks that predict tokens.
_TASK = re.compile(r"For(?=[A-Z])")
_TOKENS = re.compile(r"LM|Language|Generation|Pre[Tt]raining|Seq|Text|Speech|Chat|Caption|Translat|Summari")
# Classes without a task in their name that predict tokens, too.
_PREDICTS = re.compile(
    r"LM|Language|Generat|Pre[Tt]rain|Seq2Seq|Chat|Caption|Translat|Summari|MT|M4T|GPT|Decoder|For(?=[A-Z])"
)
# What a config may name for transformers to load (`auto_map`), beside classes for other tasks.
_AUTO_TOKENS = re.compile(r"LM$|Seq2Seq|Generation|ImageTextToText|Vision2Seq|PreTraining")
# Classes that read sound or images: they have a head for tokens, and no embedding.
_READS_NO_TOKENS = re.compile(r"ForCTC$|ForMaskedImageModeling$|ForAudioFrame")
# NVIDIA's Eagle is a family of multimodal models, too.
_DRAFTS = re.compile(r"Eagle(?!\w*(?:VL|Chat|ForConditional))|EAGLE|Medusa|Speculator|Draft")


def why_scoring(config: Mapping[str, Any]) -> str | None:
    """Why the model gives scores instead of logits, by its class; None if it gives logits."""
    name = architecture(config) or ""
    if _DRAFTS.search(name):
        return f"its class, {name}, is a draft for another model, whose head it uses"
    if _SCORES.search(name):
        return f"its class, {name}, scores"
    if stated_tie(config) is None and (tasks := _TASK.split(name)[1:]) and not _TOKENS.search(tasks[-1]):
        return f"its class, {name}, is for another task than tokens, and the config says nothing of tying"
    return None


def why_unknown(config: Mapping[str, Any], *, wrapped: bool) -> str | None:
    """Why nothing in a config shows that a model without a head predicts tokens; None if something does.

    wrapped: whether the embedding has a prefix that no list names. Then an encoder may lie in a model of
    another kind, and a model type says nothing of the whole.
    """
    name, auto = architecture(config), config.get("auto_map")
    if stated_tie(config) is not None:
        return None
    if name:
        return None if _PREDICTS.search(name) else f"its class, {name}, is unknown"
    loads_tokens = isinstance(auto, Mapping) and any(_AUTO_TOKENS.search(str(key)) for key in auto)
    return "it has no class, and a prefix that no list names" if wrapped and not loads_tokens else None


def reads_tokens(config: Mapping[str, Any]) -> bool:
    """Whether the model has an embedding, judged by its class."""
    return _READS_NO_TOKENS.search(architecture(config) or "") is None
