"""`python -m counterbench`."""

from counterbench.cli import main

if __name__ == "__main__":
    main()
