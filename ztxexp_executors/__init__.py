"""The built-in executors, each file a plugin: sequential, process_pool, joblib, dynamic."""
