"""The command `iodine`, and `python -m iodine`: the same as `python -m iodine.main`."""

from iodine.startup import import_tensorflow


def main():
    """Runs the command line."""
    import_tensorflow()
    from iodine.main import ex

    ex.run_commandline()


if __name__ == "__main__":
    main()
