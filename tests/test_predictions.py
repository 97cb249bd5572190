"""The CSV of all results, against rows written by hand."""
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tools import tables
from tools.core import predictions, run_folder

CSV = Path('runs/demo/results.csv')
# What is written by hand: the test images of two folds, predictions of them, and the CSV that they
# must make.
IMAGES = {0: ['S01,001,7,happy', 'S01,001,8,happy', 'S01,002,5,anger'], 3: ['S04,001,9,anger']}
PREDICTIONS = {0: ['S01,001,7,happy,happy,0.25,0.75',
                   'S01,001,8,happy,anger,0.6,0.4',
                   'S01,002,5,anger,anger,0.5,0.5'],
               3: ['S04,001,9,anger,anger,0.9,0.1']}
COLUMNS = 'subject,sequence,frame,truth,predicted,anger,happy'
HEADER = f'variant,fold,seed,iterations,{COLUMNS}'
ROWS = ['cnn,0,1,50,S01,001,7,happy,happy,0.25,0.75',
        'cnn,0,1,50,S01,001,8,happy,anger,0.6,0.4',
        'cnn,0,1,50,S01,002,5,anger,anger,0.5,0.5',
        's1r1,3,2,50,S04,001,9,anger,anger,0.9,0.1']


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A working directory with a data set as far as results look at it, and two tested runs."""
    monkeypatch.chdir(tmp_path)
    for fold, images in IMAGES.items():
        Path(f'data/demo/fold{fold}').mkdir(parents=True)
        lines = []
        for i, image in enumerate(images):
            names, expression = image.rsplit(',', 1)
            lines.append(f'{i}_{image.replace(",", "_")},{names},0,{expression},x.png')
        write(f'data/demo/fold{fold}/test.csv', 'key,subject,sequence,frame,label,expression,path',
              *lines)
    write('data/demo/classes.txt', 'anger', 'happy')
    run_of('cnn', 0, 1)
    run_of('s1r1', 3, 2)


def write(path, *lines):
    Path(path).write_text(''.join(f'{line}\n' for line in lines))


def run_of(variant, fold, seed, iterations=50, reached=50, dataset='demo'):
    """The folder of a run that was tested at iteration `reached`."""
    folder = run_folder.folder_of(dataset, variant, fold, seed)
    folder.mkdir(parents=True)
    run = dict(dataset=dataset, variant=variant, fold=fold, seed=seed, classes=['anger', 'happy'])
    (folder / 'run.json').write_text(json.dumps({**run, 'iterations': iterations}))
    (folder / 'result.json').write_text(json.dumps({**run, 'iterations': reached}))
    write(folder / 'predictions.csv', COLUMNS, *PREDICTIONS[fold])
    return folder


def refusal(function, *arguments):
    with pytest.raises(SystemExit) as error:
        function(*arguments)
    sentence = str(error.value)
    assert '\n' not in sentence and sentence.endswith(('.', '?'))
    return sentence


def test_collected_rows_are_those_of_the_runs():
    assert predictions.collect('demo') == []
    assert CSV.read_text().splitlines() == [HEADER, *ROWS]


def test_read_gives_arrays():
    write(CSV, HEADER, *ROWS)
    found = predictions.read_results(CSV)
    assert found['classes'] == ['anger', 'happy']
    assert found['scores'].tolist() == [[.25, .75], [.6, .4], [.5, .5], [.9, .1]]
    assert found['variant'].tolist() == ['cnn', 'cnn', 'cnn', 's1r1']
    assert found['subject'].tolist() == ['S01', 'S01', 'S01', 'S04']
    assert found['fold'].tolist() == [0, 0, 0, 3] and found['seed'].tolist() == [1, 1, 1, 2]
    assert found['iterations'].tolist() == [50] * 4
    assert found['sequence'].tolist() == ['001', '001', '002', '001']
    assert found['frame'].tolist() == ['7', '8', '5', '9']
    assert found['truth'].tolist() == ['happy', 'happy', 'anger', 'anger']
    assert found['predicted'].tolist() == ['happy', 'anger', 'anger', 'anger']
    assert all(
        np.issubdtype(found[name].dtype, np.integer) for name in ('fold', 'seed', 'iterations'))


def test_only_complete_runs_are_collected():
    run_of('cnn', 0, 2, reached=20)
    for seed, name in enumerate(['result.json', 'run.json', 'predictions.csv'], 3):
        (run_of('cnn', 3, seed) / name).unlink()
    # its run.json is of another folder
    run_of('cnn', 3, 6).rename('runs/demo/cnn/fold3_seed6.kept')
    write('runs/demo/cnn/fold3_seed9.txt', 'what a run says')
    (run_of('cnn', 3, 7) / 'result.json').write_text('{"iterations"')
    # it went on from an earlier snapshot, and stopped
    gone = run_of('cnn', 3, 8) / 'run.json'
    gone.write_text(json.dumps({**json.loads(gone.read_text()), 'averaged_at': None}))
    assert predictions.collect('demo') == [] and CSV.read_text().splitlines() == [HEADER, *ROWS]


@pytest.mark.parametrize('old, new, said', [
    ('S04,001,9', 'S04,001,8', 'line 2: image S04 001 8 anger is not in data/demo/fold3/test.csv'),
    ('0.9,0.1', '0.9', 'line 2: 7 values are expected'),
    ('anger,happy\n', 'anger,joy\n', 'line 1: the columns are')])
def test_damaged_predictions_are_left_out_and_said(old, new, said):
    path = run_folder.folder_of('demo', 's1r1', 3, 2) / 'predictions.csv'
    path.write_text(path.read_text().replace(old, new))
    sentence, = predictions.collect('demo')
    assert f'{path}, {said}' in sentence and 'Left out of runs/demo/results.csv.' in sentence
    assert CSV.read_text().splitlines() == [HEADER, *ROWS[:3]]


def test_predictions_of_other_classes_are_left_out():
    folder = run_of('cnn', 3, 8)
    for name in 'run.json', 'predictions.csv':
        (folder / name).write_text((folder / name).read_text().replace('happy', 'joy'))
    assert 'line 1: the columns are' in predictions.collect('demo')[0]
    assert CSV.read_text().splitlines() == [HEADER, *ROWS]


def test_predictions_that_lack_an_image_are_left_out():
    path = run_folder.folder_of('demo', 'cnn', 0, 1) / 'predictions.csv'
    path.write_text(''.join(path.read_text().splitlines(True)[:-1]))
    sentence, = predictions.collect('demo')
    assert f'{path} lacks 1 of the 3 images in data/demo/fold0/test.csv' in sentence
    assert CSV.read_text().splitlines() == [HEADER, ROWS[3]]


@pytest.mark.parametrize(
    'line, old, new, said',
    [(1, 'happy', 'happy,sadness', 'line 1: the columns are'),
     (1, 'fold,', '', 'line 1: the columns are'),
     (1, 'anger,happy', 'happy,anger',
      'frame,truth,predicted,anger,happy: is it of another data set?'),
     (3, ',0.4', '', 'line 3: 11 values are expected'),
     (3, '0.4', '0.4,0', 'line 3: 11 values are expected'),
     (3, '0.4', 'x', 'line 3: a score is no number'),
     (3, '0.4', 'nan', 'line 3: anger was predicted'),
     (3, '0.4', '0.7', 'line 3: anger was predicted, its score 0.6 is not the highest'),
     (3, 'happy,anger', 'joy,anger', "line 3: truth 'joy' is none of anger, happy"),
     (3, 'happy,anger', 'happy,joy', "line 3: predicted 'joy' is none of anger, happy"),
     (3, 'cnn,0', 'cnn,zero', "line 3: fold must be a whole number, not 'zero'"),
     (3, ',50,', ',-50,', 'line 3: iterations must be a whole number'),
     (3, 'S01', 'S77', 'line 3: image S77 001 8 happy is not in data/demo/fold0/test.csv'),
     (3, 'happy,anger', 'anger,anger', 'line 3: image S01 001 8 anger is not in'),
     (3, ',8,', ',7,', 'line 3: image S01 001 7 happy is there twice'),
     (5, 's1r1,3', 's1r1,0', 'line 5: image S04 001 9 anger is not in data/demo/fold0/test.csv'),
     (5, 's1r1,3', 's1r1,7', 'which cannot be read'),
     (4, ROWS[2], '', 'cnn, fold 0, seed 1 lacks 1 of the 3 images')])
def test_refusals(line, old, new, said):
    lines = [HEADER, *ROWS]
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new, 1)
    write(CSV, *(text for text in lines if text))
    sentence = refusal(predictions.read_results, CSV)
    assert said in sentence and sentence.startswith('runs/demo/results.csv')


def test_names_that_a_spreadsheet_would_run_and_those_of_columns_are_read_back_exactly():
    """A class named as a column, one that begins as a formula does, and a person with both."""
    texts = [Path('data/demo/classes.txt'), *Path('.').glob('**/run.json')]
    for path in [*texts, *Path('.').glob('**/*.csv')]:
        text = path.read_text().replace('anger', '=1+1')
        if path.name == 'predictions.csv':
            text = text.replace('=1+1', "'=1+1").replace('S04', "'@S04")
        text = text.replace('happy' if path in texts else ',happy',
                            'truth' if path in texts else ',truth')
        path.write_text(text.replace('S04', '@S04').replace("'@@", "'@"))
    assert predictions.collect('demo') == []
    found = predictions.read_results(CSV)
    assert found['classes'] == ['=1+1', 'truth']
    assert found['truth'].tolist() == ['truth', 'truth', '=1+1', '=1+1']
    assert found['predicted'].tolist() == ['truth', '=1+1', '=1+1', '=1+1']
    assert found['scores'].tolist() == [[.25, .75], [.6, .4], [.5, .5], [.9, .1]]
    assert found['subject'].tolist()[-1] == '@S04'
    lines = CSV.read_text().splitlines()
    assert lines[0].endswith("predicted,'=1+1,truth") and "'@S04,001,9,'=1+1,'=1+1" in lines[-1]


def test_a_run_of_data_that_is_gone_is_left_out_and_said():
    path = run_folder.folder_of('demo', 's1r1', 3, 2) / 'run.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'data': 'of before'}))
    sentence, = predictions.collect('demo')
    assert 'Left out of runs/demo/results.csv.' in sentence
    assert CSV.read_text().splitlines() == [HEADER, *ROWS[:3]]


def test_runs_of_data_that_is_not_here_are_all_collected_and_none_of_them_tabled():
    for variant, fold, seed in (('cnn', 0, 1), ('s1r1', 3, 2)):
        path = run_folder.folder_of('demo', variant, fold, seed) / 'run.json'
        path.write_text(json.dumps({**json.loads(path.read_text()), 'data': 'of before'}))
    Path('data').rename('elsewhere')
    assert predictions.collect('demo') == []
    assert CSV.read_text().splitlines() == [HEADER, *ROWS]
    assert 'cannot be read' in refusal(tables.read_rows, 'demo')


def test_a_result_of_many_brackets_is_no_complete_run():
    path = run_folder.folder_of('demo', 's1r1', 3, 2) / 'result.json'
    path.write_text('[' * 100000)
    assert predictions.collect('demo') == []
    assert CSV.read_text().splitlines() == [HEADER, *ROWS[:3]]


def test_without_results():
    assert 'results.csv is missing' in refusal(predictions.read_results, CSV)
    write(CSV, HEADER)
    assert 'holds no prediction' in refusal(predictions.read_results, CSV)
    CSV.write_bytes(b'\xff\xfe\x00')
    assert 'cannot be read' in refusal(predictions.read_results, CSV)
    assert predictions.collect('other') == [] and not Path('runs/other/results.csv').exists()


def test_results_can_be_read_where_the_data_set_is_not():
    write(CSV, HEADER, *ROWS)
    Path('data').rename('elsewhere')
    found = predictions.read_results(CSV)
    assert found['classes'] == ['anger', 'happy'] and len(found['truth']) == 4
    CSV.unlink()
    assert predictions.collect('demo') == [] and CSV.read_text().splitlines() == [HEADER, *ROWS]


def test_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['results'])
    predictions.main()
    assert capsys.readouterr().out == 'runs/demo/results.csv: 4 predictions of 2 runs\n'
