"""A function that knows little of ztxexp, swept from a shell over the handwritten digits.

    ztxexp run examples/plain_digits.py:train lr=1e-3,1e-2 hidden=16,64 seed=0..2 -w 2

`ztxexp.log` records a step of a curve; called outside of a run it does nothing.
"""

import time

import ztxexp


def train(lr: float, hidden: int = 32, seed: int = 0, epochs: int = 20, pause: float = 0.1):
    """Train a small network; what is returned are the metrics."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier

    images, labels = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        images / 16.0, labels, test_size=0.3, random_state=0, stratify=labels
    )
    model = MLPClassifier((hidden,), learning_rate_init=lr, random_state=seed)
    for epoch in range(1, epochs + 1):
        model.partial_fit(x_train, y_train, classes=range(10))
        accuracy = model.score(x_test, y_test)
        ztxexp.log(epoch, loss=model.loss_, accuracy=accuracy)
        time.sleep(pause)
    return {"accuracy": accuracy, "loss": model.loss_}
