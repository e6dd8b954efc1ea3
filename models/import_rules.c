/* What the parameters of our models are called elsewhere: the maps for tn_import. */
#include "models/gpt.h"
#include "models/transformer.h"

#define SIZE(rules) ((int)(sizeof(rules) / sizeof *(rules)))

/* Conv1D, of which GPT-2 is made there, keeps [in, out]. */
static const tn_import_rule gpt2[] = {
    { .to = "embedding.w", .from = "wte.weight" },
    { .to = "positions.w", .from = "wpe.weight" },
    { .to = "blocks.*.norm1.gamma", .from = "h.*.ln_1.weight" },
    { .to = "blocks.*.norm1.beta", .from = "h.*.ln_1.bias" },
    { .to = "blocks.*.self.qkv.w", .from = "h.*.attn.c_attn.weight" },
    { .to = "blocks.*.self.qkv.b", .from = "h.*.attn.c_attn.bias" },
    { .to = "blocks.*.self.out.w", .from = "h.*.attn.c_proj.weight" },
    { .to = "blocks.*.self.out.b", .from = "h.*.attn.c_proj.bias" },
    { .to = "blocks.*.norm2.gamma", .from = "h.*.ln_2.weight" },
    { .to = "blocks.*.norm2.beta", .from = "h.*.ln_2.bias" },
    { .to = "blocks.*.ff.in.w", .from = "h.*.mlp.c_fc.weight" },
    { .to = "blocks.*.ff.in.b", .from = "h.*.mlp.c_fc.bias" },
    { .to = "blocks.*.ff.out.w", .from = "h.*.mlp.c_proj.weight" },
    { .to = "blocks.*.ff.out.b", .from = "h.*.mlp.c_proj.bias" },
    { .to = "blocks.norm.gamma", .from = "ln_f.weight" },
    { .to = "blocks.norm.beta", .from = "ln_f.bias" },
    { .from = "h.*.attn.bias" }, /* the causal mask, kept as a buffer by older versions */
    { .from = "h.*.attn.masked_bias" },
    { .from = "lm_head.weight" }, /* the embedding again */
};

const tn_import_rule *tn_gpt2_rules(int *n)
{
    if (n) *n = SIZE(gpt2);
    return gpt2;
}

/* Layers of nn.Transformer: fused projections are rows of q, k and v, one below the other. */
static const tn_import_rule transformer[] = {
    { .to = "embedding.w", .from = "embedding.weight" },
    { .to = "source.w", .from = "source.weight" },
    { .to = "target.w", .from = "target.weight" },
    { .to = "source_positions.w", .from = "source_positions.weight" },
    { .to = "target_positions.w", .from = "target_positions.weight" },
    { .to = "output.w", .from = "output.weight", .transposed = true },

    { .to = "*.*.norm*.gamma", .from = "transformer.*.layers.*.norm*.weight" },
    { .to = "*.*.norm*.beta", .from = "transformer.*.layers.*.norm*.bias" },
    { .to = "*.*.self.qkv.w",
      .from = "transformer.*.layers.*.self_attn.in_proj_weight", .transposed = true },
    { .to = "*.*.self.qkv.b", .from = "transformer.*.layers.*.self_attn.in_proj_bias" },
    { .to = "*.*.self.out.w",
      .from = "transformer.*.layers.*.self_attn.out_proj.weight", .transposed = true },
    { .to = "*.*.self.out.b", .from = "transformer.*.layers.*.self_attn.out_proj.bias" },
    { .to = "*.*.cross.q.w",
      .from = "transformer.*.layers.*.multihead_attn.in_proj_weight", .transposed = true,
      .first = 0, .count = 1, .of = 3 },
    { .to = "*.*.cross.q.b", .from = "transformer.*.layers.*.multihead_attn.in_proj_bias",
      .first = 0, .count = 1, .of = 3 },
    { .to = "*.*.cross.kv.w",
      .from = "transformer.*.layers.*.multihead_attn.in_proj_weight", .transposed = true,
      .first = 1, .count = 2, .of = 3 },
    { .to = "*.*.cross.kv.b", .from = "transformer.*.layers.*.multihead_attn.in_proj_bias",
      .first = 1, .count = 2, .of = 3 },
    { .to = "*.*.cross.out.w", .from = "transformer.*.layers.*.multihead_attn.out_proj.weight",
      .transposed = true },
    { .to = "*.*.cross.out.b", .from = "transformer.*.layers.*.multihead_attn.out_proj.bias" },
    { .to = "*.*.ff.in.w", .from = "transformer.*.layers.*.linear1.weight", .transposed = true },
    { .to = "*.*.ff.in.b", .from = "transformer.*.layers.*.linear1.bias" },
    { .to = "*.*.ff.out.w", .from = "transformer.*.layers.*.linear2.weight", .transposed = true },
    { .to = "*.*.ff.out.b", .from = "transformer.*.layers.*.linear2.bias" },
    { .to = "*.norm.gamma", .from = "transformer.*.norm.weight" },
    { .to = "*.norm.beta", .from = "transformer.*.norm.bias" },
};

const tn_import_rule *tn_transformer_rules(int *n)
{
    if (n) *n = SIZE(transformer);
    return transformer;
}
