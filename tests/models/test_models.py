import subprocess
import sys

import pytest

import mvsep_async.models as models


@pytest.mark.parametrize("name", models.__all__)
def test_every_public_name_is_exported(name: str) -> None:
    assert getattr(models, name).__name__ == name
    assert name in dir(models)


def test_no_other_name_is_exported() -> None:
    with pytest.raises(AttributeError, match="Fish"):
        models.Fish  # noqa: B018


def test_models_are_imported_on_first_use() -> None:
    code = "import sys, mvsep_async.models; print(*(m for m in sys.modules if m.startswith('mvsep_async.models.')))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split() == []
