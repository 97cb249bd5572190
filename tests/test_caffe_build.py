"""docker/build_caffe: what it refuses before it touches anything; and what it has made, where it
has."""
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import bundle

BUILD = bundle.caffe_build()
with_cuda = pytest.mark.skipif(not BUILD.endswith('+cuda'),
                               reason='Caffe is not compiled for CUDA here')


@pytest.fixture
def build_caffe(tmp_path):
    """A function: docker/build_caffe -> (exit status, standard error), where apt-get may not be
    called."""
    (tmp_path / 'apt-get').write_text('#!/bin/sh\ntouch "$0.called"\nexit 1\n')
    (tmp_path / 'apt-get').chmod(0o755)

    def run(kind, **variables):
        done = subprocess.run(['docker/build_caffe', kind], stderr=subprocess.PIPE, text=True,
                              env={'PATH': '%s:/usr/bin:/bin' % tmp_path, **variables})
        assert not (tmp_path / 'apt-get.called').exists()
        return done.returncode, done.stderr
    return run


@pytest.mark.parametrize('kind, variables, expected', [
    ('opencl', {}, 'no build of Caffe named opencl'),
    ('cuda', {'CUDA_ARCH_BIN': 'sm_37'}, "as in CUDA_ARCH_BIN='37 80'"),
    ('cuda', {'CUDA_ARCH_PTX': '8.0'}, 'are numbers'),
    ('native', {'JOBS': 'all'}, 'JOBS are numbers')])
def test_a_wrong_order_is_one_sentence_and_changes_nothing(build_caffe, kind, variables, expected):
    status, err = build_caffe(kind, **variables)
    assert status == 1 and err.count('\n') == 1 and err.startswith(
        'docker/build_caffe: ') and expected in err


@pytest.mark.skipif('VERSION_ID="11"' not in Path('/etc/os-release').read_text(),
                    reason='this is not Debian 11')
def test_cuda_on_a_debian_that_has_it_not_is_one_sentence(build_caffe):
    status, err = build_caffe('cuda')
    assert (status, err.count('\n')) == (1, 1)
    assert 'KIND cuda cannot be had on Debian 11' in err


def test_the_packaged_caffe_needs_no_build(build_caffe):
    assert build_caffe('debian') == (0, '')


RESIZE = '''
import sys, caffe, numpy as np
print({"skimage", "matplotlib", "pkg_resources"} & set(sys.modules))
ramp = np.linspace(0, 1, 2 * 3 * 3).reshape(2, 3, 3)
print(caffe.io.resize_image(ramp, (4, 6)).shape, caffe.io.resize_image(ramp[..., :2], (4, 6)).shape)
'''


def test_caffe_loads_what_it_seldom_needs_only_where_it_is_called_for():
    done = subprocess.run([sys.executable, '-c', RESIZE], stdout=subprocess.PIPE, text=True)
    assert done.stdout == 'set()\n(4, 6, 3) (4, 6, 2)\n'


# --- in an environment made for this processor ---

@pytest.mark.skipif(not BUILD.endswith('+native'),
                    reason='Caffe is not compiled for this processor here')
def test_caffes_own_tests_of_the_patched_layers_pass():
    done = subprocess.run(['caffe-gtest'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True)
    assert done.returncode == 0 and re.search(r'PASSED  . \d{3} tests', done.stdout), done.stdout


# --- in an environment made with CUDA ---

@with_cuda
def test_the_cuda_build_has_every_layer_that_the_networks_are_made_of():
    import caffe
    used = set()
    for path in Path('prototxt').glob('*.prototxt'):
        used |= set(re.findall(r'^  type: "(\w+)"', path.read_text(), re.M))
    assert 'Python' in used and used <= set(caffe.layer_type_list())


@with_cuda
def test_the_cuda_build_names_its_devices_or_says_that_there_is_none():
    done = subprocess.run(['caffe', 'device_query', '-gpu', '0'], stderr=subprocess.PIPE, text=True)
    if done.returncode == 0:
        assert 'Major revision number' in done.stderr
    else:
        assert re.search('Check failed: error == cudaSuccess .* (driver|device)', done.stderr)


NET = '''
layer { name: "data" type: "Data" top: "x" data_param { source: "%s" batch_size: 2 backend: LMDB } }
'''


@with_cuda
def test_the_cuda_build_reads_data_on_the_cpu_without_a_driver(tmp_path):
    import lmdb
    from caffe.proto.caffe_pb2 import Datum
    with lmdb.open(str(tmp_path / 'lmdb')) as env, env.begin(write=True) as transaction:
        for value in 3, 4:
            datum = Datum(channels=1, height=1, width=1, data=bytes([value]))
            transaction.put(b'%d' % value, datum.SerializeToString())
    (tmp_path / 'net.prototxt').write_text(NET % (tmp_path / 'lmdb'))
    # In a process of its own: Caffe aborts where it cannot.
    script = ('import caffe, sys; net = caffe.Net(sys.argv[1], 1); '
              'print(net.forward()["x"].flatten())')
    done = subprocess.run(
        ['python3', '-c', script, str(tmp_path / 'net.prototxt')], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    assert done.stdout == '[3. 4.]\n', done.stderr
