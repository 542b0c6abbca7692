"""The built-in trackers, each file a plugin of its own: jsonl, mlflow, wandb."""
