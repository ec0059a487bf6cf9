"""What every message of the command line is."""


def one_line(err):
    """The one line that was printed to standard error."""
    assert err.count("\n") == 1 and err.endswith("\n") and "Traceback" not in err, err
    return err.rstrip("\n")
