"""The environment: what packages.txt promises is there; docker/enter picks its way and passes on
its orders.

Runs inside the environment: engines, mmdebstrap and other users are played by small programs first
on PATH.
"""
import ctypes
import fcntl
import hashlib
import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import outside
import places
import pytest

DOCKER = Path('docker').resolve()
LINE = re.compile(r'(apt|pip|cuda) +([\w.+-]+) +([^\s=]+) +([^\s=]+)(?: +#.*)?')
DEBIAN = re.search('^VERSION_ID="(11|12)"', Path('/etc/os-release').read_text(), re.M)[1]


def package_lines():
    lines = (DOCKER / 'packages.txt').read_text().splitlines()
    return [line for line in lines if line.strip() and not line.startswith('#')]


def packages():
    """(kind, name, its version in this Debian) of each package that stays here."""
    for line in package_lines():
        kind, name, *versions = LINE.fullmatch(line).groups()
        version = versions[int(DEBIAN) - 11]
        # Caffe's source has the version of Debian 11's package everywhere.
        if kind != 'cuda' and 'caffe' in name:
            version = versions[0]
        if kind != 'cuda' and version != '-':
            yield kind, name, version


# --- the packages ---

def test_every_package_is_named_once_and_pinned():
    matches = [(line, LINE.fullmatch(line)) for line in package_lines()]
    assert [line for line, match in matches if not match] == []
    names = [match[2] for _, match in matches]
    assert len(names) > 10 and len(set(names)) == len(names)


@pytest.mark.parametrize('kind, name, version', packages())
def test_installed_version(kind, name, version):
    if kind == 'apt':
        query = ['dpkg-query', '--show', '--showformat', '${db:Status-Status} ${Version}', name]
        installed = subprocess.check_output(query, text=True)
        if 'caffe' in name:
            # what docker/build_caffe compiled says so
            installed = re.sub(r'\+(cuda|native)$', '', installed)
        assert installed == 'installed ' + version
    else:
        assert importlib.metadata.version(name) == version


def test_blas_is_openblas():
    ctypes.CDLL('libblas.so.3')
    loaded = {
        os.path.realpath(line.split()[-1])
        for line in Path('/proc/self/maps').read_text().splitlines()
        if 'libblas' in line
    }
    assert loaded and all('openblas' in path for path in loaded)


NET = '''
name: "twice"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "y" type: "Python" bottom: "x" top: "y"
  python_param { module: "twice_layer" layer: "Twice" } }
'''
LAYER = '''
import caffe
class Twice(caffe.Layer):
    def setup(self, bottom, top): pass
    def reshape(self, bottom, top): top[0].reshape(*bottom[0].shape)
    def forward(self, bottom, top): top[0].data[...] = 2 * bottom[0].data
    def backward(self, top, propagate_down, bottom): bottom[0].diff[...] = 2 * top[0].diff
'''


@pytest.fixture
def net(tmp_path, monkeypatch):
    """The path of a net with one Python layer that doubles its input."""
    (tmp_path / 'twice_layer.py').write_text(LAYER)
    (tmp_path / 'net.prototxt').write_text(NET)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    return str(tmp_path / 'net.prototxt')


def test_caffe_module_runs_a_python_layer(net):
    import caffe
    twice = caffe.Net(net, caffe.TEST)
    twice.blobs['x'].data[...] = np.arange(6).reshape(2, 3)
    assert twice.forward()['y'].tolist() == [[0, 2, 4], [6, 8, 10]]


def test_caffe_program_runs_a_python_layer_and_leaves_no_log_files(net, tmp_path):
    logs = tmp_path / 'logs'
    logs.mkdir()
    # glog writes below TEST_TMPDIR, where it writes files at all.
    done = subprocess.run(['caffe', 'time', '-model', net, '-iterations', '1'],
                          capture_output=True, text=True,
                          env={**os.environ, 'GLOG_minloglevel': '0', 'TEST_TMPDIR': str(logs)})
    assert done.returncode == 0 and 'Average Forward-Backward' in done.stderr
    assert list(logs.iterdir()) == []


def test_python_leaves_nothing_beside_the_programs(tmp_path):
    # A full disk would cut it, and every later command would end in an EOFError.
    (tmp_path / 'module.py').write_text('')
    subprocess.run(['python3', '-c', 'import module'], check=True, cwd=tmp_path)
    assert os.listdir(tmp_path) == ['module.py']


# --- caffe without GPUs ---

CAFFE_SOLVER = '''
train_net: "net.prototxt"
base_lr: 0.1
lr_policy: "fixed"  # as is
max_iter: 3
{}
'''
TRAINED_NET = '''
layer { name: "x" type: "DummyData" top: "x" top: "t" dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 4 dim: 2 } data_filler { type: "gaussian" } } }
layer { name: "y" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2
  weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
'''
no_gpu_build = pytest.mark.skipif(shutil.which('caffe') != '/usr/local/bin/caffe',
                                  reason='Caffe is compiled for CUDA here')


@no_gpu_build
@pytest.mark.parametrize('words', [['-solver', 'some solver.prototxt'],
                                   ['--solver=some solver.prototxt', '-sigint_effect', 'stop']])
@pytest.mark.parametrize('mode, said', [
    ('solver_mode: GPU\nsnapshot_prefix: "made"', True), ('solver_mode : GPU  # the K80', True),
    ('solver_mode: CPU\nsnapshot_prefix: "made"', False), ('# solver_mode: GPU', False)])
def test_a_solver_for_a_gpu_trains_on_the_cpu_as_that_for_a_cpu(tmp_path, words, mode, said):
    (tmp_path / 'net.prototxt').write_text(TRAINED_NET)
    (tmp_path / 'some solver.prototxt').write_text(CAFFE_SOLVER.format(mode))
    done = subprocess.run(['caffe', 'train', *words], cwd=tmp_path, stderr=subprocess.PIPE,
                          text=True, env={**os.environ, 'GLOG_minloglevel': '0'})
    assert done.returncode == 0 and 'Optimization Done' in done.stderr, done.stderr
    assert done.stderr.startswith('caffe: no GPU build: on the CPU\n') == said
    prefix = 'made' if 'made' in mode else 'some solver'
    assert sorted(os.listdir(tmp_path)) == sorted([
        'net.prototxt', 'some solver.prototxt', prefix + '_iter_3.caffemodel',
        prefix + '_iter_3.solverstate'])

    # Resumed by the same line, with one word more.
    longer = CAFFE_SOLVER.format(mode).replace('max_iter: 3', 'max_iter: 5')
    (tmp_path / 'some solver.prototxt').write_text(longer)
    subprocess.run(['caffe', 'train', *words, '-snapshot', prefix + '_iter_3.solverstate'],
                   cwd=tmp_path, stderr=subprocess.PIPE, check=True)
    assert (tmp_path / (prefix + '_iter_5.caffemodel')).is_file()


@no_gpu_build
def test_a_gpu_that_is_asked_for_by_name_is_not_there(tmp_path):
    (tmp_path / 'net.prototxt').write_text(TRAINED_NET)
    (tmp_path / 'solver.prototxt').write_text(CAFFE_SOLVER.format('solver_mode: GPU'))
    done = subprocess.run(['caffe', 'train', '-solver', 'solver.prototxt', '-gpu', '0'],
                          cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert done.returncode != 0 and 'Cannot use GPU in CPU-only Caffe' in done.stderr


CORE = '''import ctypes
name = ctypes.CDLL('libopenblas.so.0').openblas_get_corename
name.restype = ctypes.c_char_p
print(name().decode())'''


def test_openblas_takes_the_vectors_that_the_processor_has():
    flags = next(line for line in Path('/proc/cpuinfo').read_text().splitlines()
                 if line.startswith('flags')).split()
    if 'avx2' not in flags:
        pytest.skip('this processor has no AVX2')
    environment = {name: value for name, value in os.environ.items() if name != 'OPENBLAS_CORETYPE'}

    def core(**variables):
        done = subprocess.run([str(DOCKER / 'enter'), 'python3', '-c', CORE], capture_output=True,
                              text=True, check=True,
                              env={**environment, 'GCNET_INSIDE': '1', **variables})
        return done.stdout.strip()

    assert core() == ('SkylakeX' if 'avx512vl' in flags else 'Haswell')
    assert core(OPENBLAS_CORETYPE='Nehalem') == 'Nehalem'  # the caller's word stands


# --- the way in ---

ENGINE = '''#!/bin/sh
# Docker or Podman: writes its arguments, one a line, and the build's context; answers as FAKE_*
# say.
case $1 in
    info) echo "$FAKE_INFO"; exit "${FAKE_INFO_STATUS:-0}" ;;
    image) exit "${FAKE_INSPECT_STATUS:-0}" ;;
    build)
        for context; do :; done
        ls "$context" >"$FAKE_OUT.context"
        printf '%s\\n' "$@" >"$FAKE_OUT.build"
        echo "$FAKE_BUILD_OUTPUT" >&2
        exit "${FAKE_BUILD_STATUS:-0}" ;;
    kill) echo "$*" >>"$FAKE_OUT.kill"; exit ;;
esac
printf '%s\\n' "$0" "$@" >"$FAKE_OUT"
exit 23
'''
ID = '''#!/bin/sh
case $* in
    -u) echo "$FAKE_UID" ;;
    -g) echo "$FAKE_UID" ;;
    *) echo "${2:-$FAKE_UID} 4321" ;;
esac
'''
# Whose the checkout is
STAT = '''#!/bin/sh
if [ "$*" = "-c %u ." ]; then echo "${FAKE_OWNER:-1234}"; else exec /usr/bin/stat "$@"; fi
'''
# In place of unshare and all that it starts: the making of a tree, or a command in one.
UNSHARE = '''#!/bin/bash
case " $* " in
    " --mount true ") exit "${FAKE_MAY_MOUNT:-0}" ;;
    *" mmdebstrap "*)
        for word; do case $word in *.partial) mkdir -p "$word/usr" ;; esac; done
        cat >"$FAKE_OUT.sources"
        printf '%s\\n' "$@" >"$FAKE_OUT.making"
        echo "$FAKE_MAKING_OUTPUT"
        sleep "${FAKE_MAKING_SECONDS:-0}"
        exit "${FAKE_MAKING_STATUS:-0}" ;;
esac
printf '%s\\n' "$@" >"$FAKE_OUT"
exit 24
'''


ROOMY = '#!/bin/sh\necho Avail\necho 20000000\n'  # df: tmp_path may have less than CUDA needs


@pytest.fixture
def host(tmp_path):
    """A checkout named "check out" with docker/ in it, outside of the environment, on a made-up
    machine."""
    checkout, cache, programs, out = (tmp_path / name
                                      for name in ('check out', 'cache', 'bin', 'out'))
    shutil.copytree(DOCKER, checkout / 'docker')
    programs.mkdir()

    def add(name, text):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)

    add('id', ID)
    add('unshare', UNSHARE)
    add('stat', STAT)
    add('setpriv', '#!/bin/sh\nshift 2\nexec "$@"\n')
    for program in 'docker', 'podman', 'mmdebstrap', 'mount':
        add(program, '#!/bin/sh\nexit 1\n')  # the engines: a client, but no daemon
    environment = {
        'PATH': '%s:%s' % (programs, os.environ['PATH']), 'FAKE_OUT': str(out), 'FAKE_UID': '1000',
        'GCNET_CACHE': str(cache), 'TERM': 'dumb'
    }

    start, enter = outside.entering(checkout, environment, timeout=60)
    recipe = [DOCKER / 'packages.txt', DOCKER / 'install', DOCKER / 'caffe_without_gpu',
              DOCKER / 'build_caffe', *sorted((DOCKER / 'patches').iterdir()),
              DOCKER / 'Dockerfile', DOCKER / 'rootfs']
    version = hashlib.sha256(b''.join(path.read_bytes() for path in recipe)).hexdigest()[:12]
    return SimpleNamespace(
        checkout=checkout, cache=cache, programs=programs, out=out, environment=environment,
        add=add, start=start, enter=enter, arguments=lambda: out.read_text().splitlines(),
        image='gcnet-caffe:' + version, root=cache / ('rootfs-' + version))


def sentence(err):
    """The last line of standard error, which has to be one from docker/enter."""
    last = err.strip().splitlines()[-1]
    assert last.startswith('docker/enter: ')
    return last


def test_inside_the_command_runs_as_it_is():
    assert subprocess.check_output(['docker/enter', '--which'], text=True) == 'inside\n'
    process = subprocess.Popen(['docker/enter', 'sh', '-c', 'echo "$1" $$; exit 7', '-', 'a  b'],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.communicate() == ('a  b %d\n' % process.pid, '') and process.returncode == 7


def test_its_own_help_and_no_other_option(host):
    status, out, err = host.enter('--help')
    assert (status, err) == (0, '') and out.startswith('docker/enter COMMAND ARGUMENTS...: run a ')
    assert 'GCNET_MOUNTS' in out and 'set -eu' not in out
    status, out, err = host.enter('-x', FAKE_UID='0')
    assert (status, out) == (1, '') and '-x is no command' in sentence(err)


def test_a_client_without_a_daemon_is_no_engine(host):
    assert host.enter('--which', FAKE_UID='0') == (0, 'rootfs\n', '')
    status, out, err = host.enter('true')
    assert (status, out, err.count('\n')) == (1, '', 1)
    assert 'no Docker or Podman engine' in sentence(err) and 'sudo' in sentence(err)


def test_root_that_may_not_mount_is_told_so(host):
    status, _, err = host.enter('true', FAKE_UID='0', FAKE_MAY_MOUNT='1')
    assert status == 1 and 'may not mount' in sentence(err)


def test_the_first_engine_that_works(host):
    host.add('podman', ENGINE)
    assert host.enter('--which', FAKE_UID='0') == (0, 'podman\n', '')
    host.add('docker', ENGINE)
    assert host.enter('--which', FAKE_UID='0') == (0, 'docker\n', '')
    assert host.enter('--which', FAKE_UID='0', GCNET_WAY='rootfs') == (0, 'rootfs\n', '')
    status, _, err = host.enter('--which', GCNET_WAY='docker', FAKE_INFO_STATUS='1')
    assert status == 1 and '`docker info` fails' in sentence(err)
    status, _, err = host.enter('--which', GCNET_WAY='lxc')
    assert status == 1 and 'GCNET_WAY is lxc' in sentence(err)


def after(arguments, option):
    """All values that follow option."""
    return [value for name, value in zip(arguments, arguments[1:]) if name == option]


def test_docker_is_called_with_mounts_user_image_and_command(host, tmp_path):
    host.add('docker', ENGINE)
    raw, shared = tmp_path / 'CK+ data', tmp_path / 'shared'
    raw.mkdir()
    shared.mkdir()
    (tmp_path / 'link').symlink_to(raw)
    mounts = ':'.join([str(raw), str(tmp_path / 'link'), '../CK+ data', str(tmp_path / 'missing')])
    status, _, err = host.enter('caffe', 'a  b', GCNET_MOUNTS=mounts, GCNET_RUN_ARGS='--gpus all',
                                CI='true', OPENBLAS_CORETYPE='Zen', OPENBLAS_NUM_THREADS='2',
                                CUDA_VISIBLE_DEVICES='1', SECRET='x')
    assert status == 23 and sentence(err) == 'docker/enter: in the docker image ' + host.image
    arguments = host.arguments()
    assert arguments[:3] == [str(host.programs / 'docker'), 'run', '--rm'
                             ] and '--tty' not in arguments
    assert arguments[-5:] == ['--gpus', 'all', host.image, 'caffe', 'a  b']
    assert after(arguments, '--user') == ['1000:1000'] and after(arguments,
                                                                 '--group-add') == ['1000', '4321']
    name, = after(arguments, '--name')
    assert re.fullmatch(r'gcnet-\d{4}-\d{6}-\d+', name)
    assert after(arguments, '--env') == [
        f'GCNET_CONTAINER=docker {name}', 'OPENBLAS_CORETYPE=Zen', 'OPENBLAS_NUM_THREADS=2',
        'CUDA_VISIBLE_DEVICES=1', 'CI=true', 'TERM=dumb', f'GCNET_MOUNTS={mounts}'
    ]
    volumes = [volume for volume in after(arguments, '--volume') if 'ca-certificates' not in volume]
    assert volumes == [
        '%s:/gcnet' % host.checkout,
        '%s:/shared:ro' % shared,
        '%s:%s:ro' % (raw, raw),
        '%s:%s:ro' % (raw, tmp_path / 'link'),
        '%s:/CK+ data:ro' % raw
    ]


def test_a_container_whose_client_is_gone_is_told_to_end(host):
    host.add('docker', ENGINE.replace('exit 23', 'exec sleep 60'))
    told = Path(str(host.out) + '.kill')
    process = host.start('true')
    wait_for(lambda: host.out.exists() and 'true' in host.arguments())
    assert not told.exists()
    process.kill()
    process.communicate()
    wait_for(lambda: told.exists() and told.read_text())
    name, = after(host.arguments(), '--name')
    assert told.read_text() == f'kill --signal TERM {name}\n'


def test_a_container_that_may_not_write_gets_a_folder_for_temporary_files(host):
    host.add('docker', ENGINE)
    for words, expected in ('--read-only', ['/tmp:exec']), ('--read-only-not', []):
        host.enter('true', GCNET_RUN_ARGS=words)
        assert after(host.arguments(), '--tmpfs') == expected


def test_under_sudo_the_caller_runs_the_command_and_in_a_rootless_engine_root(host):
    host.add('docker', ENGINE)
    host.enter('true', FAKE_UID='0', SUDO_UID='1234', SUDO_GID='1235')
    assert after(host.arguments(), '--user') == ['1234:1235']
    host.enter('true', FAKE_UID='0', SUDO_UID='1234', SUDO_GID='1235', FAKE_OWNER='0')
    assert after(host.arguments(), '--user') == ['0:0']  # who called it could write nothing there
    for info in (' Security Options:\n  seccomp\n  rootless\n', '  security:\n    rootless: true\n',
                 ' Operating System: Docker Desktop\n'):
        host.enter('true', FAKE_INFO=info)
        assert after(host.arguments(), '--user') == ['0:0'
                                                     ] and '--group-add' not in host.arguments()


def test_links_to_a_larger_disk_can_be_written(host, tmp_path):
    host.add('docker', ENGINE)
    disk = tmp_path / 'disk'
    (disk / 'runs').mkdir(parents=True)
    (host.checkout / 'runs').symlink_to(disk / 'runs')
    (host.checkout / 'data').mkdir()
    (host.checkout / 'data/own').symlink_to(disk)
    (tmp_path / 'scratch').symlink_to(disk)
    (host.checkout / 'predictions').symlink_to('../scratch/runs')  # by two links, one relative
    (host.checkout / 'data/taken').symlink_to('/proc')
    (disk / 'folds.csv').touch()
    _, _, err = host.enter('true', GCNET_READ='SPLIT', SPLIT='data/own/folds.csv')
    volumes = after(host.arguments(), '--volume')
    assert f'{disk}/runs:{disk}/runs' in volumes and f'{disk}:{disk}' in volumes
    assert f'{disk}/runs:/scratch/runs' in volumes  # where ../scratch is seen from /gcnet
    assert not [name for name in volumes if name.endswith(':ro') and str(disk) in name]
    assert 'data/taken leads to /proc, which cannot be seen inside' in err


def test_in_the_background_the_terminal_is_not_read(host):
    host.add('docker', ENGINE.replace('exit 23', 'readlink /proc/self/fd/0 >"$FAKE_OUT.stdin"'))
    for command, expected in ('docker/enter true', '/dev/pts/'), (
            'set -m; docker/enter true & wait', '/dev/null'):
        script = f'import pty, sys; sys.exit(pty.spawn(["bash", "-c", {command!r}]))'
        subprocess.run([sys.executable, '-c', script], cwd=host.checkout, env=host.environment,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60)
        assert Path(f'{host.out}.stdin').read_text().startswith(expected)


def test_a_cluster_s_task_gets_its_own_cards(host):
    host.add('docker', ENGINE)
    host.add('nvidia-smi', '#!/bin/sh\ncase $* in *uuid*) printf "GPU-1\\nGPU-2\\n" ;; esac\n')
    host.enter('true', GCNET_CAFFE='cuda', SLURM_JOB_ID='7')
    assert after(host.arguments(), '--gpus') == ['"device=GPU-1,GPU-2"']


def test_a_file_system_without_such_locks_and_docker_of_a_snap(host, tmp_path):
    host.add('docker', ENGINE)
    host.add('flock', '#!/bin/sh\necho "flock: Bad file descriptor" >&2\nexit 65\n')
    host.add('readlink', '#!/bin/sh\necho /usr/bin/snap\n')
    status, _, err = host.enter('true', FAKE_INSPECT_STATUS='1', HOME=str(tmp_path))
    assert status == 23 and 'another process' not in err and 'Bad file' not in err
    built = Path(str(host.out) + '.build').read_text().splitlines()
    assert Path(built[-1]).parent == tmp_path and not Path(built[-1]).exists()


def test_an_image_that_is_missing_is_built_once(host, tmp_path):
    host.add('docker', ENGINE)
    assert host.enter('true', FAKE_INSPECT_STATUS='1')[0] == 23
    context = Path(str(host.out) + '.context')
    assert {'Dockerfile', 'install', 'caffe_without_gpu', 'build_caffe', 'patches', 'packages.txt'
            } <= set(context.read_text().split())
    context.unlink()
    assert host.enter('true')[0] == 23 and not context.exists()
    host.out.unlink()
    status, _, err = host.enter('true', FAKE_INSPECT_STATUS='1', FAKE_BUILD_STATUS='1',
                                TMPDIR=str(tmp_path),
                                FAKE_BUILD_OUTPUT='dial tcp: lookup registry: no such host')
    assert status == 1 and 'no network' in sentence(err) and not host.out.exists()


@pytest.mark.parametrize('output, expected', [
    ('Error response from daemon: Get "https://registry.example/v2/": dial tcp: lookup '
     'registry.example: no such host', 'no network from the engine to its registry'),
    ('Get "https://registry.example/v2/": net/http: request canceled while waiting for '
     'connection (Client.Timeout exceeded while awaiting headers)', 'from the engine to its reg'),
    ('toomanyrequests: You have reached your pull rate limit.', 'too many requests'),
    ('pull access denied for nosuch, repository does not exist or may require docker login',
     'access to the base image was denied'),
    ('Got permission denied while trying to connect to the Docker daemon socket at '
     'unix:///var/run/docker.sock', "may not use the engine's socket"),
    ('Get "https://registry.example/v2/": x509: certificate signed by unknown authority',
     "does not accept its registry's certificate"),
    ('ERROR: failed to solve: Canceled: context canceled', 'interrupted'),
    ('Err:1 http://mirror.example bullseye\n  Could not connect to mirror.example:80', 'PyPI')])
def test_a_failed_image_says_why_and_names_the_other_way(host, tmp_path, output, expected):
    host.add('docker', ENGINE)
    status, _, err = host.enter('true', FAKE_INSPECT_STATUS='1', FAKE_BUILD_STATUS='1',
                                TMPDIR=str(tmp_path), FAKE_BUILD_OUTPUT=output,
                                GCNET_BUILD_ARGS='--network host')
    assert status == 1 and expected in sentence(err) and 'GCNET_WAY=rootfs' in sentence(err)
    assert after(Path(str(host.out) + '.build').read_text().splitlines(), '--network') == ['host']


@pytest.mark.parametrize('kind, suite', [('', 'bullseye'), ('native', 'bullseye'),
                                         ('cuda', 'bookworm')])
@pytest.mark.parametrize('mirror, addresses', [
    ('http://old.example/debian',
     ('http://old.example/debian', 'http://old.example/debian-security')),
    ('https://a/x  http://b/y', ('https://a/x', 'http://b/y')), ('', None)])
def test_every_build_is_on_its_debian_and_may_have_another_mirror(host, kind, suite, mirror,
                                                                  addresses):
    expected = ''
    if addresses:
        expected = 'deb {0} {2} main\ndeb {1} {2}-security main'.format(*addresses, suite)
    host.add('df', ROOMY)
    environment = dict(GCNET_CAFFE=kind, GCNET_MIRROR=mirror)
    assert host.enter('true', FAKE_UID='0', **environment)[0] == 24
    assert Path(f'{host.out}.sources').read_text() == expected + '\n'
    made = Path(f'{host.out}.making').read_text().splitlines()
    partial = f'{host.root}-{kind}.partial' if kind else f'{host.root}.partial'
    assert made[made.index(partial) - 1:] == [suite, partial] + (['-'] if mirror else [])

    host.add('docker', ENGINE)
    host.enter('true', FAKE_INSPECT_STATUS='1', GCNET_WAY='docker', **environment)
    built = Path(f'{host.out}.build').read_text()
    assert f'--build-arg\nSOURCES={expected}\n' in built
    assert f'--build-arg\nBASE=debian:{suite}-slim\n' in built


@pytest.mark.parametrize('mirror', ['old.example', 'http://old.example/packages', 'http://a b',
                                    'http://a/debian http://b http://c'])
def test_a_mirror_that_is_none_is_one_sentence(host, mirror):
    status, _, err = host.enter('true', FAKE_UID='0', GCNET_MIRROR=mirror)
    assert status == 1 and err.count('\n') == 1 and f'GCNET_MIRROR is {mirror}' in sentence(err)
    assert not host.cache.exists()


def test_a_way_whose_environment_is_made_comes_first(host):
    host.add('docker', ENGINE)
    assert host.enter('--which', FAKE_UID='0', FAKE_INSPECT_STATUS='1') == (0, 'docker\n', '')
    host.root.mkdir(parents=True)
    assert host.enter('--which', FAKE_UID='0', FAKE_INSPECT_STATUS='1') == (0, 'rootfs\n', '')
    assert host.enter('--which', FAKE_UID='0') == (0, 'docker\n', '')


@pytest.mark.parametrize('script, variables, expected', [
    ('echo "error during connect: no such host"', {'DOCKER_HOST': 'tcp://nowhere'},
     'DOCKER_HOST is tcp://nowhere, where none answers (error during connect: no such host)'),
    ('echo "Got permission denied: dial unix /var/run/docker.sock"', {}, 'who is not in its group'),
    ('sleep 30', {}, 'docker says nothing for 5 s')])
def test_an_engine_that_is_there_and_cannot_be_used_is_told(host, script, variables, expected):
    host.add('docker', f'#!/bin/sh\n{script}\necho "errors pretty printing info"\nexit 1\n')
    status, out, err = host.enter('--which', FAKE_UID='0', **variables)
    assert (status, out) == (0, 'rootfs\n')
    assert expected in sentence(err) and sentence(err).endswith(': taking rootfs instead')
    status, _, err = host.enter('true', **variables)
    assert status == 1 and expected in sentence(err) and err.count('\n') == 1


def test_a_daemon_with_users_of_its_own_is_asked_for_the_hosts(host):
    host.add('docker', ENGINE)
    host.enter('true', FAKE_INFO=' Security Options:\n  seccomp\n  userns\n')
    assert after(host.arguments(), '--userns') == ['host']


def test_gpus_are_asked_for_where_there_are_some_and_caffe_can_use_them(host):
    host.add('docker', ENGINE)
    host.add('nvidia-smi', '#!/bin/sh\nexit "$FAKE_STATUS"\n')
    for kind, status, expected in ('cuda', '0', ['all']), ('cuda', '9', []), ('native', '0', []):
        code, _, err = host.enter('true', GCNET_CAFFE=kind, FAKE_STATUS=status)
        assert code == 23 and after(host.arguments(), '--gpus') == expected
        assert ("NVIDIA's container toolkit is not here" in err) == bool(expected)
    host.add('nvidia-ctk', '#!/bin/sh\n')
    assert 'toolkit' not in host.enter('true', GCNET_CAFFE='cuda', FAKE_STATUS='0')[2]


def test_a_folder_that_would_hide_the_system_is_refused(host):
    host.root.mkdir(parents=True)
    for folder in '/', '/usr', '/tmp', '/etc/':
        status, _, err = host.enter('true', FAKE_UID='0', GCNET_MOUNTS=folder)
        assert status == 1 and 'that name is taken' in sentence(err)


# --- the root file system ---

def test_the_root_file_system_is_made_once_and_then_found(host):
    (host.cache / (host.root.name + '.partial.tmp')).mkdir(parents=True)  # what a killed one left
    status, _, err = host.enter('true', FAKE_UID='0')
    assert status == 24 and 'making the root file system %s' % host.root in err
    assert os.listdir(host.cache) == [host.root.name] and os.listdir(host.root) == ['usr']
    status, _, err = host.enter('caffe', 'a  b', FAKE_UID='0', SUDO_UID='1234', SUDO_GID='1235',
                                SECRET='x', OPENBLAS_CORETYPE='Zen')
    assert status == 24 and err == 'docker/enter: in the root file system %s\n' % host.root
    arguments = host.arguments()
    command = arguments[arguments.index('chroot'):]
    assert command[1:3] == ['--userspec=1234:1235', '--groups=1234,4321']
    assert command[-4:] == ['OPENBLAS_CORETYPE=Zen', 'TERM=dumb', 'caffe', 'a  b'
                            ] and not any('SECRET' in word for word in command)
    # The environment is the Dockerfile's, where it is written once.
    dockerfile = (DOCKER / 'Dockerfile').read_text()
    assert re.findall('^ENV (.*)', dockerfile, re.M) == command[command.index('env') + 3:-4]


def test_what_a_driver_compiles_stays_in_the_checkout_and_out_of_git():
    dockerfile = (DOCKER / 'Dockerfile').read_text()
    path = re.search('^ENV CUDA_CACHE_PATH=/gcnet(/.*)', dockerfile, re.M)[1]
    assert f'{path}/' in (DOCKER.parent / '.gitignore').read_text().splitlines()


def test_a_changed_package_list_is_a_new_environment(host):
    host.root.mkdir(parents=True)
    assert 'making' not in host.enter('true', FAKE_UID='0')[2]
    with open(host.checkout / 'docker/packages.txt', 'a') as packages:
        packages.write('apt hello 2.10-2 2.10-3\n')
    assert 'making' in host.enter('true', FAKE_UID='0')[2]
    assert len(os.listdir(host.cache)) == 2


@pytest.mark.parametrize('kind', ['cuda', 'native'])
def test_another_build_of_caffe_is_an_environment_beside_the_default(host, kind):
    host.add('df', ROOMY)
    assert host.enter('true', FAKE_UID='0', GCNET_CAFFE=kind)[0] == 24
    assert os.listdir(host.cache) == [host.root.name + '-' + kind]
    assert 'KIND=' + kind in Path(str(host.out) + '.making').read_text().splitlines()
    host.enter('true', FAKE_UID='0')
    assert sorted(os.listdir(host.cache)) == [host.root.name, host.root.name + '-' + kind]
    host.add('docker', ENGINE)
    _, _, err = host.enter('true', GCNET_CAFFE=kind, FAKE_INSPECT_STATUS='1')
    assert sentence(err) == 'docker/enter: in the docker image %s-%s' % (host.image, kind)
    assert 'CAFFE=' + kind in after(
        Path(str(host.out) + '.build').read_text().splitlines(), '--build-arg')


def test_the_fast_caffe_is_taken_where_it_is_made_and_else_it_is_said_how(host):
    status, _, err = host.enter('true', FAKE_UID='0', GCNET_CAFFE='fast')
    assert status == 24 and 'GCNET_CAFFE=native make shell' in err
    assert os.listdir(host.cache) == [host.root.name]
    assert host.enter('--which', FAKE_UID='0', GCNET_CAFFE='fast') == (0, 'rootfs\n', '')

    (host.cache / f'{host.root.name}-native').mkdir()
    status, _, err = host.enter('true', FAKE_UID='0', GCNET_CAFFE='fast')
    assert status == 24 and sentence(err).endswith(f'{host.root.name}-native')
    assert 'twice as fast' not in err
    assert sentence(host.enter('true', FAKE_UID='0')[2]).endswith(host.root.name)

    host.add('docker', ENGINE)
    _, _, err = host.enter('true', GCNET_CAFFE='fast')
    assert sentence(err) == f'docker/enter: in the docker image {host.image}-native'


def test_a_gpu_that_is_not_used_for_what_takes_hours_is_named(host):
    host.add('nvidia-smi', '#!/bin/sh\nexit "$FAKE_STATUS"\n')
    for kind, status, expected in (('fast', '0', True), ('fast', '9', False), ('', '0', False),
                                   ('cuda', '0', False)):
        said = host.enter('true', FAKE_UID='0', GCNET_CAFFE=kind, FAKE_STATUS=status)[2]
        assert ('though a GPU is here: GCNET_CAFFE=cuda' in said) == expected
    assert host.enter('--which', FAKE_UID='0', GCNET_CAFFE='fast', FAKE_STATUS='0')[2] == ''


def test_what_takes_hours_asks_for_the_fast_caffe(host):
    shutil.copy(places.ROOT / 'Makefile', host.checkout)
    for target, expected in ('recipe', True), ('cv', True), ('pretrain', True), ('train', True), (
            'data', False):
        made = subprocess.run(['make', '-n', target], cwd=host.checkout, stdout=subprocess.PIPE,
                              text=True, env={**host.environment, 'GCNET_WAY': 'rootfs'})
        assert made.returncode == 0
        assert ('GCNET_CAFFE="${GCNET_CAFFE:-fast}"' in made.stdout) is expected, target


def test_an_unknown_build_of_caffe_is_one_sentence(host):
    for command in 'true', '--which':
        status, out, err = host.enter(command, FAKE_UID='0', GCNET_CAFFE='opencl')
        assert (status, out, err.count('\n')) == (1, '', 1)
        assert 'GCNET_CAFFE is opencl' in sentence(err) and not host.cache.exists()


@pytest.mark.parametrize(
    'output, expected',
    [('E: Unable to correct problems\ndocker/build_caffe: no compiler\nE: setup failed',
      'no compiler'), ("E: Failed to fetch a  Temporary failure resolving 'a'", 'no network'),
     ('dpkg: error: failed to write (No space left on device)', 'disk is full'),
     ("E: The repository 'a bullseye Release' does not have a Release file.", 'no longer has'),
     ("E: Version '1' for 'a' was not found", 'no longer has'),
     ('SSLError: CERTIFICATE_VERIFY_FAILED\nERROR: No matching distribution found for a',
      'certificate'), ('I: unpacking\nE: something quite new', 'E: something quite new')])
def test_a_failed_making_is_one_sentence_and_nothing_half_made(host, output, expected):
    status, _, err = host.enter('true', FAKE_UID='0', FAKE_MAKING_STATUS='1',
                                FAKE_MAKING_OUTPUT=output)
    assert status == 1 and expected in sentence(err) and not host.out.exists()
    assert os.listdir(host.cache) == [host.root.name + '.log']


def test_too_small_a_disk_is_seen_before(host):
    host.add('df', '#!/bin/sh\necho Avail\necho 500000\n')
    status, _, err = host.enter('true', FAKE_UID='0')
    assert status == 1 and '500 MB free, 2000 MB needed' in sentence(err) and os.listdir(
        host.cache) == []
    assert '500 MB free, 11000 MB needed' in host.enter('true', FAKE_UID='0', GCNET_CAFFE='cuda')[2]


def wait_for(condition):
    for _ in range(200):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail('waited for 10 s in vain')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_making_leaves_nothing(host, number):
    host.cache.mkdir()
    process = subprocess.Popen(
        # as from a terminal: what nohup starts, such as these tests, ignores SIGHUP
        ['env', '--default-signal', str(host.checkout / 'docker/rootfs'),
         str(host.root), 'debian', 'bullseye'], stderr=subprocess.DEVNULL,
        env={**host.environment, 'CERTIFICATES': '', 'SOURCES': '',
             'FAKE_MAKING_SECONDS': '30'})
    wait_for((host.cache / (host.root.name + '.partial/usr')).exists)
    process.send_signal(number)
    assert process.wait(timeout=10) in (-number, 128 + number)
    assert os.listdir(host.cache) == []


def test_the_second_of_two_waits_and_uses_what_the_first_made(host):
    host.cache.mkdir()
    first = os.open(host.cache, os.O_RDONLY)
    fcntl.flock(first, fcntl.LOCK_EX)
    second = host.start('true', FAKE_UID='0')
    assert 'waiting for it' in second.stderr.readline()
    host.root.mkdir()
    os.close(first)
    _, err = second.communicate(timeout=60)
    assert second.returncode == 24 and 'making' not in err


# --- for real, where root may mount: this very environment entered again as a root file system ---

# What a host with an NVIDIA driver says, for 64 and for 32 bits.
LDCONFIG = '''#!/bin/sh
there=$(dirname "$(dirname "$0")")
echo "libcuda.so.1 (libc6,x86-64) => $there/libcuda.so.1"
echo "libcuda.so.1 (libc6) => $there/lib32/libcuda.so.1"
echo "libcurl.so.4 (libc6,x86-64) => $there/libcurl.so.4"
'''


@pytest.mark.skipif(not places.may_mount(),
                    reason='only root that may mount enters a root file system')
def test_a_command_in_the_root_file_system(host, tmp_path):
    raw, shared = tmp_path / 'CK+ data', tmp_path / 'shared'
    for folder in raw, shared, host.root:
        folder.mkdir(parents=True)
        (folder / 'there').touch()
        folder.chmod(0o777)
    for name in 'id', 'unshare', 'setpriv', 'mount':
        (host.programs / name).unlink()
    host.add('ldconfig', LDCONFIG)
    (tmp_path / 'libcuda.so.470.1').write_text('the driver of this host\n')
    (tmp_path / 'libcuda.so.1').symlink_to('libcuda.so.470.1')
    os.chown(host.checkout, 1234, 1234)
    tmp_path.chmod(0o755)
    script = """
        echo $$; id -u; pwd; ls "$1" ../shared; touch made
        touch "$1/x" ../shared/x /outside 2>&1 | cut -d: -f1
        cat /usr/lib/x86_64-linux-gnu/libcuda.so.1
        caffe --version; exit 42"""
    before = Path('/proc/self/mounts').read_text()
    process = subprocess.Popen([
        'unshare', '--mount', 'sh', '-c', 'mount --bind / "$1" && shift && exec "$@"', '-',
        str(host.root),
        str(host.checkout / 'docker/enter'), 'sh', '-c', script, '-',
        str(raw)
    ], env={**host.environment, 'GCNET_MOUNTS': str(raw), 'SUDO_UID': '1234', 'SUDO_GID': '1234'},
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = process.communicate()
    assert process.returncode == 42, err
    lines = out.splitlines()
    # The command has the process number of docker/enter itself: no shell in between swallows a
    # signal.
    assert lines[:3] == [str(process.pid), '1234', '/gcnet'] and lines.count('there') == 2
    assert lines.count('the driver of this host') == 1
    assert lines.count('touch') == 3 and lines[-1].startswith('caffe version 1.0')
    assert (host.checkout / 'made').stat().st_uid == 1234
    assert os.listdir(raw) == os.listdir(shared) == ['there'] and not Path('/outside').exists()
    assert Path('/proc/self/mounts').read_text() == before


# --- make doctor, the outer half ---

IMAGES = '''#!/bin/sh
# An engine with images, by the arguments of `image ls`.
case "$*" in
    info) exit 0 ;;
    "image inspect "*) exit 0 ;;
    "image ls --format {{.Size}}, {{.CreatedSince}} $FAKE_IMAGE") echo "1.2GB, 3 hours ago" ;;
    "image ls gcnet-caffe --format {{.Repository}}:{{.Tag}} "*)
        echo "$FAKE_IMAGE 1.2GB, 3 hours ago"
        echo "gcnet-caffe:cuda 3.1GB, 2 weeks ago"
        echo "gcnet-caffe:0123456789ab 1.1GB, 3 weeks ago" ;;
    run*) printf '%s\\n' "$0" "$@" >"$FAKE_OUT"; echo inner; exit 23 ;;
esac
'''


def doctor(host, **variables):
    """-> (exit status, {title: lines}) of docker/doctor on a made-up machine."""
    done = subprocess.run([str(host.checkout / 'docker/doctor')], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, env={**host.environment, **variables})
    assert 'docker/doctor: line' not in done.stderr, done.stderr
    parts = [part.splitlines() for part in done.stdout.strip('\n').split('\n\n')]
    return done.returncode, {part[0]: part[1:] for part in parts}


def row(lines, name):
    """The texts of the rows of a name."""
    return [line.strip()[len(name):].strip() for line in lines if line.split()[:1] == [name]]


def test_doctor_on_a_machine_where_nothing_is_made(host):
    host.add('nvidia-smi', '#!/bin/sh\necho "NVIDIA H100, 81559 MiB, 535.54"\n')
    status, said = doctor(host, FAKE_UID='0')
    assert status == 0 and not host.cache.exists()
    assert row(said['This machine'], 'GPU') == ['NVIDIA H100, 81559 MiB, 535.54 (driver)']
    flags = next(line for line in Path('/proc/cpuinfo').read_text().splitlines()
                 if line.startswith('flags')).split()
    vectors = row(said['This machine'], 'processor')[0].split('vectors:')[1].split()
    assert ('avx2' in vectors) == ('avx2' in flags)
    free = int(row(said['This machine'], 'disk')[0].split()[0])
    assert abs(free - shutil.disk_usage(host.checkout).free / 1e6) < 1000
    ways = said['The ways in']
    assert row(ways, 'docker')[0].startswith('does not answer')
    assert row(ways, 'rootfs') == ['can be entered'] and row(ways, 'taken') == ['rootfs']
    made = said['Environments']
    assert row(made, 'debian') == ['not made: make shell makes it (about 2 minutes, 2 GB while it '
                                   'is made)']
    assert row(made, 'native')[0].startswith('not made: GCNET_CAFFE=native make shell makes it')
    assert not row(made, 'earlier')
    assert said['What to do next'][0].startswith('  make demo') and 'Data sets' not in said


def test_doctor_where_no_way_leads_in(host):
    status, said = doctor(host)
    assert status == 1
    assert row(said['The ways in'], 'rootfs') == ['for root alone: sudo make doctor']
    taken = row(said['The ways in'], 'taken')[0]
    assert taken.startswith('none: no Docker or Podman engine answers') and 'sudo' in taken
    assert doctor(host, FAKE_UID='0', FAKE_MAY_MOUNT='1')[0] == 1


def test_doctor_lists_root_file_systems_and_looks_into_the_present_one(host):
    old = host.cache / 'rootfs-0123456789ab-native'
    for name in host.root, old, 'rootfs-5.partial', 'rootfs-5.partial.tmp':
        (host.cache / name).mkdir(parents=True)
    (old / 'large').write_bytes(b'x' * 3_000_000)
    long_ago = time.time() - 5 * 86400 - 60
    os.utime(old, (long_ago, long_ago))
    (host.root / 'a').write_bytes(b'x' * 7_000_000)
    status, said = doctor(host, FAKE_UID='0')
    made = said['Environments']
    assert row(made, 'debian') == [f'made: {host.root}, 8 MB, 0 minutes old']
    assert row(made, 'earlier') == [f'{old}, 4 MB, 5 days old']
    assert 'sudo rm -r --one-file-system FOLDER' in '\n'.join(made)
    assert status == 24 and host.arguments()[-3:] == ['python3', '-m', 'tools.doctor']
    assert 'What to do next' not in said  # the inner half says that
    # Another kind is asked for, which is not made
    host.out.unlink()
    assert doctor(host, FAKE_UID='0', GCNET_CAFFE='native')[0] == 0 and not host.out.exists()


def test_doctor_lists_images(host):
    host.add('docker', IMAGES)
    status, said = doctor(host, FAKE_IMAGE=host.image)
    assert row(said['The ways in'], 'docker') == ['answers']
    assert row(said['The ways in'], 'taken') == ['docker']
    made = said['Environments']
    assert row(made, 'debian') == [f'made: docker image {host.image}, 1.2GB, 3 hours ago']
    assert row(made, 'earlier') == ['gcnet-caffe:0123456789ab, 1.1GB, 3 weeks ago; remove it: '
                                    'docker image rm gcnet-caffe:0123456789ab']
    assert status == 23 and host.arguments()[-3:] == ['python3', '-m', 'tools.doctor']


def test_the_names_of_an_environment_are_told_without_asking_an_engine(host):
    host.add('docker', '#!/bin/sh\ntouch "$FAKE_OUT"\n')
    assert host.enter('--names') == (0, f'{host.image} {host.root}\n', '')
    assert host.enter('--names', GCNET_CAFFE='cuda')[1] == f'{host.image}-cuda {host.root}-cuda\n'
    assert not host.out.exists()
