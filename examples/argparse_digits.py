"""A script that knows nothing of ztxexp, swept as it is over the handwritten digits.

ztxexp run lr=1e-3,1e-2 hidden=16,64 seed=0..2 -w 2 \
    -- python examples/argparse_digits.py --lr {lr} --hidden {hidden} --seed {seed}
"""

import argparse
import time


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--pause", type=float, default=0.1)
    args = parser.parse_args()

    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier

    images, labels = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        images / 16.0, labels, test_size=0.3, random_state=0, stratify=labels
    )
    model = MLPClassifier((args.hidden,), learning_rate_init=args.lr, random_state=args.seed)
    for _ in range(args.epochs):
        model.partial_fit(x_train, y_train, classes=range(10))
        print(f"loss: {model.loss_:.4f}")
        print(f"accuracy: {model.score(x_test, y_test):.4f}")
        time.sleep(args.pause)


if __name__ == "__main__":
    main()
