"""What a machine and a results root are like: ``ztxexp doctor``."""
