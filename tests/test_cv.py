"""Cross-validation: many runs by stand-ins for training and test, some by the real ones."""
import csv
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import places
import pytest

from data_prep import pair_lmdb
from tools import cv
from tools.core import arguments, predictions, request, run_folder, run_prototxt

HERE = Path(__file__).resolve().parent
CLASSES = ['anger', 'happy', 'surprise']
CSV = Path('runs/demo/results.csv')
# Stands in for a training and a test: writes what they write, the right class of each image with
# 0.7. What it does for a fold stands in the variable FOLD<F>: fail, killed, wait (until a signal,
# as training does).
STAND_IN = '''
import csv, json, os, pathlib, signal, sys, time
folder, run = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
does = os.environ.get(f'FOLD{run["fold"]}')
folder.mkdir(parents=True, exist_ok=True)
(folder / 'run.json').write_text(json.dumps(run))
(folder / 'metrics.csv').write_text('iteration,seconds\\n2,0.5\\n')
with open('done.txt', 'a') as file:
    print(os.getpid(), folder, file=file)
if does == 'wait':
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    (folder / 'waiting').touch()
    while not stopped:
        time.sleep(0.05)
    (folder / 'snapshot').touch()
    sys.exit(130)
if does == 'killed':
    os.kill(os.getpid(), 9)
if does == 'fail':
    print('A line before.', 'The loss is nan.', '', sep=chr(10), file=sys.stderr)
    sys.exit(1)
rows = list(csv.DictReader(open(f'data/demo/fold{run["fold"]}/test.csv')))
with open(folder / 'predictions.csv', 'w') as file:
    print('subject,sequence,frame,truth,predicted', *run['classes'], sep=',', file=file)
    for row in rows:
        scores = [0.7 if name == row['expression'] else 0.15 for name in run['classes']]
        names = [row[name] for name in ('subject', 'sequence', 'frame', 'expression', 'expression')]
        print(*names, *scores, sep=',', file=file)
(folder / 'result.json').write_text(json.dumps({**run, 'n': len(rows)}))
print('done')
'''


def launch():
    """`python3 -m tools.cv` with the stand-in."""
    cv.commands = stand_in
    sys.exit(cv.main())


def stand_in(job, gpu):
    return [[sys.executable, '-c', STAND_IN, str(job.folder), json.dumps({**job.run, 'gpu': gpu})]]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A working directory with a data set of noise in three folds, four images each."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', f'{HERE.parent}:{HERE}')
    random = np.random.RandomState(0)
    Path('data/demo').mkdir(parents=True)
    Path('data/demo/classes.txt').write_text('anger\nhappy\nsurprise\n')
    for fold in range(3):
        Path(f'data/demo/fold{fold}').mkdir()
        for part in 'train', 'test':
            crops = [random.randint(0, 256, (66, 66)).astype(np.uint8) for _ in range(4)]
            rows = [
                dict(subject=f'S{fold}{part[1]}', sequence='001', frame=i,
                     expression=CLASSES[i % 3], path=i, reference=0) for i in range(4)
            ]
            pair_lmdb.write_pairs(f'data/demo/fold{fold}/{part}', rows, CLASSES, crops.__getitem__)
    with places.signals_given_back():
        yield


def run(*arguments):
    """Exit code and what is said, of cv.main with the stand-in or whatever cv.commands is."""
    try:
        return cv.main(['--variants', 'cnn', '--iters', '2', '--batch', '4', *arguments]), ''
    except SystemExit as error:
        return 1, str(error)


def folder(fold, variant='cnn', seed=1):
    return run_folder.folder_of('demo', variant, fold, seed)


def made():
    """The folders of the runs made by stand-ins, in alphabetical order; forgets them."""
    path = Path('done.txt')
    lines = path.read_text().splitlines() if path.exists() else []
    path.write_text('')
    return sorted(Path(line.split()[1]) for line in lines)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.02)


def table(path):
    with open(path, newline='') as file:
        return list(csv.reader(file))


def test_every_fold_of_every_variant_and_seed_lands_in_one_csv(monkeypatch):
    monkeypatch.setattr(cv, 'commands', stand_in)
    assert run('--variants', 'cnn s1r1', '--seeds', '1 7', '--jobs', '4') == (0, '')
    asked = [(variant, fold, seed)
             for variant in ('cnn', 's1r1')
             for fold in range(3)
             for seed in (1, 7)]
    assert made() == [run_folder.folder_of('demo', *names) for names in asked]
    lines = CSV.read_text().splitlines()
    assert lines[0] == ('variant,fold,seed,iterations,subject,sequence,frame,truth,predicted,'
                        'anger,happy,surprise')
    assert lines[1] == 'cnn,0,1,2,S0e,001,0,anger,anger,0.7,0.15,0.15' and len(lines) == 1 + 12 * 4
    assert lines[-1] == 's1r1,2,7,2,S2e,001,3,anger,anger,0.7,0.15,0.15'
    found = predictions.read_results(CSV)
    assert sorted(set(zip(found['variant'], found['fold'], found['seed']))) == asked


def test_jobs_are_done_at_once_each_on_its_gpu(monkeypatch):
    monkeypatch.setattr(cv, 'commands', stand_in)
    monkeypatch.setattr(cv.gpu, 'why_not', lambda gpu: None)
    for fold in range(3):
        monkeypatch.setenv(f'FOLD{fold}', 'wait')
    process = start('--jobs', '2')
    wait_for(lambda: len(list(Path('runs').rglob('waiting'))) == 2)
    time.sleep(1)
    assert len(list(Path('runs').rglob('waiting'))) == 2
    process.kill()
    process.communicate()
    for fold in range(3):
        monkeypatch.delenv(f'FOLD{fold}')
    assert run('--gpus', '3 5') == (0, '')
    gpus = [json.loads((folder(fold) / 'run.json').read_text())['gpu'] for fold in range(3)]
    assert sorted(gpus[:2]) == [3, 5] and gpus[2] in (3, 5)
    monkeypatch.undo()
    job = cv.Job(None, None, ['--fold', '2'], ['--batch', '4'])
    assert [' '.join(command) for command in cv.commands(job, 5)] == [
        'python3 -m tools.train --fold 2 --batch 4 --gpu 5', 'python3 -m tools.evaluate --fold 2']


def test_a_failed_or_killed_job_is_named_and_only_it_is_tried_again(monkeypatch, capsys):
    monkeypatch.setattr(cv, 'commands', stand_in)
    monkeypatch.setenv('FOLD0', 'fail')
    monkeypatch.setenv('FOLD1', 'killed')
    code, sentence = run('--jobs', '1')
    said = capsys.readouterr().err.splitlines()
    assert code == 1 and '2 of 3 runs failed' in sentence
    assert said[-2:] == [
        f'{folder(0)} failed: The loss is nan.',
        f'{folder(1)} failed: ended by signal 9, see runs/demo/cnn/fold1_seed1.txt.'
    ]
    assert 'A line before.' in Path('runs/demo/cnn/fold0_seed1.txt').read_text()
    assert {row[1] for row in table(CSV)[1:]} == {'2'}
    made()
    monkeypatch.delenv('FOLD1')
    assert run()[0] == 1 and made() == [folder(0), folder(1)]
    monkeypatch.delenv('FOLD0')
    assert run() == (0, '') and made() == [folder(0)]
    assert run() == (0, '') and made() == []
    assert '3 runs, 3 of them complete before' in capsys.readouterr().out
    assert {row[1] for row in table(CSV)[1:]} == {'0', '1', '2'}


def test_a_run_of_other_weights_is_not_complete(monkeypatch):
    monkeypatch.setattr(cv, 'commands', stand_in)
    Path('start.caffemodel').write_bytes(b'1')
    words = ['--folds', '0', '--weights', 'start.caffemodel']
    assert run(*words) == (0, '') and made() == [folder(0)]
    assert run(*words) == (0, '') and made() == []
    Path('start.caffemodel').write_bytes(b'2')
    assert run(*words) == (0, '') and made() == [folder(0)]


def test_complete_runs_of_another_network_are_told(monkeypatch, capsys):
    monkeypatch.setattr(cv, 'commands', stand_in)
    assert run('--folds', '0') == (0, '')
    asked = request.read_request('--variant cnn --fold 0 --iters 2 --batch 4'.split())[1]
    for name, text in run_prototxt.texts(folder(0), {**asked, 'begun': 0}).items():
        (folder(0) / name).write_text(text)
    assert run() == (0, '') and 'another network' not in capsys.readouterr().err
    (folder(1) / 'result.json').unlink()
    text = (folder(0) / 'net.prototxt').read_text()
    (folder(0) / 'net.prototxt').write_text(text.replace('num_output: 384', 'num_output: 100'))
    assert run() == (0, '')
    assert (f'1 of them have another network or solver than prototxt/net.py writes now, {folder(0)}'
            ' for one') in capsys.readouterr().err


@pytest.mark.parametrize(
    'harm',
    ['no result', 'half a result', 'earlier result', 'other rate', 'other data', 'no table'])
def test_what_counts_as_complete(harm, monkeypatch):
    monkeypatch.setattr(cv, 'commands', stand_in)
    assert run() == (0, '') and len(made()) == 3
    result, settings = folder(1) / 'result.json', folder(1) / 'run.json'
    if harm == 'no result':
        result.unlink()
    elif harm == 'half a result':
        result.write_text(result.read_text()[:20])
    elif harm == 'no table':
        (folder(1) / 'predictions.csv').unlink()
    else:
        path, change = {'earlier result': (result, {'iterations': 1}),
                        'other data': (settings, {'data': 'x'}),
                        'other rate': (settings, {'base_lr': 0.5})}[harm]
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert run() == (0, '') and made() == [folder(1)]


def start(*arguments):
    """cv with the stand-in, in a process of its own."""
    return subprocess.Popen([
        sys.executable, '-c', 'import test_cv; test_cv.launch()', '--variants', 'cnn', '--iters',
        '2', '--batch', '4', *arguments
    ], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding='utf-8', start_new_session=True)


def ended(process):
    try:
        # dead, but not yet buried
        return 'State:\tZ' in Path(f'/proc/{process}/status').read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_cv_is_the_end_of_its_jobs(number, monkeypatch):
    monkeypatch.setenv('FOLD1', 'wait')
    process = start('--jobs', '1')
    wait_for(lambda: (folder(1) / 'waiting').exists())
    if number == signal.SIGINT:  # as a terminal does: to the whole group
        os.killpg(process.pid, number)
    process.send_signal(number)
    error = process.communicate(timeout=60)[1]
    child = int(Path('done.txt').read_text().splitlines()[-1].split()[0])
    wait_for(lambda: ended(child))
    assert 'Traceback' not in error and made() == [folder(0), folder(1)]
    if number == signal.SIGKILL:
        assert process.returncode == -9 and not (folder(1) / 'snapshot').exists()
    else:
        assert process.returncode == 130 and (folder(1) / 'snapshot').exists()
        assert error.endswith(
            'Stopped: the same command goes on from there.\n') and 'failed' not in error
    assert {row[1] for row in table(CSV)[1:]} == {'0'}
    monkeypatch.delenv('FOLD1')
    monkeypatch.setattr(cv, 'commands', stand_in)
    assert run() == (0, '') and made() == [folder(1), folder(2)]


def test_with_the_real_training_and_test(capsys):
    """Two folds of the CNN, then one lost result, then other settings: Caffe and all."""
    assert run('--folds', '0 2', '--jobs', '2') == (0, '')
    said = capsys.readouterr().err
    assert re.search(r'fold2_seed1 is complete: .*accuracy \d+\.\d%.* on 4 images at iteration 2',
                     said)
    expected = [['cnn', str(fold), '1', '2', *row] for fold in (0, 2)
                for row in table(folder(fold) / 'predictions.csv')[1:]]
    written = table(CSV)[1:]
    assert [row[:9] for row in written] == [row[:9] for row in expected] and len(written) == 8
    assert [list(map(float, row[9:]))
            for row in written] == [list(map(float, row[9:])) for row in expected]
    found = predictions.read_results(CSV)
    for fold in 0, 2:
        right = (found['truth'] == found['predicted'])[found['fold'] == fold]
        assert right.mean() == json.loads((folder(fold) / 'result.json').read_text())['accuracy']
    before = {
        path: path.stat().st_mtime_ns
        for path in Path('runs/demo/cnn').rglob('*')
        if path.is_file()
    }
    (folder(2) / 'result.json').unlink()
    assert run('--folds', '0,2') == (0, '')  # on a snapshot that is there
    changed = {path for path in before if path.stat().st_mtime_ns != before[path]}
    assert folder(2) / 'result.json' in changed
    assert folder(2) / 'snapshots/cnn_iter_2.caffemodel' not in changed
    assert not any(folder(0) in path.parents for path in changed)
    rows = CSV.read_text()
    code, sentence = run('--folds', '0 2', '--base-lr', '0.5')
    assert code == 1 and '2 of 2 runs failed' in sentence
    assert 'was trained otherwise (base_lr was 0.001, now 0.5)' in capsys.readouterr().err
    assert CSV.read_text() == rows


def test_pretraining_of_each_fold_and_training_from_it(capsys):
    """{fold} and {seed} in --weights are those of each run; pre-training is complete without a
    test."""
    assert run('--variants', 'generator', '--folds', '2', '--seeds', '3', '--batch',
               '4') == (0, '')
    assert 'there is nothing to test' in capsys.readouterr().err
    assert run('--variants', 'generator', '--folds', '2', '--seeds', '3', '--batch',
               '4') == (0, '')
    assert '1 runs, 1 of them complete before.' in capsys.readouterr().out
    weights = 'runs/demo/generator/fold{fold}_seed{seed}/snapshots/generator_iter_2.caffemodel'
    assert run('--variants', 's0r0', '--folds', '2', '--seeds', '3', '--batch', '4', '--weights',
               weights) == (0, '')
    made = json.loads(Path('runs/demo/s0r0/fold2_seed3/run.json').read_text())
    assert made['weights'] == [weights.format(fold=2, seed=3)]
    assert Path(made['weights'][0]).is_file()
    assert {row[0] for row in table(CSV)[1:]} == {'s0r0'}


@pytest.mark.parametrize('arguments, said', [([
    '--variants', 'cnn s2r2'
], 'VARIANTS must be of cnn metric s0r0 s1r0 s0r1 s1r1 disentangled degan autoencoder'),
                                             (['--variants', ''], 'VARIANTS must be'),
                                             (['--folds', '1-5'], 'has no fold 3'),
                                             (['--folds', '3'
                                               ], 'data/demo has no fold 3: FOLDS can be 0 1 2.'),
                                             (['--folds', '2-0'], 'FOLDS'),
                                             (['--folds', '0-x'],
                                              "FOLDS must be a whole number from 0 to 9, not 'x'"),
                                             (['--jobs', '0'], 'JOBS'), (['--jobs', 'all'], 'JOBS'),
                                             (['--seeds', '1.5'], 'SEEDS'),
                                             (['--gpus', 'x'], 'GPUS'),
                                             (['--seed', '2'], 'Give VARIANTS, FOLDS, SEEDS'),
                                             (['--fold', '1'], 'Give VARIANTS'),
                                             (['--dataset', 'nosuch'], 'make data DATASET=nosuch'),
                                             (['--dataset', 'ckplus8'
                                               ], 'make data DATASET=ckplus8'),
                                             (['--base-lr', '-1'], 'LR'),
                                             (['--set', 'nosuch=1'], 'NAME one of')])
def test_bad_input_is_refused_before_anything_is_written(arguments, said):
    code, sentence = run(*arguments)
    assert code == 1 and said in sentence and '\n' not in sentence
    assert not Path('runs').exists()


def test_one_gpu_for_all_is_refused(monkeypatch):
    monkeypatch.setattr(cv.gpu, 'why_not', lambda gpu: None)
    assert 'Give VARIANTS, FOLDS, SEEDS and GPUS' in run('--gpu', '0')[1]


def test_folds_are_those_of_the_data_set():
    assert arguments.fold_list('demo', '') == [0, 1, 2]
    assert arguments.fold_list('demo', '0-1') == [0, 1]
    assert arguments.fold_list('demo', '2 0') == [2, 0] and arguments.fold_list('demo',
                                                                        '0,1-2') == [0, 1, 2]
    Path('data/demo/fold1').rename('data/demo/fold1.partial')
    assert arguments.fold_list('demo', '') == [0, 2]


def test_a_task_of_an_array_does_its_line():
    """cv.sbatch with a docker/enter that runs tools.cv and notes all else."""
    Path('docker').mkdir()
    enter = Path('docker/enter')
    enter.write_text('#!/bin/sh\ncase $* in *tools.cv*) exec "$@" ;; esac\n'
                     'echo "$*" >>noted.txt\nexec python3 -c "$DOES"\n')
    enter.chmod(0o755)
    arguments = ['--variants', 'cnn s0r0', '--iters', '2', '--set', 'codes=raw']

    def task(number, does='', stop=False):
        task = subprocess.Popen(
            ['bash', str(HERE.parent / 'tools/cv.sbatch'), *arguments], encoding='utf-8',
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
            env={**os.environ, 'SLURM_ARRAY_TASK_ID': str(number), 'DOES': does})
        if stop:
            wait_for(lambda: Path('waiting').exists())
            task.send_signal(signal.SIGINT)  # as SLURM does: to the shell alone
        _, error = task.communicate(timeout=60)
        return task.returncode, error

    assert task(5) == (0, '')
    name = '--dataset demo --variant s0r0 --fold 1 --seed 1'
    assert Path('noted.txt').read_text() == (
        f'env GLOG_minloglevel=2 python3 -m tools.train {name} --iters 2 --set codes=raw\n'
        f'env GLOG_minloglevel=2 python3 -m tools.evaluate {name}\n')
    Path('noted.txt').unlink()
    assert task(
        1, 'raise SystemExit(3)')[0] == 3 and 'tools.evaluate' not in Path('noted.txt').read_text()
    waits = ('import signal, sys; signal.signal(2, lambda *_: sys.exit(7)); open("waiting", "w"); '
             'signal.pause(); raise SystemExit(4)')
    assert task(2, waits,
                stop=True)[0] == 7 and 'tools.evaluate' not in Path('noted.txt').read_text()
    assert task(7) == (1, 'There is no run for task 7: submit with --array=1-6.\n')
    assert not Path('runs').exists()


def test_one_process_at_a_time_writes_the_csv(monkeypatch):
    monkeypatch.setattr(cv, 'commands', stand_in)
    run('--folds', '0')
    before = CSV.read_text()
    with open('runs/demo/.results.lock', 'w') as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = start('--folds', '1')
        wait_for(lambda: (folder(1) / 'result.json').exists())
        time.sleep(1)
        assert process.poll() is None and CSV.read_text() == before
    assert process.wait(60) == 0 and CSV.read_text() != before
