"""Measures how fast things are, on this machine: `make bench`. Prints a table and writes
runs/bench.json.

Machines are noisy: each figure is the median of several runs, and what is compared takes turns in
one run.
"""
import argparse
import json
import os
import platform
from pathlib import Path

from data_prep import workers
from tools.bench import data_speed, network_speed, predict_speed
from tools.core import files

PARTS = {'data': data_speed.measure, 'network': network_speed.measure,
         'predict': predict_speed.measure}
OUT = Path('runs/bench.json')


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('parts', nargs='*', help=f'{", ".join(PARTS)} (default: all)')
    parser.add_argument('--out', type=Path, default=OUT)
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        raise SystemExit(
            f'There is nothing called {unknown.pop()!r} to measure: name {", ".join(PARTS)}.')
    found = read_measured(arguments.out)
    for part in arguments.parts or PARTS:
        print(f'{part} ...', flush=True)
        record(arguments.out, found, part, PARTS[part]())  # as it comes
    print(f'Written to {arguments.out}')


def read_measured(out):
    """What was measured before: the object in the file `out`, {} where there is none."""
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        return json.loads(out.read_text()) if out.is_file() else {}
    except ValueError:
        raise SystemExit(f'{out} is damaged: move it away.') from None


def record(out, found, part, lines):
    """Prints the lines (name, value, unit) of a part, and writes them to `out` with `found`."""
    found[part] = dict(machine=machine(), lines=lines)
    files.write(out, json.dumps(found, indent=2) + '\n')
    for name, value, unit in lines:
        print(f'{name:<66}{value:>10.4g} {unit}')


def machine():
    """What the figures depend on."""
    with open('/proc/cpuinfo') as file:
        models = {line.split(':')[1].strip() for line in file if line.startswith('model name')}
    return dict(processor=', '.join(sorted(models)) or platform.machine(), cores=workers.usable(),
                blas_threads=os.environ.get('OPENBLAS_NUM_THREADS'), load=os.getloadavg()[0])


if __name__ == '__main__':
    main()
