# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A random Llama of one layer: its files as GGUF and as a folder of safetensors, and what it computes, in double.

Nothing here is shared with the runtime under test. Pairs of rotary embedding are interleaved in GGUF and halves of a head
in safetensors, so the same model is stored with the rows of q and k in another order.
"""
import array
import json
import math
import random
import struct

WIDTH, HIDDEN, HEADS, KV_HEADS, HEAD, THETA, EPS = 16, 24, 2, 1, 8, 10000.0, 1e-5


def rounded(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


class LittleLlama:
    def __init__(self, vocabulary, seed):
        draw = random.Random(seed)
        self.vocabulary = vocabulary

        def matrix(rows, cols, scale=1.0):
            return [[rounded(draw.gauss(0, scale * cols ** -0.5)) for _ in range(cols)] for _ in range(rows)]

        def gain():
            return [rounded(1 + draw.gauss(0, 0.1)) for _ in range(WIDTH)]

        self.embed = [[rounded(draw.gauss(0, 1)) for _ in range(WIDTH)] for _ in range(vocabulary)]
        self.attn_norm, self.mlp_norm, self.norm = gain(), gain(), gain()
        self.q, self.k, self.v = (matrix(n * HEAD, WIDTH) for n in (HEADS, KV_HEADS, KV_HEADS))
        self.o, self.gate, self.up = matrix(WIDTH, HEADS * HEAD), matrix(HIDDEN, WIDTH), matrix(HIDDEN, WIDTH)
        self.down, self.head = matrix(WIDTH, HIDDEN), matrix(vocabulary, WIDTH, 3.0)

    # --- what it computes: one sequence from position 0 ---

    def logits(self, ids):
        def times(m, x):
            return [math.fsum(a * b for a, b in zip(row, x)) for row in m]

        def normed(x, gain):
            scale = 1 / math.sqrt(sum(v * v for v in x) / len(x) + EPS)
            return [v * scale * g for v, g in zip(x, gain)]

        def turned(x, at):  # halves of a head
            out = []
            for first in range(0, len(x), HEAD):
                low, high = x[first:first + HEAD // 2], x[first + HEAD // 2:first + HEAD]
                angle = [at * THETA ** (-2 * i / HEAD) for i in range(HEAD // 2)]
                out += [p * math.cos(a) - q * math.sin(a) for p, q, a in zip(low, high, angle)]
                out += [p * math.sin(a) + q * math.cos(a) for p, q, a in zip(low, high, angle)]
            return out

        keys, values, out = [], [], []
        for at, token in enumerate(ids):
            h = self.embed[token]
            x = normed(h, self.attn_norm)
            q = turned(times(self.q, x), at)
            keys.append(turned(times(self.k, x), at))
            values.append(times(self.v, x))
            mixed = []
            for head in range(HEADS):
                mine = q[head * HEAD:(head + 1) * HEAD]
                weight = [math.exp(sum(a * b for a, b in zip(mine, k)) / math.sqrt(HEAD)) for k in keys]
                mixed += [sum(w * v[i] for w, v in zip(weight, values)) / sum(weight) for i in range(HEAD)]
            h = [a + b for a, b in zip(h, times(self.o, mixed))]
            x = normed(h, self.mlp_norm)
            gated = [g / (1 + math.exp(-g)) * u for g, u in zip(times(self.gate, x), times(self.up, x))]
            h = [a + b for a, b in zip(h, times(self.down, gated))]
            out.append(times(self.head, normed(h, self.norm)))
        return out

    # --- its files ---

    def write_gguf(self, path, **keys):
        """`keys`: metadata beside the model's own, dots written as __: tokenizer__ggml__add_bos_token=True."""

        def interleaved(m):  # rows (0 … d/2 − 1, d/2 … d − 1) of each head to (0, d/2, 1, d/2 + 1, …)
            return [m[first + half * HEAD // 2 + i] for first in range(0, len(m), HEAD) for i in range(HEAD // 2)
                    for half in (0, 1)]

        def text(s):
            return struct.pack("<Q", len(s.encode())) + s.encode()

        def value(v):
            if isinstance(v, bool):
                return struct.pack("<I?", 7, v)
            if isinstance(v, int):
                return struct.pack("<II", 4, v)
            if isinstance(v, float):
                return struct.pack("<If", 6, v)
            return struct.pack("<I", 8) + text(v)

        metadata = {"general.architecture": "llama", "llama.block_count": 1, "llama.embedding_length": WIDTH,
                    "llama.feed_forward_length": HIDDEN, "llama.attention.head_count": HEADS,
                    "llama.attention.head_count_kv": KV_HEADS, "llama.attention.key_length": HEAD,
                    "llama.attention.value_length": HEAD, "llama.rope.freq_base": THETA,
                    "llama.attention.layer_norm_rms_epsilon": EPS, "llama.context_length": 128}
        metadata |= {k.replace("__", "."): v for k, v in keys.items()}
        tensors = {"token_embd.weight": self.embed, "output_norm.weight": self.norm, "output.weight": self.head}
        for name, m in (("attn_norm", self.attn_norm), ("attn_q", interleaved(self.q)), ("attn_k", interleaved(self.k)),
                        ("attn_v", self.v), ("attn_output", self.o), ("ffn_norm", self.mlp_norm), ("ffn_gate", self.gate),
                        ("ffn_up", self.up), ("ffn_down", self.down)):
            tensors[f"blk.0.{name}.weight"] = m
        head, data = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)), b""
        for key, v in metadata.items():
            head += text(key) + value(v)
        for name, m in tensors.items():
            extents, bytes_ = shape_and_bytes(m)
            head += text(name) + struct.pack(f"<I{len(extents)}QIQ", len(extents), *reversed(extents), 0, len(data))
            data += bytes_ + b"\0" * (-len(bytes_) % 32)
        path.write_bytes(head + b"\0" * (-len(head) % 32) + data)

    def write_folder(self, folder, bos=None, **files):
        """`files`: tokenizer_config={…} and tokenizer={…}, as far as there are any."""
        folder.mkdir()
        tensors = {"model.embed_tokens.weight": self.embed, "model.norm.weight": self.norm, "lm_head.weight": self.head}
        for name, m in (("input_layernorm", self.attn_norm), ("self_attn.q_proj", self.q), ("self_attn.k_proj", self.k),
                        ("self_attn.v_proj", self.v), ("self_attn.o_proj", self.o), ("mlp.down_proj", self.down),
                        ("post_attention_layernorm", self.mlp_norm), ("mlp.gate_proj", self.gate), ("mlp.up_proj", self.up)):
            tensors[f"model.layers.0.{name}.weight"] = m
        header, data = {}, b""
        for name, m in tensors.items():
            extents, bytes_ = shape_and_bytes(m)
            header[name] = {"dtype": "F32", "shape": extents, "data_offsets": [len(data), len(data) + len(bytes_)]}
            data += bytes_
        text = json.dumps(header).encode()
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
        config = {"model_type": "llama", "hidden_act": "silu", "num_hidden_layers": 1, "hidden_size": WIDTH,
                  "intermediate_size": HIDDEN, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
                  "head_dim": HEAD, "vocab_size": self.vocabulary, "rms_norm_eps": EPS, "rope_theta": THETA,
                  "max_position_embeddings": 128, "tie_word_embeddings": False, "bos_token_id": bos}
        for name, content in {"config": config, **files}.items():
            (folder / f"{name}.json").write_text(json.dumps(content))


def shape_and_bytes(m):
    rows = m if isinstance(m[0], list) else [m]
    extents = [len(m), len(m[0])] if isinstance(m[0], list) else [len(m)]
    values = array.array("f", [x for row in rows for x in row])
    return extents, struct.pack(f"<{len(values)}f", *values)


def perplexity(model, ids, context, bos=None):
    """llama-perplexity's: `bos` before the whole text, chunks, then `bos` over each chunk's first id. -> (ppl, chunks)."""
    stream = ids if bos is None else [bos, *ids]
    nll = []
    for first in range(0, len(stream) // context * context, context):
        chunk = stream[first:first + context]
        logits = model.logits(chunk if bos is None else [bos, *chunk[1:]])
        for at in range(context // 2, context - 1):
            top = max(logits[at])
            nll.append(top + math.log(sum(math.exp(x - top) for x in logits[at])) - logits[at][chunk[at + 1]])
    return math.exp(sum(nll) / len(nll)), len(stream) // context


def without_pattern(count, vocabulary, seed, least=3):
    draw = random.Random(seed)
    return [draw.randrange(least, vocabulary) for _ in range(count)]
