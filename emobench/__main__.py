"""``python -m emobench`` is ``emobench``."""

from emobench.cli import main

if __name__ == "__main__":
    main(prog_name="emobench")
