"""Data preparation: crops a second into LMDBs, what worker processes gain in detection, memory."""
import csv
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from data_prep import datasets, detect, pictures, workers

RAW = Path('data/raw/demo')
ROUNDS = 3
SEARCHED = 400  # pictures in the comparison of detection


def measure(many=10000, few=1000, searched=SEARCHED, rounds=ROUNDS):
    """[(name, value, unit)] of a set of drawn faces, SystemExit where they are yet to be drawn.
    Rates of building are those of the pictures beyond `few`: the start of the program, a second or
    two, has no part in them."""
    _, points, _ = datasets.load('demo', str(RAW), None, None)
    paths = sorted(points)

    with tempfile.TemporaryDirectory(dir='data', prefix='.bench') as folder:
        folder = Path(folder)
        sets = {(number, own): lay_out(folder / f'raw{number}{"own" if own else ""}', paths, points,
                                       number, own)
                for number in (few, many) for own in (True, False)}
        built = {key: [] for key in sets}
        found = {1: [], workers.usable(): []}

        # In turns: what else this machine does meanwhile slows all alike.
        for _ in range(rounds):
            for key, (raw, known) in sets.items():
                built[key].append(build(folder / 'out', raw, known))
            for processes, times in found.items():
                times.append(search(folder, paths[:searched], processes))

    seconds, memory = {}, {}
    for key, times in built.items():
        seconds[key], memory[key] = (statistics.median(column) for column in zip(*times))
    speed = {own: (many - few) / (seconds[many, own] - seconds[few, own]) for own in (True, False)}
    rate = {processes: searched / statistics.median(times) for processes, times in found.items()}
    most = max(rate)

    return [
        (f'crops a second into one LMDB (a split of its own), {most} workers', speed[True], '/s'),
        ('crops a second into the LMDBs of ten folds, each ten times', speed[False], '/s'),
        (f'make data of {few} pictures, start included, one LMDB', seconds[few, True], 's'),
        (f'largest process, {few} pictures', memory[few, False], 'MB'),
        (f'largest process, {many} pictures', memory[many, False], 'MB'),
        (f'pictures searched for faces a second, 1 process, {searched} pictures', rate[1], '/s'),
        (f'the same, {most} workers', rate[most], '/s'),
        (f'{most} workers against 1 process', rate[most] / rate[1], 'times')
    ]


def lay_out(raw, paths, points, number, own):
    """A manifest set of `number` links to the frames `paths`, with a split of its `own` or without,
    and the CSV of their points; returns both places."""
    (raw / 'images').mkdir(parents=True)
    known = raw.with_suffix('.points.csv')
    with open(raw / 'manifest.csv', 'w', newline='') as manifest, \
            open(known, 'w', newline='') as cache:
        rows, found = csv.writer(manifest), csv.writer(cache)
        rows.writerow(['path', 'subject', 'expression', 'split'])
        found.writerow(detect.COLUMNS)
        for i in range(number):
            path, name = paths[i % len(paths)], f'images/{i:06d}.png'
            os.link(RAW / path, raw / name)
            rows.writerow([name, f'p{i % 100}', datasets.SEVEN[i % 7],
                           ['train', 'test'][i % 10 == 0] if own else ''])
            found.writerow(detect.row_of(name, pictures.content(raw, name), points[path], 1))
    return raw, known


def build(out, raw, known):
    """(seconds, MB of the largest process) of building a set whose points are known.

    By the command, into out/<name>.
    """
    out.mkdir(exist_ok=True)
    shutil.copy(known, out / known.name)
    command = [sys.executable, '-m', 'data_prep.build',
               '--dataset', raw.name, '--raw', raw, '--out', out]
    with tempfile.TemporaryFile('w+') as said:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        said.seek(0)
        if status:
            raise SystemExit(said.read().splitlines()[-1])
    return seconds, usage.ru_maxrss / 1024


def search(folder, paths, processes):
    """Seconds of detection in pictures by a number of processes."""
    cache = folder / 'searched.csv'
    start = time.perf_counter()
    detect.points_of(str(RAW), paths, str(cache), workers=processes)
    seconds = time.perf_counter() - start
    cache.unlink()
    return seconds
