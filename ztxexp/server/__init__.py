"""The same page, live: ``ztxexp ui``."""
