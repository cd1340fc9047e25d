"""The names of unembeddings and embeddings in checkpoints: to support a new architecture, add its names here.

A name is `wrapper + body + stem + rest`: the module of the language model (within a multimodal model or an
adapter), the module of its layers, the name of the matrix, and the tensor's role in it (`.weight`). Words of
configs for tying are in `tying.py`.
"""

from __future__ import annotations

# Prefixes of the language model: alone, in a multimodal model, in an encoder-decoder, in an adapter.
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
# The module that holds its layers; a model type's own name (`bert.`, `gpt_neox.`) is added from the config.
BODIES = ("", "model.", "transformer.", "backbone.", "gpt_neox.", "rwkv.",
          "bert.", "roberta.", "electra.", "distilbert.", "albert.", "deberta.")  # fmt: skip

# In each list the earlier name wins.
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
    "lm_predictions.lm_head",  # DeBERTa-v3
)
# Also names of classifiers and of the output of diffusion transformers: heads only if there is an embedding.
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
    "embeddings.token_embedding",  # CLIP, SigLIP
)
# Tables of text towers, whose output is compared with images and is never logits.
TOWER_EMBEDDINGS = ("embeddings.token_embedding",)
# In other parts of a model these are tables of something else: they rank behind EMBEDDINGS under any prefix.
VAGUE_EMBEDDINGS = (
    "transformer.w",  # CTRL
    "embeddings",  # Mamba, RWKV, XLM
    "embedding",  # Mamba of its authors
    "emb",  # RWKV of its authors
    "embed",  # Inkling
)
BIASES = ("cls.predictions.bias", "predictions.bias", "final_logits_bias")
