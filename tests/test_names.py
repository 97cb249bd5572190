"""One person under two spellings is refused; one expression under two is one class."""
import itertools
import re

import pytest

from data_prep import names


@pytest.mark.parametrize('one, other', [
    ('1', '001'), ('P001', 'p001'), ('P1', 'P01'), ('1', '1.0'), ('01', '1.0'), ('7', '7,0'),
    ('Zo\u00eb', 'Zoe\u0308'), ('ANNA', 'Anna'), ('\uff11\uff12', '12'), ('S 1', 'S1'),
    ('stra\u00dfe', 'STRASSE'), ('P001-02', 'P1-2'), ('10', '0010'), ('s10', 'S010'),
    ("'001", '001'), ('\u20191', '1'), ('\u0661\u0662', '12'), ('1E+00', '1'), ('1.2E+03', '1200'),
    ('P\u0967', 'P1'), ("'P1", 'p01'), ('1,5e+1', '15'),
])
def test_two_spellings_are_refused_both_named(one, other):
    with pytest.raises(SystemExit) as error:
        names.check_spellings(['5', one, 'x', other], 'subjects', 'RAW')
    sentence = str(error.value)
    assert sentence.startswith('RAW: the subjects ') and '\n' not in sentence
    assert ascii(one) in sentence and ascii(other) in sentence


def test_every_pair_is_counted():
    with pytest.raises(SystemExit, match=re.escape("'001' and '1' differ only")) as error:
        names.check_spellings(['1', '2', '3', '001', '002', '03'], 'subjects', 'RAW')
    assert '(and 2 more are there so)' in str(error.value)


def test_other_people_stay_other_people():
    people = ['1', '2', '10', '11', '100', '101', '1.5', '15', 'P1', 'Q1', '1P', 'Anna', 'Anne',
              'Zoe', 'Zo\u00eb', '0', 'a', 'P1-2', 'P12', 'P1_2', '1.10', '1.1', '1E5', 'e1', "O'1"]
    for one, other in itertools.combinations(people, 2):
        names.check_spellings([one, other], 'subjects', 'RAW')
    names.check_spellings([*people, *people], 'subjects', 'RAW')


@pytest.mark.parametrize('written, name', [
    ('happy', 'happy'), ('Happy', 'happy'), ('HAPPINESS', 'happy'), ('HA', 'happy'),
    ('NE', 'neutral'), ('Neutral', 'neutral'), ('sad', 'sadness'), ('Angry', 'anger'),
    ('afraid', 'fear'), ('AF', 'fear'), ('suprise', 'surprise'), ('disgusted', 'disgust'),
    # what is not known is not guessed at
    ('joy', 'joy'), ('3', '3'), ('6', '6'), ('Unknown', 'unknown'), ('neutral?', 'neutral?'),
])
def test_expressions(written, name):
    assert names.expression(written) == name
