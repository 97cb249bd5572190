"""Predictions of another program: what the tables make of them, and what is not taken."""
import csv
import shutil
from pathlib import Path

import pytest
from test_baselines import build

from tools import tables, theirs
from tools.core import predictions, run_folder

CLASSES = ['anger', 'happy', 'surprise']


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Two folds of 12 test images each, of other people."""
    monkeypatch.chdir(tmp_path)
    build(people=4)
    shutil.move('data', 'other')
    build(people=7)
    shutil.move('other/demo/fold3', 'data/demo/fold4')
    return tmp_path


def images(fold):
    with open(f'data/demo/fold{fold}/test.csv', newline='') as file:
        return [(row['subject'], row['sequence'], row['frame'], row['expression'])
                for row in csv.DictReader(file)]


def write(rows, header='subject,sequence,frame,predicted'):
    with open('theirs.csv', 'w', newline='') as file:
        file.write(f'{header}\n')
        csv.writer(file).writerows(rows)


def run(*words):
    theirs.main(['--name', 'mynet', *words, 'theirs.csv'])


def test_they_stand_in_the_tables_as_ours_do(place, capsys):
    told = [(*image, truth) for *image, truth in images(3)]
    told[2] = (*told[2][:3], CLASSES[CLASSES.index(told[2][3]) - 1])  # one of twelve is wrong
    told += [(*image, 'Happiness') for *image, _ in images(4)]  # a known spelling; a third is right
    write(reversed(told))
    run('--seed', '2')
    assert capsys.readouterr().out.splitlines() == [
        'mynet, fold 3: accuracy 91.7% on 12 images', 'mynet, fold 4: accuracy 33.3% on 12 images']
    folder = Path('runs/demo/mynet/fold4_seed2')
    assert run_folder.read_result(folder)['recall'] == {'anger': 0, 'happy': 1, 'surprise': 0}
    assert {row['predicted'] for row in predictions.read_predictions(
        folder / 'predictions.csv', run_folder.read_settings(folder), CLASSES)} == {'happy'}

    (accuracy, *_) = tables.make_tables('demo')
    (line, ) = [line for line in accuracy.rows if line['variant'] == 'mynet']
    assert line['over images'] == pytest.approx(100 * 15 / 24) and line['seeds'] == '2'
    # The same again, corrected: it takes the place of the first.
    write((*image, truth) for fold in (3, 4) for *image, truth in images(fold))
    run('--seed', '2')
    assert capsys.readouterr().out.count('accuracy 100.0%') == 2


def test_folds_of_an_earlier_file_are_not_averaged_with_it(place):
    write((*image, truth) for fold in (3, 4) for *image, truth in images(fold))
    run()
    write((*image, 'happy') for *image, _ in images(4))
    with pytest.raises(SystemExit, match='runs/demo/mynet/fold3_seed1 is of an earlier file, and'):
        run()
    assert run_folder.read_result('runs/demo/mynet/fold4_seed1')['accuracy'] == 1
    shutil.rmtree('runs/demo/mynet/fold3_seed1')
    run()


def test_some_folds_alone(place):
    write((*image, truth) for *image, truth in images(3))
    run()
    assert [path.name for path in Path('runs/demo/mynet').iterdir()] == ['fold3_seed1']


@pytest.mark.parametrize('change, sentence', [
    (lambda told: told[:-1], 'theirs.csv has 11 of the 12 images of fold 3, and not S0'),
    (lambda told: [*told, told[0]], 'theirs.csv, line 14: image S0'),
    (lambda told: [*told, ('S9', '1', '1', 'happy')],
     'theirs.csv, line 14: image S9 1 1 is in no test.csv of data/demo.'),
    (lambda told: [*told[1:], (*told[0][:3], 'bored')],
     "theirs.csv, line 13: 'bored' is none of anger, happy, surprise."),
    (lambda told: [*told[1:], told[0][:3]], "theirs.csv, line 13: '' is none of"),
])
def test_what_is_not_a_fold_of_this_set_is_refused_and_nothing_written(place, change, sentence):
    write(change(images(3)))
    with pytest.raises(SystemExit) as refused:
        run()
    assert str(refused.value).startswith(sentence) and not Path('runs').exists()


def test_other_refusals(place):
    write(images(3), header='subject,frame,predicted')
    with pytest.raises(SystemExit, match='theirs.csv, line 1: expected the columns subject,'):
        run()
    for name in 'cnn', 'HOG', 'figures', 'GCNet S1R1', '../x', 'a b', '', '-x':
        with pytest.raises(SystemExit, match='--name .* cannot be taken'):
            theirs.main([f'--name={name}', 'theirs.csv'])
    with pytest.raises(SystemExit, match='none.csv cannot be read as predictions'):
        theirs.main(['--name', 'mynet', 'none.csv'])
