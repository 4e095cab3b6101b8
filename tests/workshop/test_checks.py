"""What holds of the checks of every lesson from 03 on: each planted mistake gets its own reason and its hint, right
answers pass however they are written, and dots are open. The tables stand in the lessons' own files."""

import re

import pytest
import test_checks_03
import test_checks_04
import test_checks_05
import test_checks_06
import test_checks_07
import test_checks_08
import test_checks_09
import test_checks_10
import test_checks_11
import test_checks_12

from workshop.checks.engine import Checker

LESSONS = (
    test_checks_03,
    test_checks_04,
    test_checks_05,
    test_checks_06,
    test_checks_07,
    test_checks_08,
    test_checks_09,
    test_checks_10,
    test_checks_11,
    test_checks_12,
)
TABLES = [lesson.TABLE for lesson in LESSONS]
PLANTED = [
    pytest.param(table, *(*row, None)[:4], id=f"{row[0]}-{i}")
    for table in TABLES
    for i, row in enumerate(table.planted)
]
RIGHT = [pytest.param(table, *row, id=f"{row[0]}-{i}") for table in TABLES for i, row in enumerate(table.right)]
EVERY = [pytest.param(table, number, id=number) for table in TABLES for number in table.exercises]
TESTED_HERE = [row for row in EVERY if row.id not in row.values[0].elsewhere]


def checker(table):
    return Checker(lambda lesson: table.exercises, None)


@pytest.mark.parametrize("table, number, answer, part, hint", PLANTED)
def test_a_wrong_answer_gets_its_reason(table, number, answer, part, hint):
    check = checker(table)
    answer = table.answer(number, answer)
    for _ in range(table.draws):
        verdict = check(number, answer)
        assert verdict.state == "wrong", verdict.text
        assert part in verdict.reason, verdict.text
        assert hint is None or verdict.hint == hint, verdict.text
        assert table.numbers or not re.search(r"\d\.\d", verdict.reason), verdict.text
        assert not any(other in verdict.reason for other in table.others(number, part)), verdict.text


@pytest.mark.parametrize("table, number, answer", RIGHT)
def test_a_right_answer_is_right_however_it_is_written(table, number, answer):
    check = checker(table)
    answer = table.answer(number, answer)
    for _ in range(2):  # functions are tried on fresh random inputs
        verdict = check(number, answer)
        assert verdict, verdict.text


@pytest.mark.parametrize("table, number", TESTED_HERE)
def test_each_exercise_has_planted_mistakes_and_right_answers(table, number):
    assert sum(row[0] == number for row in table.planted) >= 4
    assert sum(row[0] == number for row in table.right) >= 2


@pytest.mark.parametrize("table, number", EVERY)
def test_dots_are_open(table, number):
    check = checker(table)
    for answer in (..., table.dots.get(number, lambda *arguments: ...)):
        assert check(number, answer).state == "open"
