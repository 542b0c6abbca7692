"""Train with torch, get killed at any moment, start again, and end with the same figures.

Four small networks on the handwritten digits that ship with scikit-learn. Kill the script while
it runs (Ctrl-C, ``kill -9``, pull the plug) and start it again. Finished runs stay finished, the
others continue after their last complete epoch, and the figures are the same to the last digit.

    python examples/resume_torch.py [RESULTS_ROOT]
"""

import argparse
import os
import sys
from pathlib import Path

from ztxexp import ExperimentPipeline, ResultAnalyzer, RunContext

EPOCHS = 40


def train(ctx: RunContext) -> dict[str, float]:
    """Train one configuration, from where an earlier attempt of the run was interrupted."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(ctx.config["seed"])
    x_train, x_test, y_train, y_test = digits()
    hidden = ctx.config["hidden"]
    model = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(hidden, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=ctx.config["lr"])

    last = ctx.checkpoints_dir / "last.pt"  # 1: in the folder that all attempts of a run share
    done = restore(last, model, optimizer) if last.exists() else 0  # 2
    ctx.logger.info("attempt %d starts after epoch %d", ctx.attempt, done)
    for epoch in range(done + 1, ctx.config["epochs"] + 1):
        # The order of the data depends on seed and epoch only, not on what came before.
        shuffling = torch.Generator().manual_seed(1000 * ctx.config["seed"] + epoch)
        for batch in torch.randperm(len(x_train), generator=shuffling).split(32):
            loss = nn.functional.cross_entropy(model(x_train[batch]), y_train[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        ctx.log_metric(step=epoch, metrics={"loss": loss.item()})
        save(last, epoch, model, optimizer)  # 3

    model.eval()
    with torch.no_grad():
        logits = model(x_test)
    accuracy = (logits.argmax(dim=1) == y_test).double().mean()
    return {"accuracy": accuracy.item(), "loss": nn.functional.cross_entropy(logits, y_test).item()}


def save(path: Path, epoch: int, model, optimizer) -> None:
    """Save all that the next epoch depends on; a kill leaves the old checkpoint or the new one."""
    import torch

    state = {
        "epoch": epoch,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),  # of the dropout
    }
    unfinished = path.with_suffix(".tmp")
    torch.save(state, unfinished)
    os.replace(unfinished, path)


def restore(path: Path, model, optimizer) -> int:
    """Load what :func:`save` saved; returns the last finished epoch."""
    import torch

    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    return state["epoch"]


def digits():
    """Return images and labels for training and test as tensors, split the same way every time."""
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(images / 16.0, labels, random_state=0, stratify=labels)
    x_train, x_test = (torch.tensor(part, dtype=torch.float32) for part in parts[:2])
    y_train, y_test = (torch.tensor(part) for part in parts[2:])
    return x_train, x_test, y_train, y_test


def table(root: str) -> str:
    """Return the figures of all runs, best first, with the number of attempts of each."""
    runs = ResultAnalyzer(root).to_dataframe().sort_values("loss")
    lines = [f"{'lr':>6}  {'hidden':>6}  {'accuracy':>8}  {'loss':>8}  attempts"]
    for run in runs.itertuples():
        figures = f"{run.accuracy:>8.4f}  {run.loss:>8.5f}  {run.attempt:>8}"
        lines.append(f"{run.lr:>6g}  {run.hidden:>6}  {figures}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="?", default="results_resume", help="results root")
    root = parser.parse_args().results

    pipeline = (
        ExperimentPipeline(root, base_config={"epochs": EPOCHS, "seed": 0})
        .grid({"lr": [0.001, 0.003], "hidden": [32, 128]})
        .resume()
    )
    pipeline.run(train, mode="process_pool", workers=2)
    left = len(pipeline.build())
    if left:
        sys.exit(f"{left} configurations are left; start the script again to continue")
    print(f"all done\n\n{table(root)}")


if __name__ == "__main__":
    main()
