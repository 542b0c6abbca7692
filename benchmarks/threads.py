"""Measure a sweep of small torch trainings with workers that share the cores, and without.

    python benchmarks/threads.py [--runs 16] [--workers 2] [--rounds 3] [--mode process_pool]

Each round runs the same sweep twice, in an order that is swapped from round to round: once with
``cores // workers`` threads in each worker, as ztxexp sets them, and once with as many threads in
each worker as there are cores, which is the default of torch. Needs torch.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def train(ctx):
    """A multilayer perceptron on random data; returns the seconds that its steps took."""
    import torch

    torch.manual_seed(ctx.config["seed"])
    x, y = torch.randn(256, 128), torch.randint(10, (256,))
    model = torch.nn.Sequential(
        torch.nn.Linear(128, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    started = time.perf_counter()
    for _ in range(ctx.config["steps"]):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    return {"seconds": time.perf_counter() - started, "threads": torch.get_num_threads()}


def sweep(args: argparse.Namespace) -> None:
    """Make one sweep and print its seconds, the median of its runs' and their threads."""
    from ztxexp import ExperimentPipeline, ResultAnalyzer

    with tempfile.TemporaryDirectory() as root:
        pipeline = ExperimentPipeline(root, base_config={"steps": args.steps}).grid(
            {"seed": list(range(args.runs))}
        )
        started = time.perf_counter()
        summary = pipeline.run(train, mode=args.mode, workers=args.workers)
        seconds = time.perf_counter() - started
        frame = ResultAnalyzer(root).to_dataframe()
    assert summary.succeeded == args.runs, summary
    print("RESULT", seconds, frame["seconds"].median(), int(frame["threads"].max()))


def measure(args: argparse.Namespace, shared: bool) -> tuple[float, float, int]:
    """Make one sweep in a process of its own."""
    env = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    if not shared:  # what the user has set is left alone
        env |= dict.fromkeys(VARIABLES, str(len(os.sched_getaffinity(0))))
    command = [sys.executable, __file__, "--sweep", "--mode", args.mode]
    command += ["--runs", str(args.runs), "--workers", str(args.workers)]
    command += ["--steps", str(args.steps)]
    out = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if out.returncode:
        sys.exit(out.stderr)
    (line,) = [line for line in out.stdout.splitlines() if line.startswith("RESULT")]
    _, seconds, median, threads = line.split()
    return float(seconds), float(median), int(threads)


def main() -> None:
    """Compare the two, side by side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000, help="of each training")
    parser.add_argument("--mode", default="process_pool")
    parser.add_argument("--sweep", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.sweep:
        sweep(args)
        return
    found: dict[bool, list[tuple[float, float, int]]] = {True: [], False: []}
    for number in range(args.rounds):
        for shared in (True, False) if number % 2 else (False, True):
            found[shared].append(measure(args, shared))
    for shared, name in ((False, "all cores in each worker"), (True, "cores shared")):
        totals, medians, threads = zip(*found[shared], strict=True)
        print(
            f"{name:<26} {max(threads)} threads  sweep {statistics.median(totals):6.2f} s"
            f"  one training {statistics.median(medians):5.2f} s"
        )
    ratios = [
        statistics.median(r[i] for r in found[False]) / statistics.median(r[i] for r in found[True])
        for i in (0, 1)
    ]
    print(f"shared is {ratios[0]:.2f} times as fast (sweep), {ratios[1]:.2f} times (one training)")


if __name__ == "__main__":
    main()
