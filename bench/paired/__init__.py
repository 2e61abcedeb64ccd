"""Paired timings of compiled programs and their peers in PyTorch; `compare.py` is the command."""
