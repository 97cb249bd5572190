"""Linear probes: on codes of which is known what they hold, and of networks, from the command to
the table."""
import csv
from pathlib import Path

import numpy as np
import places
import pytest
import test_figures
from test_figures import built, place  # noqa: F401

from tools import probe

RANDOM = np.random.RandomState(5)


def people(n=8, sequences=4, frames=2):
    """Rows of n people with so many sequences each, and the label of each row: its sequence."""
    rows = [dict(subject=f'S{person}', sequence=f'{sequence}', frame=f'{frame}')
            for person in range(n) for sequence in range(sequences) for frame in range(frames)]
    return rows, np.array([int(row['sequence']) for row in rows])


def noisy(columns):
    return columns + 0.05 * RANDOM.randn(*columns.shape)


def test_a_code_of_the_expression_holds_no_person_and_one_of_the_person_no_expression():
    rows, labels = people()
    who = np.array([int(row['subject'][1:]) for row in rows])
    of_expression, of_person = noisy(np.eye(4)[labels]), noisy(np.eye(8)[who])
    found = probe.measure(of_expression, rows, labels)
    assert found['expression'].mean() == 1 and found['person'].mean() < 0.3
    found = probe.measure(of_person, rows, labels)
    assert found['person'].mean() == 1 and found['expression'].mean() < 0.4
    found = probe.measure(np.hstack([of_expression, of_person]), rows, labels)
    assert found['person'].mean() == found['expression'].mean() == 1


def test_nobody_is_asked_for_what_was_shown():
    """Each person has a code and a label of their own: learned by heart, and of no use for
    others."""
    codes, groups = np.repeat(np.eye(10), 5, axis=0), np.repeat(np.arange(10), 5)
    labels = np.repeat([0, 1], 5).repeat(5)
    model = probe.probe(noisy(np.hstack([codes, codes])), labels, np.tile(np.arange(5), 10))
    assert model.mean() == 1  # where each group has all people
    assert probe.probe(noisy(codes), labels, groups).mean() < 0.75


def test_of_one_label_or_one_group_nothing_is_asked():
    vectors = RANDOM.randn(6, 3)
    assert probe.probe(vectors, [1] * 6, [0, 1] * 3) is None
    assert probe.probe(vectors, [0, 1] * 3, ['S1'] * 6) is None
    # where one label alone was shown, it is what is told
    assert probe.probe(vectors, [0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1]).tolist() == [False] * 6


def test_sequences_take_turns_within_a_person():
    rows = [dict(subject=subject, sequence=sequence) for subject, sequence in
            (('B', '9'), ('A', '2'), ('A', '1'), ('A', '2'), ('B', '7'), ('C', '5'))]
    assert probe.turns(rows).tolist() == [1, 1, 0, 1, 0, 0]


def test_a_person_with_one_sequence_is_not_asked_for():
    rows, labels = people(3)
    rows += [dict(subject='S9', sequence='0', frame='0')]
    found = probe.measure(RANDOM.randn(len(rows), 4), rows, [*labels, 0])
    assert np.isnan(found['person']).tolist() == [False] * 24 + [True]
    assert not np.isnan(found['expression']).any()


def test_the_share_of_the_most_frequent():
    assert probe.frequent(['a', 'b', 'a', 'c']) == 0.5


def run(monkeypatch, *words):
    """What the command says where it ends in a refusal, else None."""
    return places.refusal(monkeypatch, probe.main, *words)


def test_the_codes_of_tested_networks_are_probed(place, monkeypatch, capsys):  # noqa: F811
    for variant in 'degan', 'cnn', 'disentangled':
        test_figures.add_run(variant)
    test_figures.add_run('s1r1', tested=False)
    assert run(monkeypatch) is None
    rows = list(csv.DictReader(Path('runs/demo/probes.csv').read_text().splitlines()))
    assert [(row['variant'], row['code']) for row in rows] == [
        ('pixels', ''), ('cnn', 'FC 384'), ('disentangled', 'expression code'),
        ('disentangled', 'rest code'), ('degan', 'expression code'),
        ('degan', "encoder's features")]
    for row in rows:
        assert 0 <= float(row['expression_low']) <= float(row['expression']) <= 100
        assert (row['people'], row['folds'], row['seeds']) == ('2', '1', '1')
    text = Path('runs/demo/probes.md').read_text()
    assert text in capsys.readouterr().out and 'Who sees nothing has' in text


@pytest.mark.parametrize('words, said', [
    (['--dataset', 'fer2013'], 'fer2013 does not say who shows which expression'),
    (['--dataset', 'webface'], 'webface does not say who shows which expression'),
    ([], 'No tested network in runs/demo on these folds'),
    (['--folds', '11'], 'FOLDS must be a whole number')])
def test_what_cannot_be_probed_is_a_sentence(place, monkeypatch, words, said):  # noqa: F811
    assert said in run(monkeypatch, *words)
    assert not Path('runs/demo/probes.md').exists()
