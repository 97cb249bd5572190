"""The bundle: pieces that add up, and, where it can be made, programs that take nothing from
outside of it."""
import json
import os
import subprocess
import tarfile

import pytest

from tools import bundle

TOO_OLD = '--argv0' not in bundle.said_by(bundle.loader(), '--help')
MAPPED = '''
import caffe, cv2, json, subprocess, sys
from layers.distance import Distance
print(sys.executable)
loaded = {line.split(maxsplit=5)[5].strip() for line in open("/proc/self/maps") if ".so" in line}
print(json.dumps(sorted(loaded)), flush=True)
import matplotlib.font_manager
print(json.dumps([matplotlib.matplotlib_fname(), matplotlib.font_manager.findfont("sans")]),
      flush=True)
subprocess.run(["caffe", "--version"], check=True)
subprocess.run([sys.executable, "-c", "import caffe; print(caffe.__version__)"], check=True)
'''


@pytest.mark.parametrize('writes', [[b'', b'abc', b'defghij' * 5, b'k'], [b'ab', b'c']])
def test_pieces_are_below_their_size_and_add_up(tmp_path, monkeypatch, writes):
    monkeypatch.setattr(bundle, 'PIECE', 3)
    pieces = bundle.Pieces(tmp_path / 'x')
    assert [pieces.write(data) for data in writes] == [len(data) for data in writes]
    pieces.close()
    assert [path.name for path in pieces.paths[:2]] == ['x.00', 'x.01'][:len(pieces.paths)]
    assert {len(path.read_bytes()) for path in pieces.paths[:-1]} <= {3}
    assert b''.join(path.read_bytes() for path in pieces.paths) == b''.join(writes)


def test_packages_are_found_by_what_modules_load():
    found = [os.path.basename(path) for path in bundle.packages_of(('caffe', 'tqdm'))]
    assert {'caffe', 'numpy', 'tqdm'} <= set(found) and 'pytest' not in found


@pytest.mark.skipif(not TOO_OLD, reason='the C library here can be taken along')
def test_an_old_c_library_is_one_sentence(tmp_path):
    with pytest.raises(SystemExit, match=r'too old .* GCNET_CAFFE=cuda\.$'):
        bundle.main(['--out', str(tmp_path / 'bundle')])
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(TOO_OLD, reason='Debian 11 has too old a C library for a bundle')
def test_a_folder_that_would_be_lost_is_refused(tmp_path):
    with pytest.raises(SystemExit, match='is not in the checkout: choose an OUT in it'):
        bundle.main(['--out', str(tmp_path / 'bundle')])
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(TOO_OLD, reason='Debian 11 has too old a C library for a bundle')
def test_what_runs_from_a_bundle_takes_nothing_from_outside(tmp_path, monkeypatch):
    out = tmp_path / 'bundle'
    monkeypatch.delenv('GCNET_INSIDE', raising=False)  # what is in /tmp would be lost
    bundle.main(['--out', str(out)])
    pieces = sorted(out.iterdir())
    assert pieces and all(piece.stat().st_size < 60e6 for piece in pieces)
    whole = tmp_path / 'whole.tar.xz'
    whole.write_bytes(b''.join(piece.read_bytes() for piece in pieces))
    with tarfile.open(whole) as archive:
        archive.extractall(tmp_path)

    tree = tmp_path / bundle.NAME
    said = subprocess.run([tree / 'bin' / 'python3', '-c', MAPPED], check=True, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          env={'PATH': f'{tree}/bin:/bin'}).stdout.splitlines()
    assert said[0] == f'{tree}/bin/python3'
    loaded = json.loads(said[1])
    assert len(loaded) > 50
    assert all(path.startswith(str(tree)) for path in loaded + json.loads(said[2]))
    assert any(line.startswith('caffe version') for line in said)
    assert said[-1].count('.') == 2
    assert bundle.caffe_build() in (tree / 'bin' / 'python3').read_text()
