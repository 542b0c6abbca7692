"""Values of configurations and metrics: strict JSON, copies, identity."""
