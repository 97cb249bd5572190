"""Packs the environment that this runs in into files for a machine that has nothing: `make bundle`.

    GCNET_CAFFE=cuda docker/enter python3 -m tools.bundle [--out runs/bundle]

writes runs/bundle/gcnet-caffe.tar.xz.00, .01, …, each below 60 MB: Caffe, Python, the packages
that training, testing and tools/bench/gpu_check.py load, and every library of theirs, the C library
too. There it is unpacked in any folder and needs neither root nor network, but a Linux kernel, a
shell, and for a GPU the driver:

    cat gcnet-caffe.tar.xz.* | tar -xJ
    export PATH="$PWD/gcnet-caffe/bin:$PATH"
    cd a/checkout && python3 -m tools.train --dataset demo --variant s1r1 --fold 3

The project and its data are not in it.
"""
import argparse
import json
import lzma
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

import matplotlib
from tqdm import tqdm

from tools.core import output

NAME = 'gcnet-caffe'
PIECE = 60 * 10 ** 6 - 1  # bytes
# What is run there; the packages that they load are found by loading them here.
MODULES = ('tools.cv', 'tools.evaluate', 'tools.train', 'tools.bench.gpu_check', 'pytest',
           *(f'layers.{path.stem}' for path in sorted(Path('layers').glob('[a-z]*.py'))))
PROGRAMS = {'caffe': '/usr/bin/caffe', 'python3': sys.executable, 'env': '/usr/bin/env'}
LOADER = 'ld-linux-x86-64.so.2'
# Of the standard library, what no program of ours loads and is large.
UNUSED = ('test', 'idlelib', 'ensurepip', 'turtledemo', 'config-*', 'dist-packages',
          'site-packages', '__pycache__')
BUILD = 'GCNET_CAFFE_BUILD'  # Caffe's version, which no package tells there
# The program by its own C library, under the name by which it was called: Python takes that for
# the place where it lies. Last come the folders where a driver may lie.
WRAPPER = f'''#!/bin/sh
here=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
export PYTHONHOME="$here" PYTHONDONTWRITEBYTECODE=1 PYTHONNOUSERSITE=1
export GLOG_logtostderr=1 {BUILD}='%s'
export PYTHONPATH="${{PYTHONPATH:-.}}" OPENBLAS_NUM_THREADS="${{OPENBLAS_NUM_THREADS:-1}}"
export MATPLOTLIBRC="${{MATPLOTLIBRC:-$here/lib/python3/dist-packages/matplotlib/mpl-data}}"
driver=/usr/local/nvidia/lib64:/usr/lib/x86_64-linux-gnu:/usr/lib64:/usr/lib/wsl/lib
exec "$here/lib/{LOADER}" --argv0 "$here/bin/%s" --library-path "$here/lib:$driver" \\
    "$here/programs/%s" "$@"
'''


def main(words=None):
    parser = argparse.ArgumentParser(prog='python3 -m tools.bundle',
                                     description=__doc__.split('\n')[0])
    parser.add_argument('--out', type=Path, default=Path('runs/bundle'),
                        help='default: %(default)s')
    options = parser.parse_args(words)
    if '--argv0' not in said_by(loader(), '--help'):
        raise SystemExit("This environment's C library is too old to be taken along: make the "
                         'bundle of the CUDA build, GCNET_CAFFE=cuda.')

    if not output.is_kept(options.out):
        raise SystemExit(f'{options.out} is not in the checkout: choose an OUT in it, or a folder '
                         'that is there.')
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=options.out) as folder:
            tree = Path(folder, NAME)
            fill(tree)
            pieces = pack(tree, Path(folder))
            for old in options.out.glob(f'{NAME}.tar.xz.*'):
                old.unlink()
            for piece in pieces:
                piece.rename(options.out / piece.name)
    except OSError as error:
        raise SystemExit(f'{options.out} cannot be written ({error}): make room, or choose another '
                         '--out.') from None
    print(f'{len(pieces)} files in {options.out}; there: cat {NAME}.tar.xz.* | tar -xJ')


def said_by(*command):
    """What a program prints, both streams; '' where it cannot be run."""
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              encoding='utf-8', errors='replace').stdout
    except OSError:
        return ''


def loader():
    """The path of the C library's loader, which starts every program."""
    return str(Path('/lib64', LOADER).resolve())


def caffe_build():
    """The version of Caffe's package, which ends with `+cuda` or `+native` where it was compiled
    for that; no version where there is none."""
    return os.environ.get(BUILD) or said_by('dpkg-query', '--show', '--showformat', '${Version}',
                                            'caffe')


def fill(tree):
    """Lays all that runs into a new folder: bin, programs, lib."""
    for name in ('bin', 'programs', 'lib'):
        (tree / name).mkdir(parents=True)
    for name, path in PROGRAMS.items():
        shutil.copy2(Path(path).resolve(), tree / 'programs' / name)
        wrapper = tree / 'bin' / name
        wrapper.write_text(WRAPPER % (caffe_build(), name, name))
        wrapper.chmod(0o755)

    standard = Path(sysconfig.get_path('stdlib'))
    shutil.copytree(standard, tree / 'lib' / standard.name, symlinks=False,
                    ignore=shutil.ignore_patterns(*UNUSED), ignore_dangling_symlinks=True)
    packages = tree / 'lib' / 'python3' / 'dist-packages'  # where Debian's Python looks
    packages.mkdir(parents=True)
    for path in map(Path, packages_of(MODULES)):
        copy = shutil.copytree if path.is_dir() else shutil.copy2
        ignored = {'ignore': shutil.ignore_patterns('__pycache__')} if path.is_dir() else {}
        copy(path, packages / path.name, **ignored)
    # Debian keeps matplotlib's fonts elsewhere; beside its program they come first. So do the
    # settings, which WRAPPER names.
    shutil.copytree(matplotlib.get_data_path(), packages / 'matplotlib' / 'mpl-data',
                    ignore_dangling_symlinks=True)

    shutil.copy2(loader(), tree / 'lib' / LOADER)
    for name, path in libraries_of([*(tree / 'programs').iterdir(), *tree.rglob('*.so'),
                                    *tree.rglob('*.so.*')]).items():
        if not (tree / 'lib' / name).exists():
            shutil.copy2(path, tree / 'lib' / name)


def packages_of(modules):
    """The files and folders of the packages, other than ours and the standard library's, that these
    modules load; sorted."""
    program = f'''
import importlib, json, sys
for name in {modules!r}:
    importlib.import_module(name)
print(json.dumps([module.__file__ for module in sys.modules.values()
                  if getattr(module, "__file__", None)]))
'''
    # What a module says while it is loaded comes before.
    loaded = json.loads(subprocess.run([sys.executable, '-c', program], stdout=subprocess.PIPE,
                                       check=True, encoding='utf-8').stdout.splitlines()[-1])
    found = set()
    for file in map(Path, loaded):
        for part in file.parents:
            if part.name in ('dist-packages', 'site-packages'):
                found.add(part / file.relative_to(part).parts[0])
                break
    return sorted(found)


def libraries_of(files):
    """{name: path} of every library that programs and libraries are linked to, by ldd."""
    found = {}
    for file in tqdm(files, desc='libraries', ascii=True):
        for name, path in re.findall(r'^\s(\S+) => (/\S+) \(', said_by('ldd', str(file)), re.M):
            found[name] = path
    return found


def pack(tree, folder):
    """Packs a folder into pieces in another one, and gives their paths."""
    writer = Pieces(folder / f'{NAME}.tar.xz')
    # Most of it is cuBLAS, which a higher preset hardly makes smaller.
    with lzma.open(writer, 'wb', preset=1) as packed, \
            tarfile.open(fileobj=packed, mode='w|') as archive:
        names = sorted(tree.rglob('*'))
        for path in tqdm(names, desc='packed', ascii=True):
            archive.add(path, path.relative_to(tree.parent), recursive=False)
    writer.close()
    return writer.paths


class Pieces:
    """A file to write to that is cut into pieces: PATH.00, PATH.01, …"""

    def __init__(self, path):
        self.path, self.paths, self.file, self.left = path, [], None, 0

    def write(self, data):
        view = memoryview(data)
        while view:
            if not self.left:
                self.close()
                self.paths.append(Path(f'{self.path}.{len(self.paths):02}'))
                self.file, self.left = open(self.paths[-1], 'wb'), PIECE
            part = view[:self.left]
            self.file.write(part)
            self.left -= len(part)
            view = view[len(part):]
        return len(data)

    def close(self):
        if self.file:
            self.file.close()


if __name__ == '__main__':
    main()
