"""The inner half of `make doctor`: data sets and runs as they are, and what comes next."""
import fcntl
import json
import shutil
import subprocess
from pathlib import Path

import places
import pytest
from test_predict import CLASSES, FOLDER, make_run

from tools import doctor
from tools.core import fold_data

RUN = Path('runs/demo/s1r1/fold0_seed1')


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A folder with a data set of one fold and a run of S1R1 tested on it."""
    place = tmp_path_factory.mktemp('made')
    places.build_smooth(place, 6, CLASSES)
    make_run(place / RUN, 's1r1')
    return place


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """A copy of it as working directory; the run is tested."""
    copy = places.enter_copy(made, tmp_path, monkeypatch)
    rewrite(RUN, fold=0, **fold_data.fingerprint('demo', 0))
    (RUN / 'result.json').write_text('{"iterations": 5}')
    return copy


@pytest.fixture
def told(capsys):
    """A function: {title: lines} that the program prints."""
    def told():
        doctor.main()
        parts = [part.splitlines() for part in capsys.readouterr().out.strip('\n').split('\n\n')]
        return {part[0]: [line.strip() for line in part[1:]] for part in parts}
    return told


def rewrite(folder, **values):
    settings = json.loads((folder / 'run.json').read_text())
    (folder / 'run.json').write_text(json.dumps({**settings, **values}))


def commands(lines):
    return [line.split('  ')[0] for line in lines]


def test_nothing_is_there(told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = told()
    assert said['Data sets'][0].startswith('none') and said['Runs'][0].startswith('none')
    assert commands(said['What to do next']) == ['make demo', 'make serve']
    assert list(tmp_path.iterdir()) == []


def test_a_set_as_built_and_a_tested_run(told, place):
    said = told()
    assert said['Data sets'] == ['demo         12 pairs, 1 fold, as built']
    assert said['Runs'] == ['demo s1r1    1 tested (fold0_seed1)']
    assert commands(said['What to do next']) == ['make report DATASET=demo', 'make serve']
    engine = '\n'.join(said['Caffe'])
    assert 'version      1.0.0' in engine and '(OpenBLAS)' in engine


def test_a_set_without_runs_is_trained_next_unless_it_holds_no_expressions(told, place):
    for name in 'own', 'webface':
        shutil.copytree('data/demo', f'data/{name}')
    assert commands(told()['What to do next']) == [
        'make report DATASET=demo', 'make recipe DATASET=own', 'make serve']


def test_a_file_that_changed_is_found(told, place):
    data = Path('data/demo/fold0/test_lmdb/data.mdb')
    content = bytearray(data.read_bytes())
    content[-100] ^= 1
    data.write_bytes(content)
    said = told()
    assert said['Data sets'][0] == 'demo         no pairs, 1 fold, 1 NOT as built'
    assert 'test_lmdb is damaged (its content is not what was built, by its checksum)' in \
        said['Data sets'][1]
    assert commands(said['What to do next'])[0] == 'make data DATASET=demo …'
    assert said['Runs'] == ['demo s1r1    1 tested, on other data than is built now (fold0_seed1)']


def test_a_list_that_changed_is_found_by_the_run(told, place):
    path = Path('data/demo/fold0/test.csv')
    path.write_text(path.read_text().replace('S001', 'S901'))
    assert told()['Runs'] == [
        'demo s1r1    1 tested, on other data than is built now (fold0_seed1)']


def test_where_runs_stopped_and_how_they_go_on(told, place):
    def run(name, **values):
        folder = RUN.with_name(name)
        shutil.copytree(RUN, folder)
        rewrite(folder, **values)
        return folder

    run('fold1_seed1', fold=1, iterations=9, command="python3 -m tools.train --set 'a b'")
    run('fold2_seed1', fold=2, iterations=9)
    training = run('fold3_seed1', fold=3, iterations=9)
    (run('fold4_seed1', fold=4) / 'result.json').unlink()
    (run('fold5_seed1', fold=5) / 'run.json').write_text('{')
    run('fold0_seed2', seed=2, averaged_at=3)  # its averages are still those of iteration 3
    with open(training.with_name(f'.{training.name}.lock'), 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = told()
    (ours,) = said['Runs']
    for part in ('1 stopped at 5 of 5 (fold0_seed2)', '2 stopped at 5 of 9',
                 '1 in training, past 5 of 9 (fold3_seed1)',
                 '1 trained, not tested (fold4_seed1)', '1 tested (fold0_seed1)',
                 '1 damaged (runs/demo/s1r1/fold5_seed1/run.json cannot be read'):
        assert part in ours
    assert ('make report DATASET=demo  tables and figures of what was tested'
            in said['What to do next'])
    assert {"docker/enter python3 -m tools.train --set 'a b'",
            'make train DATASET=demo VARIANT=s1r1 FOLD=2 SEED=1 …',
            'make evaluate DATASET=demo VARIANT=s1r1 FOLD=4 SEED=1'} <= {
                *commands(said['What to do next'])}


def test_pretraining_is_not_tested(told, place):
    folder = Path('runs/people/generator/fold0_seed1')
    make_run(folder, 's1r1')
    rewrite(folder, variant='generator', dataset='people', fold=0)
    assert 'people generator 1 trained (fold0_seed1)' in told()['Runs']


def test_a_baseline_is_tested(told, place):
    folder = Path('runs/demo/hog/fold0_seed1')
    make_run(folder, 's1r1')
    rewrite(folder, variant='hog', dataset='demo', fold=0, iterations=0,
            **fold_data.fingerprint('demo', 0))
    shutil.rmtree(folder / 'snapshots')
    (folder / 'result.json').write_text('{"iterations": 0}')
    assert 'demo hog     1 tested (fold0_seed1)' in told()['Runs']


def test_both_halves_inside():
    done = subprocess.run([str(places.ROOT / 'docker/doctor')], stdout=subprocess.PIPE, text=True,
                          check=True)
    titles = [line for line in done.stdout.splitlines() if line and line[0] != ' ']
    assert titles == ['This machine', 'The way in', 'Caffe', 'Data sets', 'Runs',
                      'What to do next']
    assert not FOLDER.exists()
