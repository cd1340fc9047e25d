"""Which class of tokenizer reads which files, and by which rule ids are given: by the names of classes.

The class is the one that a file states, else that of the model's type. The rules are those of transformers;
`docs/reference/tokenizers.md` shows them.
"""

from __future__ import annotations

from collections.abc import Mapping

from survey.vocabulary.companions import Companions

# The tokens with which fairseq's dictionaries begin.
FAIRSEQ_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")

# Files of SentencePiece whose pieces keep their ids.
OWN_IDS = frozenset(
    """AlbertTokenizer BaichuanTokenizer BarthezTokenizer BertGenerationTokenizer BigBirdTokenizer
    CodeLlamaTokenizer CpmTokenizer DebertaV2Tokenizer FNetTokenizer GPTSw3Tokenizer GemmaTokenizer
    InternLM2Tokenizer InternLMTokenizer LlamaTokenizer OrionTokenizer ReformerTokenizer
    RemBertTokenizer SiglipTokenizer SpeechT5Tokenizer UdopTokenizer XLNetTokenizer YiTokenizer""".split()
)
# The same, and special tokens with higher ids whose texts stand in code.
OWN_IDS_AND_CODE = frozenset({"ChatGLMTokenizer"})
# vocab.json with the ids of a SentencePiece model's pieces.
LISTED_PIECES = frozenset({"M2M100Tokenizer", "MarianTokenizer", "Speech2TextTokenizer"})
# vocab.json with GPT-2's spelling of bytes.
BYTE_LEVEL = frozenset(
    """BartTokenizer BlenderbotTokenizer CodeGenTokenizer DebertaTokenizer GPT2Tokenizer GPTNeoXTokenizer
    LEDTokenizer LayoutLMv3Tokenizer LongformerTokenizer LukeTokenizer MarkupLMTokenizer MvpTokenizer
    Qwen2Tokenizer RobertaTokenizer WhisperTokenizer""".split()
)
# vocab.json whose pieces bear a mark where a word ends (</w>) or goes on (@@).
CLIP = frozenset({"CLIPTokenizer"})
WORD_ENDS = frozenset(
    {"BioGptTokenizer", "FlaubertTokenizer", "HerbertTokenizer", "OpenAIGPTTokenizer", "XLMTokenizer"}
)
WORD_GOES_ON = frozenset({"BlenderbotSmallTokenizer", "CTRLTokenizer"})
# vocab.txt, one piece per line.
WORD_PIECE = frozenset(
    """BertTokenizer ConvBertTokenizer DPRContextEncoderTokenizer DPRQuestionEncoderTokenizer
    DPRReaderTokenizer DistilBertTokenizer ElectraTokenizer FunnelTokenizer LayoutLMTokenizer
    LayoutLMv2Tokenizer LxmertTokenizer MPNetTokenizer MobileBertTokenizer RealmTokenizer
    RetriBertTokenizer SqueezeBertTokenizer TapasTokenizer""".split()
)
ONE_A_LINE = frozenset(
    {"BertJapaneseTokenizer", "EsmTokenizer", "RoCBertTokenizer", "RoFormerTokenizer", "SplinterTokenizer"}
)  # cut by other rules
# vocab.txt with a count after each piece, after FAIRSEQ_TOKENS, which it does not list.
COUNTED_LINES = frozenset({"BertweetTokenizer", "PhobertTokenizer"})

VOCAB_FILE_CLASSES = (
    LISTED_PIECES | BYTE_LEVEL | CLIP | WORD_ENDS | WORD_GOES_ON | WORD_PIECE | ONE_A_LINE | COUNTED_LINES
)

# Special tokens in the order of SPECIAL_KEYS, if the files state no others. The class gives ids to those that
# the vocabulary lacks.
DEFAULT_SPECIAL: Mapping[str, tuple[str, ...]] = {
    "AlbertTokenizer": ("[CLS]", "[SEP]", "<unk>", "[SEP]", "<pad>", "[CLS]", "[MASK]"),
    "BarthezTokenizer": ("<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"),
    "BertGenerationTokenizer": ("<s>", "</s>", "<unk>", "<::::>", "<pad>"),
    "BertweetTokenizer": ("<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"),
    "BigBirdTokenizer": ("<s>", "</s>", "<unk>", "[SEP]", "<pad>", "[CLS]", "[MASK]"),
    "CpmTokenizer": ("<s>", "</s>", "<unk>", "<sep>", "<pad>", "<cls>", "<mask>"),
    "DebertaV2Tokenizer": ("[CLS]", "[SEP]", "[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"),
    "FNetTokenizer": ("", "", "<unk>", "[SEP]", "<pad>", "[CLS]", "[MASK]"),
    "GPTSw3Tokenizer": ("<|endoftext|>", "<|endoftext|>", "<unk>", "", "<pad>"),
    "GemmaTokenizer": ("<bos>", "<eos>", "<unk>", "", "<pad>"),
    "PhobertTokenizer": ("<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"),
    "RemBertTokenizer": ("[CLS]", "[SEP]", "<unk>", "[SEP]", "<pad>", "[CLS]", "[MASK]"),
    "SpeechT5Tokenizer": ("<s>", "</s>", "<unk>", "", "<pad>"),
    "XLNetTokenizer": ("<s>", "</s>", "<unk>", "<sep>", "<pad>", "<cls>", "<mask>"),
}

# The class of a model whose config states none, by its type; types of several classes are left out.
_TYPES: Mapping[str, str] = {
    "AlbertTokenizer": "albert yoso",
    "BaichuanTokenizer": "baichuan",
    "BarthezTokenizer": "barthez",
    "BertGenerationTokenizer": "bert-generation",
    "BertTokenizer": "bert convbert distilbert electra ernie layoutlm megatron-bert nezha nomic_bert qdqbert "
    "retribert squeezebert visual_bert",
    "BertweetTokenizer": "bertweet",
    "BigBirdTokenizer": "big_bird",
    "BioGptTokenizer": "biogpt",
    "BlenderbotSmallTokenizer": "blenderbot-small",
    "BlenderbotTokenizer": "blenderbot",
    "CLIPTokenizer": "clip clip_text_model clipseg groupvit owlv2 owlvit xclip",
    "CTRLTokenizer": "ctrl",
    "CamembertTokenizer": "camembert",
    "ChatGLMTokenizer": "chatglm",
    "CodeLlamaTokenizer": "code_llama",
    "CpmTokenizer": "cpm",
    "DebertaTokenizer": "deberta",
    "DebertaV2Tokenizer": "deberta-v2",
    "EsmTokenizer": "esm",
    "FNetTokenizer": "fnet",
    "FlaubertTokenizer": "flaubert",
    "FunnelTokenizer": "funnel",
    "GPT2Tokenizer": "gpt2 gpt_neo gptj opt codegen",
    "GPTSw3Tokenizer": "gpt-sw3",
    "GemmaTokenizer": "gemma gemma2 gemma3 gemma3_text recurrent_gemma",
    "InternLM2Tokenizer": "internlm2",
    "InternLMTokenizer": "internlm",
    "LayoutLMv2Tokenizer": "layoutlmv2",
    "LayoutXLMTokenizer": "layoutxlm",
    "LlamaTokenizer": "llama mistral mixtral",
    "LxmertTokenizer": "lxmert",
    "M2M100Tokenizer": "m2m_100",
    "MPNetTokenizer": "mpnet",
    "MarianTokenizer": "marian",
    "MobileBertTokenizer": "mobilebert",
    "NllbTokenizer": "nllb nllb-moe",
    "OpenAIGPTTokenizer": "openai-gpt",
    "OrionTokenizer": "orion",
    "PLBartTokenizer": "plbart",
    "PegasusTokenizer": "pegasus",
    "PhobertTokenizer": "phobert",
    "Qwen2Tokenizer": "qwen2 qwen2_moe qwen2_vl qwen2_5_vl qwen3 qwen3_moe",
    "ReformerTokenizer": "reformer",
    "RemBertTokenizer": "rembert",
    "RoCBertTokenizer": "roc_bert",
    "RoFormerTokenizer": "roformer",
    "RobertaTokenizer": "bart roberta roberta-prelayernorm longformer",
    "SeamlessM4TTokenizer": "seamless_m4t seamless_m4t_v2",
    "SiglipTokenizer": "siglip siglip_text_model",
    "Speech2TextTokenizer": "speech_to_text",
    "SpeechT5Tokenizer": "speecht5",
    "SplinterTokenizer": "splinter",
    "T5Tokenizer": "t5 mt5 switch_transformers",
    "TapasTokenizer": "tapas",
    "UdopTokenizer": "udop",
    "WhisperTokenizer": "whisper",
    "XGLMTokenizer": "xglm",
    "XLMRobertaTokenizer": "xlm-roberta xlm-roberta-xl xmod",
    "XLMTokenizer": "xlm",
    "XLNetTokenizer": "xlnet",
}
CLASS_OF_TYPE: Mapping[str, str] = {kind: name for name, kinds in _TYPES.items() for kind in kinds.split()}


def class_of(companions: Companions) -> str | None:
    """The class of tokenizer that the files state, else that of the model's type; None if unknown."""
    if companions.tokenizer_class is not None:
        return companions.tokenizer_class
    return next((CLASS_OF_TYPE[kind] for kind in companions.model_types if kind in CLASS_OF_TYPE), None)


def described(companions: Companions) -> str:
    """The statements from which the class follows, for a message."""
    types = ", ".join(repr(kind[:80]) for kind in companions.model_types) or "not stated"
    name = companions.tokenizer_class
    return f"tokenizer_class is {repr(name[:80]) if name else 'not stated'}, model_type {types}"
