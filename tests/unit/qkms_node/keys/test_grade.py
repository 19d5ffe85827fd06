"""Grades: numbers of the protocol, and which grade may serve where another is asked for."""

import pytest

from qkms.v1 import common_pb2
from qkms_node.keys.grade import Grade, satisfies


def test_numbers_are_those_of_the_protocol() -> None:
    assert {grade.name: grade.value for grade in Grade} == {
        name: number for name, number in common_pb2.Grade.items() if number
    }


@pytest.mark.parametrize(
    ("actual", "serves"),
    [
        (Grade.PQC, {Grade.PQC}),
        (Grade.QKD, {Grade.QKD}),
        (Grade.QKD_PQC, {Grade.PQC, Grade.QKD, Grade.QKD_PQC}),
        (Grade.IMPORTED, {Grade.IMPORTED}),
    ],
)
def test_a_grade_serves_what_it_contains(actual: Grade, serves: set[Grade]) -> None:
    assert {required for required in Grade if satisfies(actual, required)} == serves
    assert satisfies(actual, None)
