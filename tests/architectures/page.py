"""docs/architectures.md: the survey's choice in every architecture, the misses, and their reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import transformers
from architectures.checkpoint import Case, Truth

TARGET = 0.99  # of the checkpoints that can be built; explained misses count as misses
# The reason of every miss, by the end of the architecture's name.
_NO_NAME = "the class returns no output embeddings; the head that its files hold is measured"
_PREDICTS = "the class returns no embedding; that of the network which predicts the next piece is measured"
EXPLAINED = {
    "FSMTForConditionalGeneration": "`get_output_embeddings()` names the decoder's embedding, but the logits "
    "come from `model.decoder.output_projection`, which is what the survey measures",
    "FSMTModel": "the same model without its wrapper",
    "Molmo2ForConditionalGeneration": "the embedding is stored in two pieces, the vocabulary and the rows that "
    "were added to it; `--matrix input` measures both, one after the other",
    "MarianMTModel": "if the halves share no embedding, `model.shared.weight` is left in the files, unused",
    "BlipForConditionalGeneration": "the class names no output embeddings; that of its text decoder is measured",
    "NemotronH_Omni_Reasoning_V3": "the class names no output embeddings; that of its language model is measured",
    "ForCTC": f"{_NO_NAME}: it spells what was heard",
    "BarkCausalModel": _NO_NAME,
    "BarkCoarseModel": _NO_NAME,
    "BarkSemanticModel": _NO_NAME,
    "ClvpForCausalLM": _NO_NAME,
    "BeitForMaskedImageModeling": f"{_NO_NAME}: its rows are codes of images",
    "ShieldGemma2ForImageClassification": _NO_NAME,
    "RagSequenceForGeneration": "the class names none; that of its generator is measured",
    "RagTokenForGeneration": "the halves of its generator share no embedding; that of the decoder is measured",
    "ClvpModelForConditionalGeneration": "the class returns no embedding; that of its text encoder is measured",
    "CLIPSegForImageSegmentation": "the class returns no embedding; that of its text tower is measured",
    "Owlv2ForObjectDetection": "the class returns no embedding; that of its text tower is measured",
    "OwlViTForObjectDetection": "the class returns no embedding; that of its text tower is measured",
    "GroundingDinoForObjectDetection": "the class returns no embedding; that of its text backbone is measured",
    "RNNT": _PREDICTS,
    "TDT": _PREDICTS,
    "CsmDepthDecoderForCausalLM": "its table holds the codes of all codebooks, one after the other: refused",
    "GradiumPhononTTSForConditionalGeneration": "refused by name: a table of what is to be said, in a module of its own",
    "MusicgenForConditionalGeneration": "the decoder has a table for each codebook: refused",
    "MusicgenMelodyForConditionalGeneration": "the decoder has a table for each codebook: refused",
    "Siglip2ForImageClassification": "it reads patches of images by a linear layer, and no tokens: refused",
    "SpeechEncoderDecoderModel": "only in its tiny form a projection has the shape of a head: refused by name",
    "UdopStack": "a half of a model, which returns its embedding for a head: refused as a base model",
    "UltrabertForMaskedLM": "`cls` is a classifier's name in most models: refused by name",
}


@dataclass(frozen=True)
class Outcome:
    """The truth about a case, and the survey's errors about it."""

    case: Case
    truth: Truth
    problems: list[str]

    @property
    def counts(self) -> bool:
        """Whether the unembedding is known."""
        return self.truth.error is None and self.truth.output is not None

    @property
    def missed(self) -> bool:
        return any(problem.startswith("output") for problem in self.problems)


def share(outcomes: Sequence[Outcome]) -> tuple[int, int]:
    """How many unembeddings are chosen correctly, with `tied` right, and of how many."""
    counted = [outcome for outcome in outcomes if outcome.counts]
    return sum(not outcome.missed for outcome in counted), len(counted)


def why(case: Case) -> str | None:
    """The explanation of a case's misses; None if there is none."""
    return next((reason for end, reason in EXPLAINED.items() if case.architecture.endswith(end)), None)


def satisfied(outcomes: Sequence[Outcome]) -> bool:
    """Whether enough choices are correct, and every miss is explained."""
    correct, counted = share(outcomes)
    explained = all(why(outcome.case) for outcome in outcomes if outcome.problems)
    return explained and correct >= TARGET * counted


def page(outcomes: Sequence[Outcome]) -> str:
    """The text of docs/architectures.md."""
    correct, counted = share(outcomes)
    unbuilt = [outcome for outcome in outcomes if outcome.truth.error]
    headless = [outcome for outcome in outcomes if not (outcome.counts or outcome.truth.error)]
    refused = sum(not outcome.missed for outcome in headless)
    return "\n".join(
        [
            "# Architectures",
            "",
            "Generated by `make architectures`, which builds a tiny checkpoint of every class in the causal-LM,",
            f"image-text-to-text and seq2seq mappings of transformers {transformers.__version__}, and of every other class that speaks",
            "of output embeddings, as its config has it and with the tying flipped; and of each class for another",
            "task that reads tokens (classification, retrieval, speech, …) as its config has it. It saves them, and",
            "compares the survey's choice with the model's own `get_output_embeddings().weight`, byte by byte.",
            "",
            f"**The unembedding and `tied` are right in {correct} of {counted} checkpoints ({correct / counted:.1%}).**",
            f"Of {len(headless)} checkpoints whose class returns none, {refused} are refused or differ in nothing else.",
            "",
            "## What is refused, and why",
            "",
            "A class that scores, labels, retrieves or detects (`no-head`); a model that reads no tokens, on the input",
            "side; several tables or heads of one size, if nothing says which one counts (`unknown-head`, both named);",
            "a table for each of several codebooks (`split-head`). [Reasons](reference/reasons.md) lists them all.",
            "",
            "## What differs",
            "",
            "| class | checkpoint | the survey's choice | why |",
            "|---|---|---|---|",
            *_differences(outcomes),
            "",
            f"## What could not be built ({len(unbuilt)} of {len(outcomes)})",
            "",
            "| class | why |",
            "|---|---|",
            *_unbuilt(unbuilt),
            "",
            "## What is covered",
            "",
            ", ".join(f"`{kind}`" for kind in sorted({o.case.model_type for o in outcomes if o.counts})),
            "",
        ]
    )


def _differences(outcomes: Sequence[Outcome]) -> list[str]:
    return [
        f"| {outcome.case.architecture} | {'flipped' if outcome.case.flipped else 'default'} | {_cell(problem)} | "
        f"{why(outcome.case) or '**not explained yet**'} |"
        for outcome in outcomes
        for problem in outcome.problems
    ]


def _unbuilt(unbuilt: Sequence[Outcome]) -> list[str]:
    """One line per class and error; default and flipped form share it."""
    keyed = sorted(unbuilt, key=lambda item: (item.case.architecture, str(item.truth.error)))
    lines = []
    for (name, error), group in groupby(keyed, key=lambda item: (item.case.architecture, item.truth.error)):
        forms = [item.case.flipped for item in group]
        which = "" if False in forms and True in forms else " (flipped)" if True in forms else " (default)"
        lines.append(f"| {name}{which} | {_cell(str(error))} |")
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "∣").replace("\n", " ")[:160]
