"""docker/enter with a real Docker daemon. It is started for these tests alone, on a socket of its
own, and ended by its number. It needs root, and is for the outside of the environment:

    apt-get install docker.io mmdebstrap debian-archive-keyring python3-pytest
    GCNET_REAL_DOCKER=/var/tmp/real_docker python3 -m pytest -rs -p no:cacheprovider \\
        tests/test_real_docker.py

The folder named keeps the daemon's images, 3 GB, so that only the first time takes minutes; remove
it afterwards. Containers share the host's network: no bridge and no rule of a firewall is made.
"""
import contextlib
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import outside
import pytest
from outside import wait_for

KEPT = outside.needs('GCNET_REAL_DOCKER', 'a Docker daemon', 'dockerd', 'docker', 'mmdebstrap')
ROOT = Path(__file__).resolve().parents[1]
BASE = 'debian:bullseye-slim'
NETWORK = dict(GCNET_BUILD_ARGS='--network host', GCNET_RUN_ARGS='--network host')
DATA = '''
import sys
from pathlib import Path
sys.path.insert(0, 'tests')
import places
places.build_smooth(Path('.'), 8, ['happy', 'sadness'])
'''
# Ends by a signal alone, and says which.
WAITING = '''
for name in HUP INT TERM; do trap "echo $name >told; exit 5" $name; done
echo ready
while :; do sleep 0.1; done
'''


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('docker')
    for place in folder, *list(folder.parents)[:2]:
        place.chmod(0o755)  # another user looks in
    return folder


@contextlib.contextmanager
def daemon_in(folder, *options):
    """A daemon whose images are in the folder: what names it in DOCKER_HOST."""
    folder.mkdir(parents=True, exist_ok=True)
    socket = f'unix://{folder}/sock'
    with open(folder / 'log', 'w') as log:
        process = subprocess.Popen([
            'dockerd', '-H', socket, '--iptables=false', '--bridge=none', '--data-root',
            folder / 'data', '--exec-root', folder / 'exec', '--pidfile', folder / 'pid', *options
        ], stdout=log, stderr=log)
    try:
        wait_for(lambda: process.poll() is not None
                 or not docker(socket, 'info', check=False).returncode, seconds=120)
        assert process.poll() is None, (folder / 'log').read_text()[-2000:]
        yield socket
    finally:
        process.terminate()
        process.wait(timeout=60)
        for namespace in folder.glob('exec/**/netns/*'):  # stays mounted
            subprocess.run(['umount', namespace], check=True)


def docker(socket, *words, check=True, **options):
    return subprocess.run(['docker', *words], env={**os.environ, 'DOCKER_HOST': socket},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=check, **options)


@pytest.fixture(scope='module')
def daemon(folder):
    """What names the daemon, with Debian 11 as Docker's own base image is."""
    with daemon_in(Path(KEPT).resolve()) as socket:
        if docker(socket, 'image', 'inspect', BASE, check=False).returncode:
            base = folder / 'base.tar'
            subprocess.run(['mmdebstrap', '--quiet', '--variant=minbase',
                            '--include=ca-certificates', 'bullseye', base], check=True)
            docker(socket, 'import', str(base), BASE)
            base.unlink()
        yield socket


@pytest.fixture(scope='module')
def host(folder, daemon):
    """A checkout with a small data set, and the image made."""
    checkout = folder / 'check:out, "1"'
    outside.copy_checkout(ROOT, checkout)
    for name in 'GCNET_WAY', 'GCNET_CAFFE', 'GCNET_MOUNTS', 'GCNET_READ', 'SUDO_UID', 'SUDO_GID':
        os.environ.pop(name, None)
    environment = {**os.environ, **NETWORK, 'DOCKER_HOST': daemon,
                   'GCNET_CACHE': str(folder / 'no'), 'TMPDIR': str(folder)}

    start, enter = outside.entering(checkout, environment, timeout=900)
    status, output, errors = enter('python3', '-c', DATA)
    assert status == 0, errors[-3000:]
    return SimpleNamespace(checkout=checkout, environment=environment, start=start, enter=enter,
                           socket=daemon)


def running(host):
    return docker(host.socket, 'ps', '--quiet').stdout.split()


def told(host):
    """The signal that WAITING got, when no container is left."""
    wait_for(lambda: not running(host))
    path = host.checkout / 'told'
    word = path.read_text().strip()
    path.unlink()
    return word


# --- a command ---

def test_words_status_and_files_are_the_callers(host, tmp_path):
    raw = tmp_path / 'C:K+, "data"'
    raw.mkdir()
    (raw / 'there').touch()
    raw.chmod(0o777)
    (host.checkout / 'made').unlink(missing_ok=True)
    os.chown(host.checkout, 1234, 1234)
    script = 'id -u; pwd; ls "$RAW"; touch made; touch "$RAW/x" 2>/dev/null || echo no; exit 42'
    status, output, _ = host.enter('sh', '-c', f'RAW=$1; {script}', '-', str(raw), GCNET_READ='RAW',
                                   RAW=str(raw), SUDO_UID='1234', SUDO_GID='1235')
    os.chown(host.checkout, 0, 0)
    assert (status, output.splitlines()) == (42, ['1234', '/gcnet', 'there', 'no'])
    made = (host.checkout / 'made').stat()
    assert (made.st_uid, made.st_gid) == (1234, 1235) and os.listdir(raw) == ['there']


def test_a_path_to_be_written_has_its_name_inside_too(host, tmp_path):
    out = tmp_path / 'a: b'
    out.mkdir()
    status, _, errors = host.enter('sh', '-c', 'echo x >"$1/file"', '-', str(out),
                                   GCNET_WRITE='OUT', OUT=str(out))
    assert status == 0, errors
    assert (out / 'file').read_text() == 'x\n'


# --- signals ---

@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_reaches_the_command(host, number):
    process = host.start('sh', '-c', WAITING)
    assert process.stdout.readline() == 'ready\n'
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 5 and told(host) == number.name[3:]


def test_a_killed_client_takes_the_command_with_it(host):
    process = host.start('sh', '-c', WAITING)
    assert process.stdout.readline() == 'ready\n'
    process.kill()
    process.communicate(timeout=30)
    assert told(host) == 'TERM'


@pytest.mark.parametrize('typed, expected', [(b'\x03', 'INT'), (None, 'HUP')])
def test_a_key_and_a_closed_terminal_reach_the_command(host, typed, expected):
    child, terminal = pty.fork()
    if not child:
        os.chdir(host.checkout)
        os.execvpe('docker/enter', ['docker/enter', 'sh', '-c', WAITING], host.environment)
    seen = b''
    while b'ready' not in seen:
        assert select.select([terminal], [], [], 60)[0], seen
        seen += os.read(terminal, 1000)
    if typed:
        os.write(terminal, typed)
        wait_for(lambda: not running(host))
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert told(host) in (expected, 'TERM')  # whoever comes first: a client may pass HUP on, or die
    assert not typed or os.WEXITSTATUS(status) == 5


# --- training ---

TRAIN = ['python3', '-m', 'tools.train', '--dataset', 'demo', '--variant', 'cnn', '--fold', '0',
         '--batch', '2', '--iters']


def test_who_trains_is_named_and_ends_as_is_said_and_goes_on(host):
    first = host.start(*TRAIN, '100000')
    run = host.checkout / 'runs/demo/cnn/fold0_seed1'
    wait_for(lambda: (run / 'metrics.csv').exists())
    status, _, errors = host.enter(*TRAIN, '100000')
    name = docker(host.socket, 'ps', '--format', '{{.Names}}').stdout.decode().strip()
    assert status == 1 and f'or end it: `docker stop --time 60 {name}`.' in errors
    docker(host.socket, *re.search('`docker (.*)`', errors)[1].split())
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 130 and 'Stopping' in errors
    last = int(re.search(r'after iteration (\d+)', errors)[1])
    status, output, errors = host.enter(*TRAIN, str(last + 20))
    assert status == 0 and f'iteration {last} to {last + 20}' in output, errors


def test_caffes_own_line_trains_on_the_cpu_also_where_nothing_may_be_written(host):
    for words in '', ' --read-only':
        shutil.rmtree(host.checkout / 'runs', ignore_errors=True)
        (host.checkout / 'runs').mkdir()  # as `make data` does
        solver = host.checkout / 'prototxt/solver_s1r1.prototxt'
        assert 'solver_mode: GPU' in solver.read_text()
        process = host.start('caffe', 'train', '-solver', 'prototxt/solver_s1r1.prototxt',
                             GCNET_RUN_ARGS=NETWORK['GCNET_RUN_ARGS'] + words)
        lines = iter(process.stderr.readline, '')
        assert any('Iteration 0, loss' in line or 'Iteration 0 (' in line for line in lines)
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=120)
        assert process.returncode == 0 and 'Snapshotting to binary proto file' in rest, rest
        assert len(list((host.checkout / 'runs').glob('gcnet_s1r1_iter_*.caffemodel'))) == 1


# --- daemons that are otherwise ---

def test_a_daemon_with_users_of_its_own(host, folder):
    with open('/etc/subuid') as users, open('/etc/subgid') as groups:
        if 'dockremap' not in users.read() or 'dockremap' not in groups.read():
            pytest.skip('needs a user dockremap in /etc/subuid and /etc/subgid, as '
                        '`useradd --system dockremap` and a line dockremap:500000:65536 make')
    image = host.enter('--names')[1].split()[0]
    with daemon_in(folder / 'remapped', '--userns-remap=dockremap') as socket:
        # Debian alone does for this, in the image's place.
        packed = docker(host.socket, 'save', BASE, check=True).stdout
        docker(socket, 'load', input=packed)
        docker(socket, 'tag', BASE, image)
        assert b'userns' in docker(socket, 'info').stdout
        os.chown(host.checkout, 1234, 1234)
        status, output, errors = host.enter('sh', '-c', 'id -u; touch /gcnet/remapped',
                                            DOCKER_HOST=socket, SUDO_UID='1234', SUDO_GID='1235')
        os.chown(host.checkout, 0, 0)
        assert (status, output) == (0, '1234\n'), errors
        assert (host.checkout / 'remapped').stat().st_uid == 1234
    shutil.rmtree(folder / 'remapped')


def test_a_daemon_that_is_not_where_it_is_said_to_be(host):
    status, output, errors = host.enter('--which', DOCKER_HOST='unix:///no/such.sock')
    assert 'DOCKER_HOST is unix:///no/such.sock, where none answers (' in errors
    assert (status, output) == (0, 'rootfs\n')


def test_a_user_outside_of_the_group(host):
    done = subprocess.run(['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups',
                           host.checkout / 'docker/enter', 'true'], env=host.environment,
                          stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and done.stderr.count('\n') == 1
    assert 'docker refuses this user, who is not in its group (' in done.stderr


def test_a_base_image_that_cannot_be_had(host):
    recipe = host.checkout / 'docker/packages.txt'
    text = recipe.read_text()
    recipe.write_text(text + '# changed\n')
    arguments = '--network host --build-arg BASE=gcnet-caffe-no-such/image:1'
    try:
        status, _, errors = host.enter('true', GCNET_WAY='docker', GCNET_BUILD_ARGS=arguments)
    finally:
        recipe.write_text(text)
    said = errors.splitlines()[-1]
    assert status == 1 and said.startswith('docker/enter: the image gcnet-caffe:')
    assert re.search('access to the base image was denied|no network from the engine to its regist'
                     "ry|does not accept its registry's certificate|too many requests", said), said


def test_a_build_that_is_interrupted_leaves_nothing(host, folder):
    recipe = host.checkout / 'docker/packages.txt'
    text = recipe.read_text()
    recipe.write_text(text + '# changed once more\n')
    try:
        before = set(os.listdir(folder))
        process = subprocess.Popen([host.checkout / 'docker/enter', 'true'], env=host.environment,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   start_new_session=True)
        lines = iter(process.stdout.readline, '')
        assert any('docker/install' in line or '/opt/gcnet-caffe/install' in line for line in lines)
        time.sleep(2)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode != 0
        name = host.enter('--names')[1].split()[0]
        assert docker(host.socket, 'image', 'inspect', name, check=False).returncode
        assert {path for path in set(os.listdir(folder)) - before if 'gcnet-caffe' in path} == set()
    finally:
        recipe.write_text(text)


def test_an_image_that_is_built_by_hand(host):
    bundle = Path('/etc/ssl/certs/ca-certificates.crt')
    shutil.copy(bundle, host.checkout / 'docker/host-certificates.crt')
    docker(host.socket, 'build', '--network', 'host', '--build-arg', f'BASE={BASE}',
           '--tag', 'by-hand', str(host.checkout / 'docker'))
    done = docker(host.socket, 'run', '--rm', '--network', 'host', '--mount',
                  f'type=bind,"source={str(host.checkout).replace(chr(34), chr(34) * 2)}",'
                  'target=/gcnet', 'by-hand', 'sh', '-c', 'caffe --version && ls Makefile')
    assert b'caffe version 1.0' in done.stdout and b'Makefile' in done.stdout
