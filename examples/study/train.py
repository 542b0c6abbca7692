"""A study as for a paper: three models on two data sets that ship with scikit-learn."""

from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import ztxexp

LOADERS = {"digits": load_digits, "cancer": load_breast_cancer}


def train(dataset: str, model: str, lr: float, seed: int, epochs: int = 12) -> dict[str, float]:
    """Train one model; the loss and the accuracy of each epoch are logged."""
    x, y = LOADERS[dataset](return_X_y=True)
    # The seed is that of the split and of the model, so all models see the same five splits.
    x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=seed, stratify=y)
    scaler = StandardScaler().fit(x_train)
    x_train, x_test = scaler.transform(x_train), scaler.transform(x_test)
    for epoch, probabilities in epochs_of(model, lr, seed, epochs, x_train, y_train, x_test):
        accuracy = float((probabilities.argmax(axis=1) == y_test).mean())
        loss = log_loss(y_test, probabilities)
        ztxexp.log(epoch, loss=loss, accuracy=accuracy)
        if epoch > 1 and loss > 2.3:  # that of a guess among ten classes
            raise FloatingPointError(f"diverged: loss {loss:.2f}")
    return {"accuracy": accuracy, "loss": loss}


def epochs_of(model, lr, seed, epochs, x_train, y_train, x_test):
    """Yield the number of each epoch and what the model says of the test data after it."""
    if model == "boosting":
        trees = GradientBoostingClassifier(
            learning_rate=lr, n_estimators=epochs, max_depth=2, random_state=seed
        ).fit(x_train, y_train)
        yield from enumerate(trees.staged_predict_proba(x_test), start=1)
        return
    if model == "logistic":
        classifier = SGDClassifier(
            loss="log_loss", learning_rate="constant", eta0=lr, random_state=seed
        )
    else:
        classifier = MLPClassifier((32,), solver="sgd", learning_rate_init=lr, random_state=seed)
    for epoch in range(1, epochs + 1):
        classifier.partial_fit(x_train, y_train, classes=sorted(set(y_train)))
        yield epoch, classifier.predict_proba(x_test)
