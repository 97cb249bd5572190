"""Which GPU Caffe can use."""
import functools
import subprocess

from tools.core import arguments, caffe_log, caffe_process


def which(text):
    """ID of the GPU that `text` asks for, None for the CPU.

    text: `none`, a number, or '' for 0 where Caffe can use it. SystemExit for a GPU that Caffe
    cannot use.
    """
    if text == 'none' or not text and why_not(0):
        return None
    gpu = arguments.whole_number('GPU', text or '0', 0, 1023)
    if why_not(gpu):
        raise SystemExit(f'GPU {gpu} cannot be used ({why_not(gpu)}): GPU=none trains on the CPU.')
    return gpu


@functools.lru_cache(maxsize=None)
def why_not(gpu):
    """Why Caffe cannot use that GPU, None where it can."""
    # In a process of its own: where there is no GPU, Caffe aborts.
    query = subprocess.run(
        ['caffe', 'device_query', '-gpu', str(gpu)], env=caffe_process.environment(),
        stderr=subprocess.PIPE, encoding='utf-8', errors='replace')
    return query.returncode and (caffe_log.reason(query.stderr.splitlines())
                                 or f'exit code {query.returncode}') or None
