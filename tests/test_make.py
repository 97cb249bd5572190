"""The Makefile: what a variable holds reaches a program as it is, and nothing of it is run; the way
in is chosen once; a fresh clone works under sudo."""
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import places
import pytest

ROOT = Path(__file__).resolve().parents[1]
# Plays python3 or an engine: writes its arguments, each with a NUL behind it.
PROGRAM = '#!/bin/sh\nprintf "%s\\0" "$@" >>"$FAKE_OUT"\nexit "${FAKE_STATUS:-0}"\n'
VALUES = ["Anna's/p.jpg", 'a$b.jpg', 'a$$b', '$(shell touch pwned)', '$(touch pwned)',
          "'; touch pwned; '", '"; touch pwned; "', '`touch pwned`', '${HOME}', 'a b:c', 'a#b',
          'a\\b', 'a\\ b', 'ends with a space ', 'new\nline', '*', '%', '-x.jpg', 'a=b', '"x"',
          '$(eval x := 1)', '\\', 'ü', '@(x)', '!x', '~', 'a,b', ')', '$']


@pytest.fixture
def make(tmp_path):
    """A function: make of a checkout's copy, inside the environment -> (exit status, the words of
    the programs that it calls, what it said)."""
    checkout, programs, out = tmp_path / 'checkout', tmp_path / 'bin', tmp_path / 'out'
    shutil.copytree(ROOT / 'docker', checkout / 'docker')
    shutil.copy(ROOT / 'Makefile', checkout)
    programs.mkdir()
    (programs / 'python3').write_text(PROGRAM)
    (programs / 'python3').chmod(0o755)

    def run(*words, **variables):
        out.unlink(missing_ok=True)
        environment = {'PATH': f'{programs}:/usr/bin:/bin', 'FAKE_OUT': str(out),
                       'GCNET_INSIDE': '1', **variables}
        done = subprocess.run(['make', *words], cwd=checkout, env=environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert not list(tmp_path.rglob('pwned'))
        called = out.read_text().split('\0')[:-1] if out.exists() else []
        return done.returncode, called, done.stdout
    run.checkout, run.programs, run.out = checkout, programs, out
    return run


@pytest.mark.parametrize('value', VALUES)
def test_a_value_is_one_word_of_a_program_and_nothing_of_it_is_run(make, value):
    targets = ['data', 'cv', 'predict']
    names = ['DATASET', 'RAW', 'WEIGHTS', 'SET', 'RUN', 'OUT', 'IMAGE']
    for status, called, said in (make(*targets, *(f'{name}={value}' for name in names)),
                                 make(*targets, '-e', **dict.fromkeys(names, value))):
        assert status == 0, said
        assert {f'--{name.lower()}={value}' for name in names[:-1]} <= set(called)
        assert called[-2:] == ['--', value]
    assert f'--split={value}' in make('data', f'SPLIT={value}')[1]
    make('data', f'JOIN={value}')


@pytest.mark.parametrize('goal, name', [
    ('cv', 'FOLD'), ('cv', 'GPU'), ('recipe', 'SEED'), ('recipe', 'SET'), ('demo', 'ITERS'),
    ('demo', 'FOLDS'), ('paper', 'VARIANT'), ('paper', 'LR'), ('train', 'FOLDS'),
    ('train', 'JOBS'), ('pretrain', 'WEIGHTS'), ('evaluate', 'SEEDS'), ('probe', 'FOLD'),
    ('baselines', 'VARIANTS'), ('balance-of-losses', 'FOLDS'), ('pretrain', 'GPU'),
    ('evaluate', 'LR'), ('tables', 'FOLDS'), ('figures', 'SEEDS'), ('report', 'VARIANTS'),
    ('recipe', 'VALIDATE'), ('train', 'SPLIT'), ('tables', 'REFERRED'), ('paper', 'JOIN')])
def test_what_another_command_takes_is_not_passed_over(make, goal, name):
    for status, called, said in make(goal, f'{name}=3'), make(goal, **{name: '3'}):
        assert status and not called
        assert f'make {goal} takes no {name}: see `make help`' in said
    assert make(goal, f'{name}=')[0] == 0  # no value


@pytest.mark.parametrize('word', ['ITER=1000', 'fold=3', 'VARIENT=cnn', 'BATCH_SIZE=16'])
def test_a_name_that_no_command_takes_is_refused(make, word):
    status, called, said = make('train', 'FOLD=3', word)
    assert status and not called and f'no command takes {word.split("=")[0]}: see' in said


def test_what_is_no_variable_of_ours_stays_allowed(make):
    for words in ('GCNET_CAFFE=native',), ('SHELL=/bin/sh', 'DOCKER_HOST=x', 'OMP_NUM_THREADS=2'):
        assert make('train', *words)[0] == 0


def test_the_data_set_of_the_environment_is_taken(make):
    assert '--dataset=ckplus7' in make('train', DATASET='ckplus7')[1]
    assert '--dataset=mmi' in make('train', 'DATASET=mmi', DATASET='ckplus7')[1]
    assert '--dataset=demo' in make('train')[1]


def test_a_join_is_not_built_with_options(make):
    status, called, said = make('data', 'DATASET=both', 'JOIN=a b', 'VALIDATE=0.1')
    assert status and not called and 'make data takes no VALIDATE' in said
    assert make('data', 'DATASET=both', 'JOIN=a b')[0] == 0


def test_what_a_command_takes_is_not_refused(make):
    text = (ROOT / 'Makefile').read_text()
    names = re.search(r'^values = ((?:.*\\\n)*.*)', text, re.M)[1].replace('\\', '').split()
    goals = set(re.findall(r'^([a-z-]+):.*##', text, re.M)) - {'demo', 'paper'}  # call others
    shown = {goal: make('-n', goal)[2] for goal in goals}
    taken = {(goal, name) for goal in goals for name in names
             if f'${{{name}:+' in shown[goal]} - {('cv', 'GPU')}  # tools.cv refuses it too
    assert len(taken) > 50
    for goal in goals:
        words = [f'{name}=1' for other, name in taken if goal == other]
        assert make('-n', goal, *words)[0] == 0, words
    assert make('demo', 'SEEDS=2', 'JOBS=1', 'GPUS=0', 'PRETRAINED=x')[0] == 0
    assert make('paper', *(f'{name}=1' for name in (
        'FOLDS', 'SEEDS', 'JOBS', 'GPUS', 'ITERS', 'RAW', 'WEBFACE', 'WORKERS')))[0] == 0
    for goal in 'predict', 'tables', 'serve':
        assert '--frequencies' in make(goal, 'FREQUENCIES=1')[1]
        assert '--frequencies' not in make(goal, 'FREQUENCIES=0')[1]


def test_make_demo_gives_values_on_to_the_make_that_it_calls(make):
    status, called, said = make('demo', "GPUS='$(touch pwned)", 'RAW=$(shell touch pwned) a')
    assert status == 0, said
    assert "--gpus='$(touch pwned)" in called and called.count('--raw=$(shell touch pwned) a') == 2


def test_make_clean_leaves_what_is_not_ours(make):
    kept = {'data/raw/mine/1.jpg', 'data/mine.points.csv'}
    for name in {'data/mine/folds.csv', 'data/raw/demo/x', 'data/raw/people/x', 'runs/x/y', *kept}:
        (make.checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (make.checkout / name).touch()
    for _ in range(2):
        assert make('clean')[0] == 0
        left = [path for folder in ('data', 'runs') for path in (make.checkout / folder).rglob('*')]
        assert {str(path.relative_to(make.checkout)) for path in left if path.is_file()} == kept
    shutil.rmtree(make.checkout / 'data')
    assert make('clean')[0] == 0


def test_a_variable_that_is_not_given_is_no_word(make):
    status, called, _ = make('train')
    assert (status, called) == (0, ['-m', 'tools.train', '--dataset=demo',
                                    '-m', 'tools.evaluate', '--dataset=demo'])
    assert make('bench', 'PART=data network')[1][-4:] == ['-m', 'tools.bench.measure', 'data',
                                                          'network']


def test_no_variable_has_the_name_of_a_command():
    text = (ROOT / 'Makefile').read_text()
    variables = set(re.findall(r'^(\w+) :?= ', text, re.M))
    targets = set(re.findall(r'^([a-z-]+):.*##', text, re.M))
    assert len(targets) > 20 and 'python' in variables
    assert not variables & (targets | {'make', 'both', 'of'})


# --- outside of the environment ---

ENGINE = '''#!/bin/sh
echo "$1" >>"$FAKE_OUT.asked"
case $1 in
    info) [ -e "$FAKE_DAEMON" ] ;;
    image) ;;
    run) printf '%s\\0' "$@" >>"$FAKE_OUT"; touch "$FAKE_SECOND" ;;
esac
'''


@pytest.fixture
def outside(make, tmp_path):
    """`make`, outside of the environment, with a docker and a podman; each has a daemon where the
    file of that name is there."""
    def add(name, text):
        (make.programs / name).write_text(text)
        (make.programs / name).chmod(0o755)

    add('docker', ENGINE.replace('$FAKE_DAEMON', str(tmp_path / 'docker')))
    add('podman', ENGINE.replace('$FAKE_DAEMON', str(tmp_path / 'podman')))
    add('id', '#!/bin/sh\necho 1000\n')

    def run(*words, **variables):
        return make(*words, GCNET_INSIDE='', FAKE_SECOND=str(tmp_path / 'docker'), **variables)
    return run


def test_make_help_asks_no_engine(outside, make):
    assert outside('help')[0] == 0
    assert not Path(f'{make.out}.asked').exists()


def test_an_engine_that_appears_under_way_changes_nothing(outside, tmp_path):
    (tmp_path / 'podman').touch()
    status, called, said = outside('demo')  # a docker daemon appears with the first program
    assert status == 0 and (tmp_path / 'docker').exists(), said
    assert said.count('in the podman image') > 5 and 'docker image' not in said
    # Asked again, the first engine is the one.
    assert 'in the docker image' in outside('tables')[2]
    assert 'in the podman image' in outside('tables', 'GCNET_WAY=podman')[2]


def test_no_way_in_is_said_once(outside):
    status, called, said = outside('tables')
    assert status != 0 and called == [] and said.count('no Docker or Podman engine answers') == 1


def test_a_disk_mounted_in_the_checkout_or_in_raw_is_seen_and_written(sudo):
    runs, disk = sudo.checkout / 'runs', sudo.place / 'disk'
    with places.small_disk(runs, 1 << 20), places.small_disk(disk, 1 << 20):
        for place in runs, disk:
            (place / 'earlier').touch()
            place.chmod(0o777)
        status, said = sudo(
            'look', f'RAW={sudo.place}', '--eval', 'look: export GCNET_READ = RAW\n'
            'look: ; docker/enter sh -c "ls runs $$RAW/disk; touch runs/later"')
        assert said.splitlines().count('earlier') == 2, said
        assert sorted(os.listdir(runs)) == ['earlier', 'later']


@pytest.mark.parametrize('name', ["Anna's", 'a:b', 'a\nb', 'a,b', '"a"', '$(touch pwned)', ' a '])
def test_the_folder_of_any_path_is_mounted(outside, tmp_path, name):
    (tmp_path / 'docker').touch()
    folder = tmp_path / 'raw' / name
    folder.mkdir(parents=True)
    (folder / 'p.jpg').touch()
    status, called, said = outside('predict', f'IMAGE={folder}/p.jpg', f'OUT={folder}/new',
                                   f'RUN={tmp_path}/bin', GCNET_MOUNTS=f'{tmp_path}/out.asked')
    assert status == 0, said
    volumes = [after for word, after in zip(called, called[1:]) if word == '--volume']
    mounts = [after for word, after in zip(called, called[1:]) if word == '--mount']
    assert f'{tmp_path}/bin:{tmp_path}/bin:ro' in volumes and f'{tmp_path}:{tmp_path}:ro' in volumes
    if set(name) & set(':\n"'):
        text = str(folder).replace('"', '""')
        assert mounts == [f'type=bind,"source={text}","target={text}"']
    else:
        assert f'{folder}:{folder}' in volumes  # OUT lies there, so it may be written
    assert called[-1] == f'{folder}/p.jpg'


def test_the_port_of_the_page_is_published_for_this_machine_alone(outside, tmp_path):
    (tmp_path / 'docker').touch()
    for words, port in ((), '8000'), (['PORT=8123'], '8123'):
        status, called, said = outside('serve', *words, GCNET_RUN_ARGS='--memory 8g')
        assert status == 0, said
        assert called[called.index('--publish') + 1] == f'127.0.0.1:{port}:{port}'
        assert f'GCNET_PUBLISHED={port}' in called and '--memory' in called
        assert called[-3:] == ['-m', 'tools.serve', f'--port={port}']
    assert not {'--publish', 'GCNET_PUBLISHED=8000'} & set(outside('tables')[1])

    # A container in the host's network would listen at every address of the host.
    for words in '--network host', '--net=host --memory 8g':
        status, called, said = outside('serve', GCNET_RUN_ARGS=words)
        assert status == 0 and words.split()[0] in called, said
        assert not {'--publish', 'GCNET_PUBLISHED=8000'} & set(called)


@pytest.mark.parametrize('port', ['http', '', '1 --privileged', '0.0.0.0:1'])
def test_what_is_no_port_is_not_published(outside, tmp_path, port):
    (tmp_path / 'docker').touch()
    status, called, said = outside('serve', f'PORT={port}')
    assert status != 0 and called == [] and f"PORT is '{port}': it must be a port" in said


def test_a_way_over_another_folder_is_there(outside, tmp_path):
    (tmp_path / 'docker').touch()
    (tmp_path / 'a/b').mkdir(parents=True)
    (tmp_path / 'c').mkdir()
    called = outside('data', f'RAW={tmp_path}/a/b/../../c', 'DATASET=own')[1]
    assert f'{tmp_path}/c:{tmp_path}/c:ro' in called
    assert called[called.index('--tmpfs') + 1] == f'{tmp_path}/a/b'


# --- for real, where root may mount: this environment as a root file system ---

@pytest.fixture
def sudo(tmp_path):
    """A function: make in a clone that belongs to user 1234, as sudo runs it for that user ->
    (exit status, output). Its `place` is a folder of that user's."""
    if not places.may_mount():
        pytest.skip('only root that may mount enters a root file system')
    checkout, cache, place = tmp_path / 'clone', tmp_path / 'cache', tmp_path / 'place'
    for name in 'Makefile', 'docker', 'data_prep', 'layers', 'prototxt', 'tools':
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, checkout / name,
                            ignore=shutil.ignore_patterns('__pycache__'))
        else:
            checkout.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, checkout)
    place.mkdir()
    tmp_path.chmod(0o755)
    for path in [checkout, place, *checkout.rglob('*')]:
        os.chown(path, 1234, 1234)
    parts = ['packages.txt', 'install', 'caffe_without_gpu', 'build_caffe',
             *sorted(f'patches/{path.name}' for path in (ROOT / 'docker/patches').iterdir()),
             'Dockerfile', 'rootfs']
    recipe = b''.join((ROOT / 'docker' / part).read_bytes() for part in parts)
    root = cache / f'rootfs-{hashlib.sha256(recipe).hexdigest()[:12]}'
    root.mkdir(parents=True)

    def run(*words):
        done = subprocess.run(
            ['unshare', '--mount', 'sh', '-c', 'mount --bind / "$1" && shift && exec "$@"', '-',
             root, 'make', '-C', checkout, *words], text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env={
                'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'SUDO_UID': '1234', 'SUDO_GID': '1234',
                'GCNET_CACHE': str(cache), 'GCNET_WAY': 'rootfs'})
        return done.returncode, done.stdout
    run.checkout, run.place = checkout, place
    return run


def test_the_first_half_of_the_demo_in_a_fresh_clone_under_sudo(sudo):
    # The first line of `make data`, with fewer people.
    status, said = sudo('draw', '--eval', 'draw: ; docker/enter python3 -m data_prep.drawn.'
                        'demo_faces --out data/raw/few --people 11')
    assert status == 0, said
    status, said = sudo('data', 'RAW=data/raw/few', 'FRAMES=1')
    assert status == 0, said
    status, said = sudo('train', 'ITERS=1', 'BATCH=2', 'VARIANT=cnn', 'GPU=none')
    assert status == 0 and 'accuracy' in said, said
    made = [path for path in sudo.checkout.rglob('*')]
    assert sudo.checkout / 'runs/demo/cnn/fold0_seed1/result.json' in made
    assert {path.stat().st_uid for path in made} == {1234}
    assert [path for path in made if path.name == '__pycache__'] == []


@pytest.mark.parametrize('name', ["Anna's", 'a:b', 'a\nb', 'a,b', '"a"', 'ends\n'])
def test_any_folder_is_read_and_out_beside_it_is_written_by_the_caller(sudo, name):
    folder = sudo.place / name
    folder.mkdir()
    (folder / 'p.jpg').write_bytes(b'no picture')
    os.chown(folder, 1234, 1234)
    status, said = sudo('predict', f'IMAGE={folder}/p.jpg', f'OUT={folder}/new')
    assert 'is not there' not in said and 'Traceback' not in said
    assert 'p.jpg' in said.replace('\\n', '\n') and status != 0, said
