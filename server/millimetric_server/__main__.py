"""The `millimetric` command; `python -m millimetric_server` is the same."""

from millimetric_server.cli import main

if __name__ == "__main__":
    main()
