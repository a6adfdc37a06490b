import json

import pytest

from mvsep_async.errors import InvalidRequestError, JobFailedError
from mvsep_async.journal.error_json import error_from_json, error_to_json


def test_an_error_class_of_the_caller_becomes_its_nearest_base_class() -> None:
    class Mine(JobFailedError):
        pass

    found = error_from_json(error_to_json(Mine("no", status=400, job="j")))
    assert type(found) is JobFailedError
    assert vars(found) == {"message": "no", "status": 400, "job": "j", "hash": None}


def test_a_class_with_the_name_of_one_of_ours_is_not_mistaken_for_it() -> None:
    namesake = type("JournalError", (InvalidRequestError,), {})
    assert type(error_from_json(error_to_json(namesake("no")))) is InvalidRequestError


def test_an_error_is_json() -> None:
    error = InvalidRequestError("no", fields={"a": ["b"]}, candidates=["c"])
    found = error_from_json(json.loads(json.dumps(error_to_json(error))))
    assert vars(found) == vars(error)
    assert str(found) == "no"


@pytest.mark.parametrize("name", ["SystemExit", "Sequence", "annotations", ""])
def test_only_our_errors_are_made(name: str) -> None:
    with pytest.raises(KeyError):
        error_from_json({"type": name, "message": "x"})
