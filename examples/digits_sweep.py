"""Sweep a small neural network over the handwritten digits that ship with scikit-learn.

Learning rate x hidden size x seed in parallel, a curve per epoch, then the table for the paper. Run
it twice: the second time there is nothing left to do.

    python examples/digits_sweep.py [RESULTS_ROOT]
"""

import argparse
import os

from ztxexp import ExperimentPipeline, ResultAnalyzer, RunContext

EPOCHS = 15


def train(ctx: RunContext) -> dict[str, float]:
    """Train one configuration; the returned figures end up in its ``metrics.json``."""
    from sklearn.datasets import load_digits
    from sklearn.metrics import accuracy_score, log_loss
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier

    config = ctx.config
    images, labels = load_digits(return_X_y=True)
    # The split stays the same for all runs; the seed is the network's.
    x_train, x_test, y_train, y_test = train_test_split(
        images / 16.0, labels, test_size=0.25, random_state=0, stratify=labels
    )
    model = MLPClassifier(
        hidden_layer_sizes=(config["hidden"],),
        solver="sgd",
        learning_rate_init=config["lr"],
        random_state=config["seed"],
    )
    for epoch in range(1, config["epochs"] + 1):
        model.partial_fit(x_train, y_train, classes=range(10))
        ctx.log_metric(step=epoch, metrics={"loss": model.loss_})
        probabilities = model.predict_proba(x_test)
        accuracy = accuracy_score(y_test, probabilities.argmax(axis=1))
        valid = {"loss": log_loss(y_test, probabilities), "accuracy": accuracy}
        ctx.log_metric(step=epoch, metrics=valid, split="valid")
    return {"accuracy": accuracy, "final_loss": model.loss_}


def table(root: str) -> str:
    """Return mean and standard deviation over the seeds, best configuration first."""
    runs = ResultAnalyzer(root).to_dataframe(experiment_name="digits")
    by_setting = runs.groupby(["lr", "hidden"])["accuracy"]
    figures = by_setting.agg(["mean", "std", "count"]).sort_values("mean", ascending=False)
    lines = [f"{'lr':>7}  {'hidden':>6}  accuracy (mean ± std)  seeds"]
    for (lr, hidden), row in figures.iterrows():
        score = f"{row['mean']:.4f} ± {row['std']:.4f}"
        lines.append(f"{lr:>7g}  {hidden:>6}  {score:>21}  {row['count']:>5.0f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="?", default="results_digits", help="results root")
    root = parser.parse_args().results

    pipeline = (
        ExperimentPipeline(root, base_config={"epochs": EPOCHS})
        .name("digits")
        .grid({"lr": [0.01, 0.1, 0.5], "hidden": [16, 64], "seed": [0, 1, 2]})
        .exclude_completed()
    )
    todo = len(pipeline.build())
    print(f"{todo} configurations to run" if todo else "nothing left to do")
    if todo:
        summary = pipeline.run(train, mode="process_pool", workers=2)
        print(
            f"{summary.succeeded} succeeded, {summary.failed} failed, "
            f"{summary.skipped} skipped in {summary.duration_sec:.1f} s"
        )
    print()
    print(table(root))
    print(f"\nResults: {os.path.abspath(root)}  (a folder per run: config, metrics, curve, log)")


if __name__ == "__main__":
    main()
