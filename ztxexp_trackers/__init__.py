"""The built-in trackers, each a plugin: jsonl, mlflow, wandb, tensorboard."""
