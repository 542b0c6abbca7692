"""The built-in trackers, each file a plugin: jsonl, mlflow, wandb."""
