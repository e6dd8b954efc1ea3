#!/usr/bin/env python3
"""Ours and theirs by turns in one run: medians, spread and ratios, as the tables of docs/benchmarks.md.

    bench/compare.py --build build --parts step,others,losses,affine,gemm,attention,ops,decode,padding \\
        --text pairs.tsv.gz --write docs/benchmarks.md

Each part is one table; --write puts it between its markers (<!-- begin step --> .. <!-- end step -->; without
AVX-512 between those of step-avx2, where the file has them), otherwise it is printed. Without --python a virtual
environment with the peers (PyTorch, JAX, CTranslate2) is made in --venv; OpenBLAS, BLIS and oneDNN are those that the
system has (Debian: libopenblas0-pthread libblis4-pthread libdnnl2). A peer that is missing is told, and left out; with
it goes a part that has no other. The status is 1 where no part is left, and where a program of the project fails."""
import argparse
import datetime
import functools
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import venv

HERE = os.path.dirname(os.path.abspath(__file__))
STEPS = {"eager": "PyTorch", "fused": "PyTorch", "compiled": "PyTorch", "jax": "JAX"}
MODULES = {"PyTorch": ("torch",), "JAX": ("jax",), "CTranslate2": ("ctranslate2", "numpy")}
LIBRARIES = ("OpenBLAS", "BLIS", "oneDNN")  # that bench_gemm looks for in the system
PARTS = ("step", "others", "losses", "affine", "gemm", "attention", "ops", "decode", "padding")
args = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
args.add_argument("--build", default="build")
args.add_argument("--parts", default="step", help="of " + ",".join(PARTS) + " (default: step)")
args.add_argument("--sizes", default="tiny,small,base,gpt8k,gpt2", help="of step and losses")
args.add_argument("--rounds", type=int, default=5, help="alternations")
args.add_argument("--steps", type=int, default=6, help="timed steps of each process")
args.add_argument("--threads", type=int, default=2)
args.add_argument("--peers", default="eager,fused,compiled,jax",
                  help="of step; those far behind in the first round are left out then")
args.add_argument("--level", choices=["avx2"], help="of step: no instructions beyond these, on either side")
args.add_argument("--models", default="all", help="of others, as bench_others --models")
args.add_argument("--gemm", default="squares;small;attention;model", help="groups or sizes, as bench_gemm --sizes")
args.add_argument("--attention", default="1,1024,8,64;1,4096,8,64;1,4096,8,64,c;model",
                  help="sizes, as bench_attention --sizes")
args.add_argument("--mib", default="512", help="as bench_ops --mib")
args.add_argument("--text", help="real sentence pairs, for decode and padding")
args.add_argument("--decode", default="tiny,base", help="sizes of decode")
args.add_argument("--sentences", type=int, default=1000)
args.add_argument("--python", help="a Python that has the peers")
args.add_argument("--venv", default=os.path.expanduser("~/.cache/libtensor-peers"))
args.add_argument("--write", help="a Markdown file with markers")
args = args.parse_args()
for option, known in ("parts", PARTS), ("peers", STEPS):
    for name in getattr(args, option).split(","):
        if name not in known:
            sys.exit(f"compare.py: --{option}: no {name}: there are " + ", ".join(known))
FAR_BEHIND = 1.3  # times the fastest peer
LEVELS = {"avx2": {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2",
                   "XLA_FLAGS": "--xla_cpu_max_isa=AVX2"}}


# ---- running

class LeftOut(Exception):
    """Why something cannot be compared."""


class Failed(Exception):
    """What of the project's own went wrong."""


def tell(text):
    print("compare.py:", text, file=sys.stderr, flush=True)


def find_python():
    python = args.python or os.path.join(args.venv, "bin", "python")
    try:
        if not args.python and not os.path.exists(python):
            tell(f"making {args.venv}")
            venv.create(args.venv, with_pip=True)
        subprocess.run([python, "-c", ""], check=True)
    except (OSError, subprocess.CalledProcessError) as why:
        sys.exit(f"compare.py: --{'python' if args.python else 'venv'}: no Python for the peers: {why}")
    return python


def last_line(out):
    return ((out.stderr.strip() or out.stdout.strip()).splitlines() or [f"status {out.returncode}"])[-1]


def why_missing(peer):
    out = subprocess.run([python, "-c", "import " + ", ".join(MODULES[peer])], capture_output=True, text=True)
    return last_line(out) if out.returncode else None


@functools.cache
def is_there(peer):
    """Where it is not, it is told, once. The own environment is given what a part asks for."""
    why = why_missing(peer)
    if why and not args.python:
        tell(f"installing {peer} in {args.venv}")
        subprocess.run([python, "-m", "pip", "install", "-q", "numpy", *MODULES[peer]])
        why = why_missing(peer)
    if why:
        tell(f"{peer} is missing: {python}: {why}")
    return not why


def need(peer):
    if not is_there(peer):
        raise LeftOut(f"it needs {peer}")


def need_text():
    if not args.text:
        raise LeftOut("it needs sentences (--text)")


def run(command, feed=None, failure=LeftOut):
    """Its standard output."""
    print("+", " ".join(command), file=sys.stderr, flush=True)
    try:
        out = subprocess.run(command, capture_output=True, text=True, input=feed,
                             env=os.environ | LEVELS.get(args.level, {}))
    except OSError as why:
        raise failure(str(why))
    if out.returncode:
        name = next(x for x in command if x != python)
        raise failure(f"{os.path.basename(name)} failed: {last_line(out)}")
    return out.stdout


def rows_of(text):
    rows = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    if not rows:
        raise LeftOut("there are no figures")
    return rows


def last(text):
    return rows_of(text)[-1]


def ours(name, *more):
    return run([os.path.join(args.build, "bench", "bench_" + name), *map(str, more)], failure=Failed)


def theirs(script, *more, feed=None):
    return run([python, os.path.join(HERE, "peers", script), *map(str, more)], feed)


# ---- writing

def spread(values, digits=1):
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def column(rows, key):
    return [r[key] for r in rows]


def middle(rows, key):
    return statistics.median(column(rows, key))


def table(head, rows):
    return "\n".join(["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
                     + ["| " + " | ".join(r) + " |" for r in rows])


def cpu_name():
    try:
        with open("/proc/cpuinfo") as f:
            return next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def machine(more=""):
    threads = f"{args.threads} thread" + "s" * (args.threads > 1)
    load = f"; load before: {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{cpu_name()}, {os.cpu_count()} CPUs, {threads}{more}; {datetime.date.today()}{load}."


def is_narrow():
    """Goes the machine, or what --level left of it, no further than AVX2? Such tables have markers of their own."""
    with open("/proc/cpuinfo") as f:
        flags = f.read()
    return " avx2" in flags and (bool(args.level) or " avx512vl" not in flags)


def write(part, text, is_done=True):
    """Into the file, also while a long part goes on; or printed, when it is done."""
    if not args.write and not is_done:
        return
    page = ""
    if args.write:
        with open(args.write) as f:
            page = f.read()
    if is_narrow() and (not args.write or f"<!-- begin {part}-avx2 -->" in page):
        part += "-avx2"
    text = f"<!-- begin {part} -->\n{text.strip()}\n<!-- end {part} -->"
    if not args.write:
        print(text + "\n", flush=True)
        return
    page, n = re.subn(f"<!-- begin {part} -->.*?<!-- end {part} -->", lambda _: text, page, flags=re.S)
    if n != 1:
        sys.exit(f"{args.write} has no markers of {part}")
    with open(args.write, "w") as f:
        f.write(page)


# ---- the parts

def peer_step(peer, size):
    common = ["--size", size, "--threads", args.threads, "--steps", args.steps]
    if peer == "jax":
        return last(theirs("jax_step.py", *common))
    return last(theirs("torch_step.py", *common, "--mode", peer))


def step_of(size, names):
    """A row of the table."""
    mine, peers, running = [], {name: [] for name in names}, list(names)
    for r in range(args.rounds):
        mine.append(last(ours("train_step", "--json", "--size", size, "--threads", args.threads,
                              "--steps", args.steps, *(["--level", args.level] if args.level else []))))
        for peer in list(running):
            try:
                peers[peer].append(peer_step(peer, size))
            except LeftOut as why:
                tell(f"step: {size} goes on without {peer}: {why}")
                running.remove(peer)
        peers = {k: p for k, p in peers.items() if p}
        if not peers:
            raise LeftOut("no peer can be run")
        if not running:
            break
        if r == 0:
            best = min(p[0]["step_ms"] for p in peers.values())
            tried = ", ".join(f"{k} {p[0]['step_ms']:,.0f}" for k, p in peers.items())
            peers = {k: p for k, p in peers.items() if p[0]["step_ms"] <= FAR_BEHIND * best}
            running = [k for k in running if k in peers]
    name = min(peers, key=lambda k: middle(peers[k], "step_ms"))
    best = peers[name]
    ratios = [b["step_ms"] / a["step_ms"] for a, b in zip(mine, best)]
    flops, peak = middle(mine, "gflops"), middle(mine, "peak_gflops")
    beyond = [statistics.median(r["rss_mib"] - 16 * r["params"] / 2**20 for r in x) for x in (mine, best)]
    row = [size, spread(column(mine, "step_ms")), f"{spread(column(best, 'step_ms'))}, {best[0]['peer']}",
           f"**{spread(ratios, 2)}**", tried, f"{flops:.0f} of {peak:.0f}, {100 * flops / peak:.0f} %",
           f"{beyond[0]:,.0f}, {beyond[1]:,.0f}, {beyond[0] / beyond[1]:.2f}",
           f"{middle(mine, 'first_step_ms'):,.0f}, {middle(best, 'first_step_ms'):,.0f}",
           f"{middle(mine, 'compile_ms'):.0f}, {middle(mine, 'lookup_us'):.2f}"]
    return row


def step():
    rows, sizes = [], args.sizes.split(",")
    names = [name for name in args.peers.split(",") if is_there(STEPS[name])]
    if not names:
        raise LeftOut("none of its --peers is there")
    where = machine(f"; medians (least to most) of {args.rounds} alternations of {args.steps} steps each")
    for size in sizes:
        try:
            rows.append(step_of(size, names))
        except LeftOut as why:
            tell(f"step: {size} is left out: {why}")
        if rows:
            write("step", where + "\n\n" + table(
                ["size", "libtensor, ms", "the fastest peer, ms", "ratio", "peers in the first round, ms",
                 "GFLOP/s of the peak", "MiB beyond 16 B a parameter: ours, theirs, ratio",
                 "start to first step done, ms: ours, theirs", "compiling, ms; finding a program again, us"],
                rows), size == sizes[-1])
    if not rows:
        raise LeftOut("no size can be run")


def others():
    """Each model in processes of its own, so that memory is its own."""
    need("PyTorch")
    rows = []
    known = ours("others", "--json", "--models", args.models, "--repeats", 1, "--ms", 0, "--threads", args.threads)
    for model in column(rows_of(known), "model"):
        common = ["--models", model, "--repeats", 3, "--threads", args.threads]
        pairs = [(last(ours("others", "--json", *common)), last(theirs("torch_others.py", *common)))
                 for _ in range(args.rounds)]
        mine, peer = zip(*pairs)
        rows.append([f"{model}: {mine[0]['what']}", spread(column(mine, "step_ms"), 2),
                     spread(column(peer, "step_ms"), 2),
                     f"**{spread([b['step_ms'] / a['step_ms'] for a, b in pairs], 2)}**",
                     f"{middle(mine, 'rss_mib'):,.0f}, {middle(peer, 'rss_mib'):,.0f}"])
    where = machine(f"; {peer[0]['peer']}, fused Adam; medians of {args.rounds} alternations")
    write("others", where + "\n\n" + table(["model", "step, ms", "PyTorch's", "ratio", "MiB: ours, theirs"], rows))


def losses():
    need("PyTorch")
    text = run([python, os.path.join(HERE, "losses.py"), "--build", args.build, "--sizes", args.sizes,
                "--threads", str(args.threads)], failure=Failed)
    write("losses", text)


def affine():
    text = "".join(ours("affine", "--size", size, "--threads", args.threads, "--rounds", args.rounds)
                   for size in ("tiny", "small"))
    write("affine", machine() + "\n\n```\n" + text.strip() + "\n```")


def gemm():
    found, has_torch = {}, is_there("PyTorch")
    for _ in range(max(1, args.rounds // 5)):
        lines = ours("gemm", "--json", "--peers", "--threads", args.threads, "--sizes", args.gemm, "--repeats", 7)
        try:
            lines = theirs("torch_gemm.py", feed=lines) if has_torch else lines
        except LeftOut as why:
            tell(f"gemm goes on without PyTorch: {why}")
            has_torch = False
            if found:
                break
        for row in rows_of(lines):
            found.setdefault((row["batch"], row["m"], row["n"], row["k"], row["kind"]), []).append(row)
    first = next(iter(found.values()))[0]
    names = [n for n in (*LIBRARIES, "MKL", "PyTorch") if n in first]
    for name in LIBRARIES:
        if name not in names:
            tell(f"{name} is missing: bench_gemm finds no library of it")
    if not names:
        raise LeftOut("there is nothing to compare it with")
    rows, ratios, shares = [], [], []
    for (batch, m, n, k, kind), x in found.items():
        others = {name: middle(x, name) for name in names}
        ratio = middle(x, "gflops") / max(others.values())
        ratios.append(ratio), shares.append(middle(x, "of_roof"))
        rows.append([f"{batch} x {m} {n} {k} {kind}", f"{middle(x, 'gflops'):.0f}", f"{100 * shares[-1]:.0f} %"]
                    + [f"{others[name]:.0f}" for name in names] + [f"{ratio:.2f}"])
    head = machine("; f32, medians of 7 alternations (MKL in a process of its own)")
    write("gemm", f"{head} Median of the ratios to the best library: **{statistics.median(ratios):.2f}** over "
          f"{len(ratios)} products; median share of min(peak, bandwidth): {100 * statistics.median(shares):.0f} %.\n\n"
          + table(["batch x m n k, transposes", "libtensor, GFLOP/s", "of what the machine allows"] + names + ["ratio"],
                  rows))


def attention():
    """Each size in processes of its own, so that they alternate often and memory is its own."""
    need("PyTorch")
    sizes, found = [], {}
    known = ours("attention", "--json", "--sizes", args.attention, "--repeats", 1, "--ms", 0, "--threads", args.threads)
    for row in rows_of(known):
        sizes.append(f"{row['batch']},{row['length']},{row['heads']},{row['d']}" + ",c" * row["causal"])
    for size in sizes:
        for _ in range(args.rounds):
            common = ["--sizes", size, "--repeats", 3, "--threads", args.threads]
            pair = [last(run) for run in (ours("attention", "--json", *common), theirs("torch_attention.py", *common))]
            found.setdefault(size, []).append(pair)
    rows = []
    for size, pairs in found.items():
        mine, peer = zip(*pairs)
        first = mine[0]
        row = [f"{first['batch']} x {first['length']}, {first['heads']} x {first['d']}" + ", causal" * first["causal"]]
        for key in ("forward", "both"):
            ratios = [b[key + "_ms"] / a[key + "_ms"] for a, b in pairs]
            share = statistics.median(a[key + "_gflops"] / a["peak_gflops"] for a in mine)
            row += [spread(column(mine, key + "_ms"), 2), spread(column(peer, key + "_ms"), 2),
                    f"**{spread(ratios, 2)}**", f"{100 * share:.0f} %"]
        rows.append(row + [f"{first['arena_mib']:.1f}; {middle(mine, 'rss_mib'):,.0f}, {middle(peer, 'rss_mib'):,.0f}"])
    where = machine(f"; {peer[0]['peer']}, scaled_dot_product_attention; medians of {args.rounds} alternations")
    write("attention", where + "\n\n" + table(
        ["batch x length, heads x size", "forward, ms", "PyTorch's", "ratio", "of the peak",
         "with gradients, ms", "PyTorch's", "ratio", "of the peak", "arena, MiB; of the process: ours, theirs"], rows))


def ops():
    need("PyTorch")
    lines = ours("ops", "--json", "--threads", args.threads, "--mib", args.mib, "--rounds", args.rounds)
    found = rows_of(theirs("torch_ops.py", "--threads", args.threads, "--rounds", args.rounds, feed=lines))
    near = {r["op"]: r for r in found if r["data"] == "cache"}
    rows = [[r["op"], f"{near[r['op']]['ms']:.3f}", f"{near[r['op']]['torch_ms'] / near[r['op']]['ms']:.1f}",
             f"{r['mib']:.0f}", f"{r['ms']:.1f}", f"{r['gbps']:.1f}", f"{r['times_allowed']:.2f}",
             f"{r['torch_ms'] / r['ms']:.1f}"]
            for r in found if r["data"] == "memory"]
    far = [r for r in found if r["data"] == "memory"]
    where = machine(f"; memory reads at {middle(far, 'read'):.1f} GB/s, copies at {middle(far, 'copy'):.1f}, "
                    f"triad {middle(far, 'triad'):.1f}")
    write("ops", where + "\n\n" + table(
        ["op", "in cache, ms", "times as fast as PyTorch", "MiB out of cache", "ms", "GB/s",
         "times what bandwidth allows", "times as fast as PyTorch"], rows))


def decode():
    need_text()
    need("CTranslate2")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        work = os.path.join(folder, "work.safetensors")
        jobs = [(size, beam, batch) for size in args.decode.split(",")
                for beam, batch in ((1, 32), (5, 32), (1, 1), (5, 1))]
        for job in jobs:
            size, beam, batch = job
            n = args.sentences if batch > 1 else max(args.sentences // 10, 1)
            common = ["--size", size, "--beam", beam, "--batch", batch, "--threads", args.threads, "--repeats", 1]
            mine, peers, left = {1: [], args.threads: []}, {1: [], args.threads: []}, None
            for _ in range(args.rounds):
                for at_once, found in mine.items():
                    found.append(last(ours("decode", *common, "--at-once", at_once, "--text", args.text,
                                           "--sentences", n, "--export", work, "--json")))
                found = []
                for products, at_once in left or [(k, t) for t in peers for k in ("mkl", "onednn")]:
                    try:
                        found.append(last(theirs("ct2_decode.py", work, *common, "--products", products,
                                                 "--at-once", at_once)))
                    except LeftOut as why:
                        tell(f"decode: {size} goes on without {products}: {why}")
                best = [max((x for x in found if x["at_once"] == t), key=lambda x: x["tok_s"], default=None)
                        for t in peers]
                if not best[0]:
                    raise LeftOut("CTranslate2 cannot be run")
                left = [(x["products"], x["at_once"]) for x in best if x]
                for at_once, x in zip(peers, best):
                    peers[at_once].append(x or best[0])
            row = [size, str(beam), str(batch), str(n)]
            for t in mine:
                ratios = [a["tok_s"] / b["tok_s"] for a, b in zip(mine[t], peers[t])]
                row += [spread(column(mine[t], "tok_s"), 0),
                        f"{spread(column(peers[t], 'tok_s'), 0)}, {peers[t][0]['products']}",
                        f"**{spread(ratios, 2)}**"]
            rows.append(row + [f"{middle(x, 'rss_mib'):,.0f}, {middle(y, 'rss_mib'):,.0f}"
                               for x, y in zip(mine.values(), peers.values())])
            several = [f"{t} batches at once" for t in list(mine)[1:]]
            where = machine(f"; {peers[1][0]['peer']}, float32, with what makes its products faster; "
                            f"medians of {args.rounds} alternations")
            write("decode", where + "\n\n" + table(
                ["size", "beam", "batch", "sentences",
                 "one batch at a time: libtensor, tokens/s", "CTranslate2", "ratio"]
                + [x for head in several for x in (head + ": libtensor", "CTranslate2", "ratio")]
                + ["MiB: ours, theirs"] + [head + ": MiB" for head in several], rows), job == jobs[-1])


def padding():
    need_text()
    need("PyTorch")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        work = os.path.join(folder, "batches.safetensors")
        for size in ("tiny", "small"):
            found = {"padded": [], "packed": []}
            peer = []
            for _ in range(args.rounds):
                text = ours("padding", "--text", args.text, "--size", size, "--threads", args.threads,
                            "--export", work, "--json")
                for row in rows_of(text):
                    found[row["layout"]].append(row)
                peer.append(last(theirs("torch_padding.py", work, "--size", size, "--threads", args.threads)))
            packed, padded, torch = (column(x, "tok_s") for x in (found["packed"], found["padded"], peer))
            rows.append([size, spread(packed, 0), spread(padded, 0), spread(torch, 0),
                         spread([a / b for a, b in zip(packed, padded)], 2),
                         f"**{spread([a / b for a, b in zip(packed, torch)], 2)}**",
                         ", ".join(f"{100 * middle(found[x], 'real_share'):.0f} %" for x in ("packed", "padded"))])
    write("padding", machine(f"; {peer[0]['peer']}; medians of {args.rounds} alternations") + "\n\n" + table(
        ["size", "packed, real tokens/s", "padded", "PyTorch, padded", "packed to padded", "packed to PyTorch",
         "real of all tokens: packed, padded"], rows))


python = find_python()
n_compared = n_failed = 0
for part in args.parts.split(","):
    try:
        globals()[part]()
        n_compared += 1
    except LeftOut as why:
        tell(f"{part} is left out: {why}")
    except Failed as why:
        tell(f"{part}: {why}")
        n_failed += 1
sys.exit(n_failed > 0 or n_compared == 0)
