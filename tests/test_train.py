"""The training tool, on the real `caffe train` and a network small enough for many iterations a
second."""
import csv
import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import caffe
import numpy as np
import places
import pytest
from caffe import layers as L
from caffe import params as P
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from data_prep import pair_lmdb
from prototxt import net
from tools import train
from tools.core import class_balance, fold_data, request, run_folder, run_prototxt, snapshots
from tools.core import gpu as gpus
from tools.core.metrics import write_metrics

HERE = Path(__file__).resolve().parent
CLASSES = ['anger', 'contempt', 'disgust', 'fear', 'happy', 'sadness', 'surprise']
N_TRAIN, N_TEST = 12, 6
FOLDER = Path('runs/demo/cnn/fold3_seed1')
TRAIN_VAL = net.train_val  # the paper's networks; the other tests train a tiny one
COMMAND = ['--variant', 'cnn', '--fold', '3', '--batch', str(N_TRAIN)]


def tiny(variant, n_classes, train_source, test_source, batch_size=64, seed=1, augment=False,
         filters=4, **settings):
    """A network for net.train_val: one convolution, without randomness, or with a Python layer in
    front."""
    n = caffe.NetSpec()
    n.data, n.label = L.Data(source=str(test_source), backend=P.Data.LMDB, batch_size=batch_size,
                             ntop=2, name='data', include=dict(phase=caffe.TEST))
    head = n.to_proto()
    n = caffe.NetSpec()
    n.data, n.label = L.Data(source=str(train_source), backend=P.Data.LMDB, batch_size=batch_size,
                             ntop=2, name='data', include=dict(phase=caffe.TRAIN))
    if augment:
        n.query, n.reference, n.referred = L.Python(n.data, ntop=3, module='layers.augment',
                                                    layer='Augment', param_str=json.dumps(
                                                        {'seed': seed}))
        n.silence = L.Silence(n.reference, n.referred, ntop=0)
        data = n.query
    else:
        data = n.pixels = L.Power(n.data, scale=1 / 255)
    n.conv = L.Convolution(data, kernel_size=8, stride=8, num_output=filters,
                           weight_filler=dict(type='xavier'))
    n.score = L.InnerProduct(n.conv, num_output=n_classes, weight_filler=dict(type='xavier'))
    n.loss_cls = L.SoftmaxWithLoss(n.score, n.label, loss_weight=0.5)
    n.accuracy = L.Accuracy(n.score, n.label, include=dict(phase=caffe.TEST))
    return f'{head}{n.to_proto()}'


def launch():
    """`python3 -m tools.train` with the tiny network that has a Python layer."""
    net.train_val = functools.partial(tiny, augment=True)
    sys.exit(train.main())


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder with a built data set of noise, as cwd, and the tiny network in the place of the
    paper's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', f'{HERE.parent}:{HERE}')
    monkeypatch.setattr(net, 'train_val', tiny)
    random = np.random.RandomState(0)
    fold = Path('data/demo/fold3')
    fold.mkdir(parents=True)
    Path('data/demo/classes.txt').write_text(''.join(f'{name}\n' for name in CLASSES))
    for part, n in (('train', N_TRAIN), ('test', N_TEST)):
        crops = {f'{i}.png': random.randint(0, 256, (66, 66)).astype(np.uint8) for i in range(n)}
        rows = [{
            'subject': f'S{i:03}', 'sequence': '001', 'frame': '0', 'expression': CLASSES[i % 7],
            'path': f'{i}.png', 'reference': '0.png'
        } for i in range(n)]
        pair_lmdb.write_pairs(str(fold / part), rows, CLASSES, crops.get)
    with places.signals_given_back():
        yield


def start(iterations):
    """A training in a process of its own."""
    return subprocess.Popen([
        sys.executable, '-c', 'import test_train; test_train.launch()', *COMMAND, '--iters',
        str(iterations)
    ], stderr=subprocess.PIPE, encoding='utf-8', start_new_session=True)


def wait_for(condition, seconds=60):
    """Waits until condition() holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.02)


def metrics():
    with open(FOLDER / 'metrics.csv', newline='') as file:
        return list(csv.DictReader(file))


def iterations():
    return [int(row['iteration']) for row in metrics()]


def refusal(*arguments):
    """The sentence with which a training is refused."""
    with pytest.raises(SystemExit) as raised:
        train.main([*COMMAND, *arguments])
    sentence = str(raised.value.code)
    assert '\n' not in sentence and len(sentence) > 10
    return sentence


def weights(path):
    """Every weight of a caffemodel in one vector."""
    model = caffe_pb2.NetParameter.FromString(Path(path).read_bytes())
    return np.concatenate([blob.data for layer in model.layer for blob in layer.blobs])


def held():
    """Whether a training of the run holds its lock."""
    with open(FOLDER.with_name('.fold3_seed1.lock'), 'w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_run_folder(capsys):
    assert train.main([*COMMAND, '--iters', '120', '--set', 'gamma=0.01']) == 0
    assert {path.name for path in FOLDER.iterdir()} == {
        'net.prototxt', 'deploy.prototxt', 'solver.prototxt', 'run.json', 'log.txt', 'metrics.csv',
        'snapshots'}
    assert {path.name for path in (FOLDER / 'snapshots').iterdir()} == {
        f'cnn_iter_{n}.{ending}' for n in (100, 120) for ending in ('caffemodel', 'solverstate')}
    rows = metrics()
    assert iterations() == list(range(121))
    for row in rows[:-1]:
        rate = 0.001 * (1 + 0.01 * int(row['iteration'])) ** -0.75
        assert float(row['lr']) == pytest.approx(rate, rel=1e-4)
        # weighs 0.5
        assert float(row['loss_cls']) == pytest.approx(2 * float(row['loss']), rel=1e-4)
    assert [int(row['iteration']) for row in rows if row['test_accuracy']] == [120]
    seconds = [float(row['seconds']) for row in rows]
    assert seconds == sorted(seconds) and 0 < seconds[-1] < 60
    run = run_folder.read_settings(FOLDER)
    assert run['dataset'] == 'demo' and run['variant'] == 'cnn' and run['fold'] == 3 and run[
        'seed'] == 1
    assert run['iterations'] == 120
    assert run['classes'] == CLASSES and run['settings'] == {'gamma': 0.01
                                                             } and run['n_test'] == N_TEST
    assert run['command'].endswith('--variant cnn --fold 3 --batch 12 --iters 120 --set gamma=0.01')
    assert 'Optimization Done' in (FOLDER / 'log.txt').read_text()
    error = capsys.readouterr().err
    # as there is no terminal
    assert '120/120' in error and error.count('\n') < 10 and '\r' not in error


def test_set_takes_several_settings_in_one_word_or_in_several():
    one, two = (request.read_request([*COMMAND, *words])[1]['settings'] for words in (
        ['--set', 'gamma=0.02 balance=1  codes=raw'],
        ['--set', 'gamma=0.02', '--set', 'balance=1', '--set', 'codes=raw']))
    assert one == two == {'gamma': 0.02, 'balance': 1, 'codes': 'raw'}


@pytest.mark.parametrize('policy, same', [('inv', True), ('poly', False)])
def test_a_longer_course_is_another_where_the_rate_follows_it(policy, same):
    texts = [net.solver('net.prototxt', 'x', max_iter=length, policy=policy) for length in (9, 10)]
    assert (run_prototxt.course(texts[0]) == run_prototxt.course(texts[1])) is same


@pytest.mark.parametrize('iterations, interval', [(7, 7), (120, 120), (360, 120), (1000, 100),
                                                  (300000, 30000)])
def test_one_test_in_a_hundred_iterations_ten_at_most(iterations, interval):
    run = dict(variant='cnn', fold=3, seed=1, begun=0, iterations=iterations, batch=4, base_lr=0.01,
               n_test=N_TEST, device='CPU', dataset='demo', classes=CLASSES, settings={})
    solver = text_format.Parse(
        run_prototxt.texts(FOLDER, run)['solver.prototxt'], caffe_pb2.SolverParameter())
    assert solver.test_interval == interval
    assert iterations % interval == 0 and interval % solver.display == 0
    assert iterations / solver.display <= 3000  # rows of metrics.csv


def test_trained_and_longer(capsys):
    train.main([*COMMAND, '--iters', '30'])
    before = {path: path.stat().st_mtime_ns for path in FOLDER.rglob('*')}
    assert train.main([*COMMAND, '--iters', '30']) == 0
    assert 'Already trained' in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in FOLDER.rglob('*')} == before
    assert train.main([*COMMAND, '--iters', '60']) == 0
    assert iterations() == list(range(61)) and snapshots.last_snapshot(FOLDER).iteration == 60
    assert 'for 60 iterations, more than ITERS=30' in refusal('--iters', '30')


def test_a_complete_run_needs_no_solverstate_and_is_never_begun_anew(capsys):
    train.main([*COMMAND, '--iters', '30'])
    (FOLDER / 'result.json').touch()
    snapshots.last_snapshot(FOLDER).solverstate.unlink()  # to make room
    before = {path: path.read_bytes() for path in FOLDER.rglob('*') if path.is_file()}
    assert train.main([*COMMAND, '--iters', '30']) == 0
    assert 'Already trained' in capsys.readouterr().out
    assert 'has no whole solverstate, so the training cannot go on' in refusal('--iters', '60')
    assert {path: path.read_bytes() for path in FOLDER.rglob('*') if path.is_file()} == before

    # without any snapshot, with other settings or the same
    shutil.rmtree(FOLDER / 'snapshots')
    for words in (['--iters', '30'], ['--iters', '30', '--set', 'gamma=0.5']):
        assert 'was complete, but has no snapshot that can be used' in refusal(*words)
    before = {path: content for path, content in before.items() if path.parent == FOLDER}
    assert {path: path.read_bytes() for path in FOLDER.rglob('*') if path.is_file()} == before


def test_averages_are_not_taken_of_other_data(monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(train, 'finish', lambda task: 0)
        train.main([*COMMAND, '--iters', '30'])
    built = dict(fold_data.fingerprint('demo', 3), data='built anew meanwhile')
    monkeypatch.setattr(fold_data, 'fingerprint', lambda *_: built)
    task = train.Task(FOLDER, run_folder.read_settings(FOLDER), None, [])
    with pytest.raises(SystemExit, match='was trained on other data'):
        train.finish(task)


def test_a_run_that_was_to_go_on_is_complete_where_it_ended(monkeypatch):
    monkeypatch.setattr(net, 'train_val', functools.partial(tiny, augment=True))
    train.main([*COMMAND, '--iters', '20'])
    complete = json.loads((FOLDER / 'run.json').read_text())
    process = start(1000000)  # killed before it has a snapshot
    wait_for(lambda: json.loads((FOLDER / 'run.json').read_text())['iterations'] == 1000000)
    wait_for(lambda: iterations()[-1] > 20)
    process.kill()
    process.communicate()
    wait_for(lambda: not held())
    (FOLDER / 'result.json').touch()  # tested before
    assert train.main([*COMMAND, '--iters', '20']) == 0
    again = json.loads((FOLDER / 'run.json').read_text())
    for name in 'iterations', 'averaged_at', 'command', 'sha256':
        assert again[name] == complete[name]
    assert iterations() in (list(range(20)), list(range(21)))
    assert not (FOLDER / 'result.json').exists()
    assert [snapshot.iteration for snapshot in snapshots.find_snapshots(FOLDER)] == [20]


def test_a_resumed_run_equals_one_that_never_stopped():
    train.main([*COMMAND, '--iters', '20', '--base-lr', '0.01'])
    whole = weights(snapshots.last_snapshot(FOLDER).caffemodel)
    shutil.rmtree(FOLDER)
    train.main([*COMMAND, '--iters', '10', '--base-lr', '0.01'])
    half = weights(snapshots.last_snapshot(FOLDER).caffemodel)
    train.main([*COMMAND, '--iters', '20', '--base-lr', '0.01'])
    assert np.array_equal(weights(snapshots.last_snapshot(FOLDER).caffemodel), whole)
    assert not np.allclose(half, whole)


def test_a_resumed_run_draws_other_transforms(monkeypatch):
    monkeypatch.setattr(net, 'train_val', functools.partial(tiny, augment=True))
    train.main([*COMMAND, '--iters', '10', '--base-lr', '1e-12'])
    train.main([*COMMAND, '--iters', '20', '--base-lr', '1e-12'])
    losses = [row['loss'] for row in metrics()]
    assert losses[0] != losses[10] and losses[1] != losses[11]
    train.main([*COMMAND, '--iters', '30', '--base-lr', '1e-12'])  # though its seed differs
    assert iterations() == list(range(31))


@pytest.mark.parametrize('name', ['net.prototxt', 'deploy.prototxt', 'solver.prototxt', 'run.json'])
def test_a_run_killed_between_the_files_that_it_writes_goes_on(monkeypatch, name):
    monkeypatch.setattr(net, 'train_val', functools.partial(tiny, augment=True))
    train.main([*COMMAND, '--iters', '10'])
    write = train.files.write

    def killed(path, text):
        if path.name == name:
            raise KeyboardInterrupt
        write(path, text)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(train.files, 'write', killed)
        train.main([*COMMAND, '--iters', '20'])
    assert 'use another SEED' in refusal('--iters', '20', '--set', 'gamma=0.5')
    assert train.main([*COMMAND, '--iters', '20']) == 0
    assert iterations() == list(range(21))


@pytest.mark.parametrize('number, all_that_runs', [
    (signal.SIGINT, False), (signal.SIGTERM, False), (signal.SIGTERM, True)])
def test_interrupt_and_resume(number, all_that_runs, monkeypatch, capsys):
    process = start(1000000)
    wait_for(lambda: (FOLDER / 'metrics.csv').exists() and len(iterations()) > 2)
    if number == signal.SIGINT:  # as a terminal does: to the whole group; and an impatient user
        os.killpg(process.pid, number)
    if all_that_runs:  # as SLURM does; Caffe first
        for child in places.children_of(process):
            os.kill(child, number)
        time.sleep(0.5)
    process.send_signal(number)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and 'Traceback' not in error
    last = snapshots.last_snapshot(FOLDER)
    assert last.iteration > 100 and f'after iteration {last.iteration}, {last.caffemodel}' in error
    monkeypatch.setattr(net, 'train_val', functools.partial(tiny, augment=True))
    assert train.main([*COMMAND, '--iters', str(last.iteration + 500)]) == 0
    assert f'iteration {last.iteration} to {last.iteration + 500}' in capsys.readouterr().out
    seen = iterations()
    assert seen == sorted(set(seen)) and seen[-1] > last.iteration + 490
    assert snapshots.last_snapshot(FOLDER).iteration == last.iteration + 500
    log = (FOLDER / 'log.txt').read_text()
    assert log.count('Starting Optimization') == 2 and f'Resuming from {last.solverstate}' in log


@pytest.mark.parametrize('container, expected', [
    ('docker gcnet-1', ', or end it: `docker stop --time 60 gcnet-1`.'), (None, ': wait for it.'),
    ('docker gcnet-1; `rm -r /`', ': wait for it.')])
def test_who_trains_is_named_where_it_is_a_container(monkeypatch, container, expected):
    path = run_folder.lock_of(FOLDER)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('docker an-earlier-one')
    if container:
        monkeypatch.setenv('GCNET_CONTAINER', container)
    else:
        monkeypatch.delenv('GCNET_CONTAINER', raising=False)
    with train.lock(FOLDER):
        monkeypatch.setenv('GCNET_CONTAINER', 'podman ours')  # the one that is told about it
        for _ in range(2):
            with pytest.raises(SystemExit, match='being trained by another process') as refused:
                train.lock(FOLDER)
            assert str(refused.value).endswith(expected)


def test_kill_and_resume(monkeypatch):
    process = start(600)  # snapshots every 60
    wait_for(lambda: len(snapshots.find_snapshots(FOLDER)) > 1)
    for child in places.children_of(process):
        os.kill(child, signal.SIGSTOP)  # or it may be through before the refusal is
    assert 'being trained by another process' in refusal('--iters', '600')
    process.kill()
    process.communicate()
    wait_for(lambda: not held())  # Caffe does not outlive us
    last = snapshots.last_snapshot(FOLDER)
    assert last.iteration in range(60, 600, 60)
    # as where Caffe had been faster than we
    behind = [row for row in metrics() if int(row['iteration']) < last.iteration - 20]
    write_metrics(FOLDER / 'metrics.csv', behind)
    monkeypatch.setattr(net, 'train_val', functools.partial(tiny, augment=True))
    assert train.main([*COMMAND, '--iters', '600']) == 0
    assert f'Resuming from {last.solverstate}' in (FOLDER / 'log.txt').read_text()
    assert iterations() == list(range(0, 601, 2))
    shown = dict(re.findall(r'Iteration (\d+).* loss = (\S+)', (FOLDER / 'log.txt').read_text()))
    assert all(float(row['loss']) == float(shown[row['iteration']]) for row in metrics())


def test_divergence_stops_and_can_be_started_again():
    sentence = refusal('--iters', '400000', '--base-lr', '1e20')
    shown = re.findall(r'Iteration (\d+) .*loss = (\S+)', (FOLDER / 'log.txt').read_text())
    first = next(int(iteration) for iteration, loss in shown if 'nan' in loss or 'inf' in loss)
    assert f'at iteration {first} ' in sentence and 'LR smaller than 1e+20' in sentence
    assert not snapshots.find_snapshots(FOLDER)
    assert all('nan' not in row['loss'] for row in metrics())
    assert train.main([*COMMAND, '--iters', '10', '--base-lr', '0.001']) == 0


def test_divergence_keeps_the_snapshots_before():
    # A rate that grows: 1e-3 at iteration 0, 25 at 50, 3e4 at 100.
    rising = ['--iters', '400', '--set', 'gamma=0.01', '--set', 'power=-25']
    sentence = refusal(*rising)
    diverged = int(re.search(r'at iteration (\d+) ', sentence).group(1))
    kept = [snapshot.iteration for snapshot in snapshots.find_snapshots(FOLDER)]
    assert kept and all(iteration < diverged for iteration in kept)
    assert f'up to {kept[-1]} it is kept' in sentence
    assert iterations()[-1] < diverged


@pytest.mark.parametrize(
    'harm', ['model', 'model empty', 'state', 'state empty', 'state missing', 'seam', 'nan'])
@pytest.mark.parametrize('complete', [True, False])
def test_a_damaged_snapshot_is_passed_over(harm, complete, capsys):
    train.main([*COMMAND, '--iters', '100'])
    if not complete:  # as one that was killed behind its last snapshot
        run = json.loads((FOLDER / 'run.json').read_text())
        (FOLDER / 'run.json').write_text(json.dumps({**run, 'averaged_at': None}))
    whole = weights(FOLDER / 'snapshots/cnn_iter_100.caffemodel')
    _, model, state = snapshots.last_snapshot(FOLDER)
    victim = state if 'state' in harm or harm == 'seam' else model
    content = victim.read_bytes()
    if harm == 'seam':  # cut between two messages: still a protobuf
        message = caffe_pb2.SolverState.FromString(content)
        del message.history[-1]
        content = message.SerializeToString()
    elif harm == 'nan':
        message = caffe_pb2.NetParameter.FromString(content)
        [layer for layer in message.layer if layer.blobs][0].blobs[0].data[3] = np.nan
        content = message.SerializeToString()
    else:
        content = b'' if 'empty' in harm else content[:len(content) // 2]
    victim.write_bytes(content)
    if 'missing' in harm:
        victim.unlink()
    capsys.readouterr()
    if complete and victim == state:  # whole by its checksum: nothing goes on from it
        assert snapshots.last_snapshot(FOLDER).iteration == 100
        assert train.main([*COMMAND, '--iters', '100']) == 0
        assert 'Already trained' in capsys.readouterr().out
        return
    assert snapshots.last_snapshot(FOLDER).iteration == 50
    assert str(victim.with_suffix('')) in capsys.readouterr().err
    assert train.main([*COMMAND, '--iters', '100']) == 0
    assert iterations() == list(range(101))
    assert np.array_equal(weights(snapshots.last_snapshot(FOLDER).caffemodel), whole)


def test_ctrl_c_while_python_starts_is_a_word():
    """Held back, as the Makefile does, until our first line."""
    command = 'kill -INT $$; exec "$0" -m tools.train'
    ran = subprocess.run(['env', '--block-signal=INT', 'sh', '-c', command, sys.executable],
                         stderr=subprocess.PIPE, encoding='utf-8', timeout=60)
    assert (ran.returncode, ran.stderr) == (-signal.SIGINT, 'Interrupted.\n')
    makefile = (Path(__file__).parents[1] / 'Makefile').read_text()
    assert '\npython = $(enter) env --block-signal=INT ' in makefile


@pytest.mark.parametrize('command', ['tools.train', 'tools.evaluate', 'tools.cv',
                                     'data_prep.build'])
@pytest.mark.parametrize('loaded', ['numpy', 'caffe.pycaffe'])
def test_ctrl_c_while_the_libraries_are_loaded_is_no_traceback(command, loaded):
    """Python tells on stderr what it has imported, each as soon as it is."""
    process = subprocess.Popen([sys.executable, '-X', 'importtime', '-m', command],
                               stderr=subprocess.PIPE, encoding='utf-8')
    seen = next((line for line in process.stderr if line.split('|')[-1].strip() == loaded), None)
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    process.wait(60)
    assert seen and process.returncode != 0
    assert 'Traceback' not in said and 'Interrupted.' in said


def test_a_flipped_bit_in_the_last_weights_is_found(capsys):
    train.main([*COMMAND, '--iters', '100'])
    last = snapshots.last_snapshot(FOLDER).caffemodel
    whole, run = last.read_bytes(), run_folder.read_settings(FOLDER)
    assert run['sha256'] == hashlib.sha256(whole).hexdigest()
    random = np.random.RandomState(0)
    for place in random.randint(len(whole), size=20):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << random.randint(8)
        last.write_bytes(flipped)
        assert snapshots.last_snapshot(FOLDER).iteration == 50
    assert str(last) in capsys.readouterr().err
    # the training goes on from the one before it
    assert train.main([*COMMAND, '--iters', '100']) == 0 and last.read_bytes() == whole


@pytest.mark.parametrize('left', [40000, 100000])  # of a snapshot, that takes more
def test_a_full_disk_is_said_and_room_is_enough_to_go_on(left, monkeypatch):
    monkeypatch.setattr(net, 'train_val', functools.partial(tiny, filters=64))
    with places.small_disk(Path('runs'), 4 << 20):
        code = train.main([*COMMAND, '--iters', '60', '--base-lr', '1e-9'])
        used = sum(path.stat().st_size for path in (FOLDER / 'snapshots').iterdir())
        assert code == 0 and used > 2 * left
        free = shutil.disk_usage('runs').free
        filler = Path('runs/filler')
        filler.write_bytes(bytes(free - left))
        sentence = refusal('--iters', '120', '--base-lr', '1e-9')
        assert 'full' in sentence or 'No space left' in sentence
        filler.unlink()
        assert train.main([*COMMAND, '--iters', '120', '--base-lr', '1e-9']) == 0
        assert snapshots.last_snapshot(FOLDER).iteration == 120


def test_a_gcnet_without_any_reference_is_said_once(capfd):
    for part in ('train', 'test'):
        path = Path('data/demo/fold3', part)
        pictures = {str(i): query for i, (_, query, _, _) in
                    enumerate(pair_lmdb.read_pairs(f'{path}_lmdb'))}
        rows = [dict(subject=f'S{i}', sequence='001', frame='0', expression=CLASSES[i % 7],
                     path=str(i), reference=None) for i in range(len(pictures))]
        shutil.rmtree(f'{path}_lmdb')
        path.with_suffix('.csv').unlink()
        pair_lmdb.write_pairs(str(path), rows, CLASSES, pictures.get)
    for variant, times in (('s1r1', 1), ('cnn', 0), ('generator', 1)):
        command = ['--variant', variant, '--fold', '3', '--batch', '4', '--iters', '1']
        assert train.main(command) == 0
        assert capfd.readouterr().err.count('No training image has a reference') == times


@pytest.mark.parametrize('arguments, said', [
    (['--base-lr', '0.002'], 'base_lr was 0.001, now 0.002'),
    (['--batch', '6'], 'batch was 12, now 6'),
    (['--set', 'margin=2'], "settings was {}, now {'margin': 2}"),
    (['--weights', 'other.caffemodel'], "weights was [], now ['other.caffemodel']")])
def test_other_settings_are_refused(arguments, said):
    train.main([*COMMAND, '--iters', '10'])
    before = {path: path.read_bytes() for path in FOLDER.rglob('*') if path.is_file()}
    assert said in refusal('--iters', '20', *arguments)
    assert {path: path.read_bytes() for path in FOLDER.rglob('*') if path.is_file()} == before


def test_other_data_and_another_network_are_refused(monkeypatch):
    train.main([*COMMAND, '--iters', '10'])
    monkeypatch.setattr(net, 'train_val', functools.partial(tiny, filters=5))
    assert 'writes another network' in refusal('--iters', '20')
    monkeypatch.setattr(net, 'train_val', tiny)
    table = Path('data/demo/fold3/train.csv')
    table.write_text(table.read_text().replace('S003', 'S999'))
    assert 'data was' in refusal('--iters', '20')


@pytest.mark.parametrize(
    'arguments, said',
    [(['--fold', '10'], "FOLD must be a whole number from 0 to 9, not '10'"),
     (['--fold', '-1'], "from 0 to 9, not '-1'"), (['--fold', 'three'], "from 0 to 9, not 'three'"),
     (['--variant', 's2r1'
       ], 'VARIANT is one of cnn, metric, s0r0, s1r0, s0r1, s1r1, disentangled, degan'),
     (['--dataset', 'nosuch'], 'make data DATASET=nosuch'),
     (['--dataset', 'ckplus7'], 'run `make data DATASET=ckplus7`'),
     (['--fold', '4'], 'data/demo/fold4/train.csv cannot be read'), (['--iters', '0'], 'ITERS'),
     (['--iters', '1e3'], 'ITERS'), (['--base-lr', '0'], 'LR'), (['--base-lr', 'nan'], 'LR'),
     (['--batch', '-4'], 'BATCH'), (['--seed', 'x'], 'SEED'),
     (['--set', 'nosuch=1'], 'NAME one of'), (['--set', 'margin'], 'NAME=VALUE'),
     (['--set', 'gamma=x'], 'gamma'),
     (['--weights', 'nosuch.caffemodel'], 'nosuch.caffemodel cannot be read'),
     (['--gpu', 'one'], 'GPU must be')])
def test_bad_input_is_refused_before_anything_is_written(arguments, said):
    assert said in refusal(*arguments)
    assert not FOLDER.exists()


def test_a_gpu_that_is_there_is_taken(monkeypatch, capsys):
    for why, text, gpu in [(None, '', 0), ('no driver', '', None), (None, 'none', None),
                           (None, '3', 3), ('Cannot use GPU in CPU-only Caffe', '', None)]:
        monkeypatch.setattr(gpus, 'why_not', lambda gpu, why=why: why)
        assert gpus.which(text) == gpu
        # Whoever made a Caffe for GPUs is told why it takes none.
        told = 'since no GPU can be used (no driver)' if why == 'no driver' else ''
        said = capsys.readouterr().err
        assert told in said and bool(told) == bool(said)


def test_no_gpu_is_said(monkeypatch):
    if not subprocess.run(['caffe', 'device_query', '-gpu', '0'],
                          stderr=subprocess.DEVNULL).returncode:
        pytest.skip('there is a GPU')
    assert 'GPU 0 cannot be used' in refusal('--gpu', '0')


@pytest.mark.parametrize('harm', ['cut', 'no database', 'label'])
def test_damaged_data(harm):
    path = Path('data/demo/fold3/train_lmdb/data.mdb')
    if harm == 'label':
        Path('data/demo/classes.txt').write_text('anger\nhappy\n')
    else:
        path.write_bytes(path.read_bytes()[:path.stat().st_size //
                                           2] if harm == 'cut' else b'text' * 5000)
    assert 'data/demo/fold3/train_lmdb' in refusal('--iters', '10')
    assert not FOLDER.exists()


def test_weights_are_loaded_or_refused(monkeypatch):
    train.main([*COMMAND, '--iters', '50', '--base-lr', '0.1'])
    given = Path('given.caffemodel')
    given.write_bytes(snapshots.last_snapshot(FOLDER).caffemodel.read_bytes())
    shutil.rmtree(FOLDER)
    arguments = ['--iters', '1', '--base-lr', '1e-12', '--weights', str(given)]
    train.main([*COMMAND, *arguments])
    last = snapshots.last_snapshot(FOLDER).caffemodel
    assert np.allclose(weights(last), weights(given), atol=1e-7)
    shutil.rmtree(FOLDER)
    monkeypatch.setattr(net, 'train_val', functools.partial(tiny, filters=5))
    sentence = refusal(*arguments)
    assert 'layer conv' in sentence and '[4, 2, 8, 8]' in sentence and '[5, 2, 8, 8]' in sentence
    model = caffe_pb2.NetParameter.FromString(given.read_bytes())
    for layer in model.layer:
        layer.name = 'other_' + layer.name
    given.write_bytes(model.SerializeToString())
    assert 'no layer with weights is in both' in refusal(*arguments)
    given.write_text('no weights at all')
    assert 'is damaged or no file of Caffe' in refusal(*arguments)
    assert not FOLDER.exists()


def test_what_caffe_died_of_is_said(monkeypatch):
    monkeypatch.setattr(net, 'train_val', functools.partial(tiny, filters=0))
    sentence = refusal('--iters', '10')
    assert 'Check failed' in sentence and str(
        FOLDER / 'log.txt') in sentence and not snapshots.find_snapshots(FOLDER)


def test_what_a_python_layer_raised_is_said(monkeypatch):
    monkeypatch.setattr(net, 'train_val', lambda *arguments, batch_size=64, **settings: tiny(
        *arguments, batch_size=batch_size, augment=True, **settings).replace('seed', 'sead'))
    assert "unknown name 'sead'" in refusal('--iters', '10')


def test_a_run_is_of_the_weights_that_its_files_held(capsys):
    train.main([*COMMAND, '--iters', '3', '--seed', '2'])
    given = Path('given.caffemodel')
    shutil.copyfile('runs/demo/cnn/fold3_seed2/snapshots/cnn_iter_3.caffemodel', given)
    words = ['--iters', '3', '--weights', str(given)]
    train.main([*COMMAND, *words])
    _, asked, _ = request.read_request([*COMMAND, *words])
    assert not request.other_start(run_folder.read_settings(FOLDER), asked)

    message = caffe_pb2.NetParameter.FromString(given.read_bytes())
    [layer for layer in message.layer if layer.blobs][0].blobs[0].data[0] += 1
    given.write_bytes(message.SerializeToString())  # pre-trained again
    assert 'given.caffemodel held other weights' in refusal(*words)
    given.unlink()  # what is gone is no other
    assert train.main([*COMMAND, *words]) == 0
    assert 'Already trained' in capsys.readouterr().out
    assert train.main([*COMMAND, *words[2:], '--iters', '6']) == 0  # nor where it goes on
    given.write_bytes(message.SerializeToString())
    assert 'given.caffemodel held other weights' in refusal(*words[2:], '--iters', '6')


def test_balance_gives_the_logarithm_of_the_frequencies():
    for balance in (0.5, 1):
        found = class_balance.offsets(dict(settings=dict(balance=balance), counts=[2, 6, 0]))
        assert np.exp(np.array(found[:2]) / balance) == pytest.approx([0.25, 0.75], rel=1e-3)
        assert np.isfinite(found[2])  # of a class without images
    for wrong in (2, -0.1, 'x', True):
        with pytest.raises(SystemExit, match='balance must be a number from 0 to 1'):
            class_balance.offsets(dict(settings=dict(balance=wrong), counts=[1, 1]))


def test_balance_from_the_command_line(monkeypatch):
    given = {}

    @functools.wraps(tiny)
    def noted(*arguments, **settings):
        given.update(settings)
        return tiny(*arguments, **settings)

    monkeypatch.setattr(net, 'train_val', noted)
    assert train.main([*COMMAND, '--iters', '1', '--set', 'balance=0.5']) == 0
    assert 'balance' not in given and len(given['score_offsets']) == len(CLASSES)
    counts = np.array(run_folder.read_settings(FOLDER)['counts'])
    trained = [label for *_, label in pair_lmdb.read_pairs('data/demo/fold3/train_lmdb')]
    assert counts.tolist() == np.bincount(trained, minlength=len(CLASSES)).tolist()
    assert np.exp(given['score_offsets'])**2 == pytest.approx(
        np.maximum(counts, 1) / counts.sum(), rel=1e-3)


@pytest.mark.parametrize('classes', [CLASSES, [*CLASSES, 'neutral'], ['neutral', *CLASSES]])
def test_contr_is_told_which_class_is_neutral(monkeypatch, classes):
    given = {}
    _, run, _ = request.read_request(COMMAND)
    monkeypatch.setattr(
        net, 'train_val',
        lambda *arguments, **settings: given.update(settings) or tiny(*arguments, **settings))
    run_prototxt.texts(FOLDER, {**run, 'begun': 0, 'classes': classes})
    assert given.get('neutral') == (classes.index('neutral') if 'neutral' in classes else None)


def test_relative_pixel_losses(monkeypatch):
    """A generator that copies X has the weighted loss 10, in the mean over the pairs that
    differ."""
    source = Path('data/demo/fold3/train_lmdb')
    errors = [((query[1:-1, 1:-1] / 255 - reference[1:-1, 1:-1] / 255) ** 2).sum() / 2
              for _, query, reference, _ in pair_lmdb.read_pairs(str(source)) if reference.any()]
    given = {}
    _, run, _ = request.read_request([*COMMAND, '--set', 'pixel_scale=relative'])
    monkeypatch.setattr(
        net, 'train_val',
        lambda *arguments, **settings: given.update(settings) or tiny(*arguments, **settings))
    run_prototxt.texts(FOLDER, {**run, 'begun': 0})
    differ = [error for error in errors if error > 0]
    assert differ and given['pixel_scale'] * np.mean(differ) == pytest.approx(10, rel=1e-3)


def test_pairs_without_a_reference_of_their_own_do_not_count(tmp_path):
    pictures = {'dark': np.full((66, 66), 51, np.uint8), 'light': np.full((66, 66), 102, np.uint8)}
    rows = [
        dict(path='light', reference=reference, expression='happy', subject='S1', sequence='001',
             frame=str(number)) for number, reference in enumerate(['dark', None, 'light'])
    ]
    pair_lmdb.write_pairs(tmp_path / 'some', rows, ['happy'], pictures.get)
    assert fold_data.mean_change(tmp_path / 'some_lmdb') == pytest.approx(64 * 64 * 0.2 ** 2 / 2)
    pair_lmdb.write_pairs(tmp_path / 'none', rows[1:], ['happy'], pictures.get)
    assert fold_data.mean_change(tmp_path / 'none_lmdb') == 0


def test_only_the_loss_takes_adjusted_scores():
    text = TRAIN_VAL('cnn', 2, 'train_lmdb', 'test_lmdb', score_offsets=[-1, -2])
    takes = {
        layer.name: list(layer.bottom)
        for layer in text_format.Parse(text, caffe_pb2.NetParameter()).layer
    }
    assert takes['loss_cls'] == ['score_adjusted', 'label'
                                 ] and takes['accuracy'] == ['score', 'label']
    assert 'score_adjusted' not in net.deploy('cnn', 2, score_offsets=[-1, -2])
