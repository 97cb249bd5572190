"""Measures how fast things are, on this machine: `make bench`. Prints a table and writes runs/bench.json.

Machines are noisy: each figure is the median of several runs, and what is compared takes turns in one run.
"""
import argparse
import json
import os
import platform
from pathlib import Path

from data_prep import workers
from tools import bench_data, bench_network, bench_predict, runs

PARTS = {'data': bench_data.measure, 'network': bench_network.measure, 'predict': bench_predict.measure}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('parts', nargs='*', help=f'{", ".join(PARTS)} (default: all)')
    parser.add_argument('--out', type=Path, default=Path('runs/bench.json'))
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        raise SystemExit(f'There is nothing called {unknown.pop()!r} to measure: name {", ".join(PARTS)}.')
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    found = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
    for part in arguments.parts or PARTS:
        print(f'{part} ...', flush=True)
        # (name, value, unit) a line
        lines = PARTS[part]()
        found[part] = dict(machine=machine(), lines=lines)
        runs.write(arguments.out, json.dumps(found, indent=2) + '\n')  # as it comes
        for name, value, unit in lines:
            print(f'{name:<66}{value:>10.4g} {unit}')
    print(f'Written to {arguments.out}')


def machine():
    """What the figures depend on."""
    with open('/proc/cpuinfo') as file:
        models = {line.split(':')[1].strip() for line in file if line.startswith('model name')}
    return dict(processor=', '.join(sorted(models)) or platform.machine(), cores=workers.usable(),
                blas_threads=os.environ.get('OPENBLAS_NUM_THREADS'), load=os.getloadavg()[0])


if __name__ == '__main__':
    main()
