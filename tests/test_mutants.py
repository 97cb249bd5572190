"""run.json and result.json of a tested run, damaged in many ways: whatever reads them says a
sentence or works, and never ends in a traceback.

MUTANTS=300 in the environment tries so many; by default it is a few, each time the same.
"""
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

import places
import pytest

from tools import cv, evaluate, export, report, tables
from tools.core import plots, predictions

ROOT = Path(__file__).resolve().parents[1]
MUTANTS = int(os.environ.get('MUTANTS', 12))
FOLDER = Path('runs/demo/cnn/fold0_seed1')
COMMAND = ['--variant', 'cnn', '--fold', '0', '--batch', '6', '--iters', '2']
VALUES = [None, True, -1, 0, 7, 0.5, 1e308, 10 ** 30, float('nan'), float('inf'), '', 'x', '../x',
          'a' * 3000, '\x00', '\udcff', '$\\frac$', [], {}, [[]], [None], ['x', 3], {'x': None},
          {'a': {'b': []}}]


@pytest.fixture(scope='module')
def tested(tmp_path_factory):
    """A folder with a tested run of the CNN, two iterations long."""
    place = tmp_path_factory.mktemp('tested')
    places.build_smooth(place, 6, ['anger', 'happy'])
    for module, options in (('tools.train', COMMAND), ('tools.evaluate', COMMAND[:4])):
        subprocess.run([sys.executable, '-m', module, *options], cwd=place, check=True,
                       env={**os.environ, 'PYTHONPATH': str(ROOT)})
    return place


@pytest.fixture
def place(tested, tmp_path, monkeypatch):
    """A copy of it as working directory, where no picture is drawn."""
    places.enter_copy(tested, tmp_path, monkeypatch)
    for name in ('confusion', 'curves'):
        monkeypatch.setattr(plots, name, lambda *_: None)
    return tmp_path


def places_in(value, path=()):
    """The path of each value within a value of JSON."""
    yield path
    items = (value.items() if isinstance(value, dict) else
             enumerate(value) if isinstance(value, list) else ())
    for name, inner in items:
        yield from places_in(inner, (*path, name))


def mutate(content, rng):
    """The bytes of a JSON file, damaged: in a value of it, or in its bytes."""
    kind = rng.choice(['replace', 'replace', 'replace', 'remove', 'add', 'cut', 'flip', 'insert'])
    if kind in ('replace', 'remove', 'add'):
        value = copy.deepcopy(json.loads(content))
        path = rng.choice(list(places_in(value)))
        new = copy.deepcopy(rng.choice(VALUES))
        if not path:
            value = new
        else:
            outer = value
            for name in path[:-1]:
                outer = outer[name]
            if kind == 'remove':
                del outer[path[-1]]
            elif kind == 'add' and isinstance(outer, dict):
                outer[rng.choice(['x', '', 'fold ', 'averaged_at'])] = new
            else:
                outer[path[-1]] = new
        return json.dumps(value).encode()
    place = rng.randrange(len(content))
    if kind == 'cut':
        return content[:place]
    if kind == 'flip':
        flipped = bytes([content[place] ^ 1 << rng.randrange(8)])
        return content[:place] + flipped + content[place + 1:]
    more = rng.choice([b'\xff', b'"', b'}', b'[' * 3000, b'\n', b'NaN'])
    return content[:place] + more + content[place:]


READERS = {
    'evaluate': lambda: evaluate.evaluate(FOLDER),
    'cv': lambda: cv.is_complete(cv.plan('demo', ['cnn'], [1], [0], COMMAND[4:])[0]),
    'collect': lambda: predictions.collect('demo'),
    'tables': lambda: tables.make_tables('demo'),
    'report': lambda: report.page([FOLDER]),
    'export': lambda: export.export(FOLDER, Path('model')),
}


def faults(what):
    """Every reader once, as damaged now: a line for each that ends otherwise than well or with a
    sentence."""
    kept = {path: path.read_bytes()
            for path in (FOLDER / 'predictions.csv', FOLDER / 'result.json')}
    for name, read in READERS.items():
        try:
            read()
        except SystemExit as error:
            if not isinstance(error.code, str) or len(error.code) < 10 or '\n' in error.code:
                yield f'{name}: {error.code!r} for {what[:200]!r}'
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            yield f'{name}: {error!r} at {where.filename}:{where.lineno} for {what[:200]!r}'
        for path, content in kept.items():
            path.write_bytes(content)
        shutil.rmtree('model', ignore_errors=True)


@pytest.mark.parametrize('name, mutants', [('run.json', MUTANTS),
                                           ('result.json', -(-MUTANTS // 3))])
def test_a_damaged_file_is_a_sentence(place, name, mutants):
    path, rng = FOLDER / name, random.Random(name)
    content = path.read_bytes()
    found = []
    for _ in range(mutants):
        damaged = mutate(content, rng)
        path.write_bytes(damaged)
        found += faults(damaged)
    assert not found, '\n'.join(found)
    path.write_bytes(content)
    assert evaluate.evaluate(FOLDER)['n'] == 6


@pytest.mark.parametrize('name', ['dataset', 'variant', 'fold', 'seed', 'iterations', 'classes'])
def test_a_setting_that_is_missing_is_named(place, name):
    run = json.loads((FOLDER / 'run.json').read_text())
    (FOLDER / 'run.json').write_text(json.dumps({key: run[key] for key in run if key != name}))
    with pytest.raises(SystemExit, match=f'run.json has no .*{name}.*train again'):
        evaluate.evaluate(FOLDER)


@pytest.mark.parametrize('name', ['run.json', 'net.prototxt', 'solver.prototxt', 'deploy.prototxt'])
def test_text_that_is_not_utf8_is_a_sentence(place, name):
    (FOLDER / name).write_bytes(b'\xff\xfe' + (FOLDER / name).read_bytes())
    for module in ('tools.train', 'tools.evaluate'):
        words = COMMAND if module == 'tools.train' else COMMAND[:4]
        ran = subprocess.run([sys.executable, '-m', module, *words], stderr=subprocess.PIPE,
                             env={**os.environ, 'PYTHONPATH': str(ROOT)}, encoding='utf-8')
        assert 'Traceback' not in ran.stderr
        reads = {'run.json': ['tools.train', 'tools.evaluate'],
                 'deploy.prototxt': ['tools.evaluate']}.get(name, ['tools.train'])
        assert ran.returncode == int(module in reads)
        assert module not in reads or name in ran.stderr.splitlines()[-1]


def test_a_full_disk_is_said_by_the_test_and_the_result_before_it_stays(place):
    shutil.move('runs', 'kept')
    with places.small_disk(Path('runs'), 200 << 20):
        shutil.copytree('kept', 'runs', dirs_exist_ok=True)
        before = {path: path.read_bytes() for path in FOLDER.glob('*.*')}
        Path('runs/filler').write_bytes(bytes(shutil.disk_usage('runs').free - 4096))
        ran = subprocess.run([sys.executable, '-m', 'tools.evaluate', *COMMAND[:4]],
                             env={**os.environ, 'PYTHONPATH': str(ROOT)}, encoding='utf-8',
                             stderr=subprocess.PIPE)
        assert ran.returncode == 1 and 'Traceback' not in ran.stderr
        assert 'No space left on device' in ran.stderr and 'make room' in ran.stderr
        assert (FOLDER / 'result.json').read_bytes() == before[FOLDER / 'result.json']
        Path('runs/filler').unlink()
        assert evaluate.evaluate(FOLDER)['n'] == 6


def test_a_disk_that_cannot_be_written_is_a_sentence(place):
    """Mounted read-only, since root may write where others may not."""
    result = (FOLDER / 'result.json').read_bytes()
    mounted = subprocess.run(['mount', '--bind', '-o', 'ro', str(FOLDER), str(FOLDER)],
                             stderr=subprocess.DEVNULL)
    if mounted.returncode:
        pytest.skip('no disk can be mounted here')
    try:
        subprocess.run(['mount', '-o', 'remount,bind,ro', str(FOLDER)], check=True)
        for module, words in (('tools.evaluate', COMMAND[:4]),
                              ('tools.train', [*COMMAND[:-1], '4'])):
            ran = subprocess.run([sys.executable, '-m', module, *words], stderr=subprocess.PIPE,
                                 env={**os.environ, 'PYTHONPATH': str(ROOT)}, encoding='utf-8')
            assert ran.returncode == 1 and 'Traceback' not in ran.stderr
            assert 'Read-only file system' in ran.stderr.splitlines()[-1]
    finally:
        subprocess.run(['umount', str(FOLDER)], check=True)
    assert (FOLDER / 'result.json').read_bytes() == result
