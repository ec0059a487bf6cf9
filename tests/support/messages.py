"""Check of the messages on the command line."""


def one_line(err):
    """Check that standard error holds one line, and return it."""
    assert err.count("\n") == 1 and err.endswith("\n") and "Traceback" not in err, err
    return err.rstrip("\n")
