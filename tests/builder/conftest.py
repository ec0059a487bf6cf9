"""What the tests of the builder share."""

import pytest

from vae_builder.cli import run


@pytest.fixture
def call(capsys):
    """Runs a command; gives its exit status, standard output and standard error."""

    def call(*words):
        capsys.readouterr()
        status = run([str(word) for word in words])
        return status, *capsys.readouterr()

    return call
