"""Figures for papers (matplotlib): curves, bars, scatter, effects, parallel, ranks."""
