"""The benchmarks: `python -m bench --help` says what there is."""
