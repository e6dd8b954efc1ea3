#!/usr/bin/env python3
"""Trains the same Transformer in PyTorch for a number of minutes and translates the test set: prints one line of JSON with BLEU.

    python3 torch_train.py TRAIN VALID TEST --minutes 25 --size nano --vocab 8000 --lr 4e-3

What transformer_train does, with a PyTorch user's means: SentencePiece BPE, batches of like lengths within a budget of tokens,
label smoothing, a rate that rises and falls to zero as the time ends, clipping, beam search, sacreBLEU. Only training counts."""
import argparse
import gzip
import json
import math
import random
import tempfile
import time

import sacrebleu
import sentencepiece
import torch
from torch import nn
import torch.nn.functional as F

from model import Model

PAD, BOS, EOS = 0, 2, 3
args = argparse.ArgumentParser()
args.add_argument("train")
args.add_argument("valid")
args.add_argument("test")
args.add_argument("--minutes", type=float, default=25)
args.add_argument("--size", default="nano")
args.add_argument("--vocab", type=int, default=8000)
args.add_argument("--tokens", type=int, default=4096)
args.add_argument("--lr", type=float, default=4e-3)
args.add_argument("--warmup", type=int, default=150)
args.add_argument("--dropout", type=float, default=0.1)
args.add_argument("--threads", type=int, default=2)
args.add_argument("--beam", type=int, default=5)
args.add_argument("--test-pairs", type=int, default=1000)
args.add_argument("--max-length", type=int, default=128)
args = args.parse_args()
torch.set_num_threads(args.threads)
torch.manual_seed(1)
random.seed(1)


# ---- data

def read(path):
    with (gzip.open(path, "rt") if path.endswith(".gz") else open(path)) as f:
        return [line.rstrip("\n").split("\t")[:2] for line in f if "\t" in line]


def encode(pairs):
    return [[tokenizer.encode(text)[: args.max_length - 1] + [EOS] for text in pair] for pair in pairs]


def pad(rows):
    n = max(map(len, rows))
    return torch.tensor([row + [PAD] * (n - len(row)) for row in rows])


def batches_of(pairs):
    """Lists of pairs of like lengths, rows times the longest side within the budget; in random order."""
    order = sorted(random.sample(range(len(pairs)), len(pairs)), key=lambda i: (len(pairs[i][0]), len(pairs[i][1])))
    batches, longest = [[]], 0
    for i in order:
        longest = max(longest, *map(len, pairs[i]))
        if batches[-1] and longest * (len(batches[-1]) + 1) > args.tokens:
            batches.append([])
            longest = max(map(len, pairs[i]))
        batches[-1].append(pairs[i])
    random.shuffle(batches)
    return batches


def feed(batch):
    src, following = pad([p[0] for p in batch]), pad([p[1] for p in batch])
    return src, torch.cat((torch.full((len(batch), 1), BOS), following[:, :-1]), 1), following


# ---- translating

def beam_search(sources, k, alpha=0.6):
    src, n = pad(sources), len(sources)
    memory, keep = model.encode(src)
    memory, keep = memory.repeat_interleave(k, 0), keep.repeat_interleave(k, 0)
    prefix, score = torch.full((n * k, 1), BOS), torch.full((n, k), -math.inf)
    score[:, 0] = 0
    ended = [[] for _ in sources]
    for t in range(min(2 * src.shape[1] + 10, 500)):
        logits = F.linear(model.decode(prefix, memory, keep)[:, -1], model.embedding.weight)
        log_p = F.log_softmax(logits, -1)
        log_p[:, [PAD, BOS]] = -math.inf
        best, at = (score.view(-1, 1) + log_p).view(n, -1).topk(2 * k)
        rows, tokens = [], []
        for i in range(n):
            live = []
            for rank, (value, where) in enumerate(zip(best[i].tolist(), at[i].tolist())):
                beam, token = divmod(where, model.vocabulary)
                if token != EOS:
                    live.append((value, i * k + beam, token))
                elif rank < k:
                    ended[i].append((value / ((6 + t) / 6) ** alpha, prefix[i * k + beam, 1:].tolist()))
            live = live[:k]
            score[i] = torch.tensor([x[0] for x in live])
            rows += [x[1] for x in live]
            tokens += [[x[2]] for x in live]
        prefix = torch.cat((prefix[rows], torch.tensor(tokens)), 1)
        if all(len(e) >= k for e in ended):
            break
    return [max(e)[1] if e else prefix[i * k, 1:].tolist() for i, e in enumerate(ended)]


@torch.no_grad()
def translate(sources):
    order, out = sorted(range(len(sources)), key=lambda i: len(sources[i])), [None] * len(sources)
    for begin in range(0, len(order), 32):
        group = order[begin : begin + 32]
        for i, ids in zip(group, beam_search([sources[i] for i in group], args.beam)):
            out[i] = tokenizer.decode(ids)
    return out


# ---- training

pairs = read(args.train)
with tempfile.TemporaryDirectory() as folder:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(text for pair in pairs for text in pair), model_prefix=folder + "/bpe", vocab_size=args.vocab,
        model_type="bpe", character_coverage=1.0, pad_id=PAD, unk_id=1, bos_id=BOS, eos_id=EOS, minloglevel=2)
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=folder + "/bpe.model")
pairs, valid = encode(pairs), encode(read(args.valid))
model = Model(args.size, args.dropout, max_length=512, vocabulary=tokenizer.get_piece_size()).train()
for name, p in model.named_parameters():
    if p.dim() == 2 and "embedding" not in name:
        nn.init.xavier_uniform_(p)
optimizer = model.optimizer()
budget, spent, step, tokens = 60 * args.minutes, 0.0, 0, 0
while spent < budget:
    for batch in batches_of(pairs):
        begin = time.perf_counter()
        src, tgt, following = feed(batch)
        step += 1
        rate = args.lr * min(1, step / args.warmup) * max(0, 1 - spent / budget)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = model(src, tgt, following)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        tokens += int((src != 0).sum() + (following != 0).sum())
        spent += time.perf_counter() - begin
        if step % 100 == 0:
            print(f"step {step}, {spent:.0f} s, loss {loss.item():.3f}, {tokens / spent:.0f} tokens/s", flush=True)
        if spent >= budget:
            break

model.eval()
total = count = 0
with torch.no_grad():
    for batch in batches_of(valid):
        src, tgt, following = feed(batch)
        logits = F.linear(model.decode(tgt, *model.encode(src)), model.embedding.weight)
        total += F.cross_entropy(logits.view(-1, model.vocabulary), following.view(-1), ignore_index=PAD, reduction="sum").item()
        count += int((following != PAD).sum())
test = read(args.test)[: args.test_pairs]
bleu = sacrebleu.corpus_bleu(translate([ids for ids, _ in encode(test)]), [[target for _, target in test]]).score
print(json.dumps({"peer": "PyTorch " + torch.__version__.split("+")[0], "size": args.size, "minutes": args.minutes, "updates": step,
                  "tok_s": tokens / spent, "valid_perplexity": math.exp(total / count), "bleu": bleu}))
