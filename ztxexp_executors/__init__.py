"""The built-in executors, each file a plugin of its own: sequential, process_pool, joblib, dynamic."""
