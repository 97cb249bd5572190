"""Which GPU Caffe can use."""
import functools
import subprocess
import sys

from tools.core import arguments, caffe_log, caffe_process, files

# One layer, so that a kernel of Caffe's runs: a card for which the build has no code, or whose
# memory is full, answers until then.
TRIAL = '''
name: "trial"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } } }
layer { name: "y" type: "Power" bottom: "x" top: "y" power_param { scale: 2 } }
'''
CPU_ONLY = 'CPU-only Caffe'  # in what Caffe says where it was compiled without CUDA


def which(text):
    """ID of the GPU that `text` asks for, None for the CPU.

    text: `none`, a number, or '' for 0 where Caffe can use it; where a Caffe for GPUs can not, that
    is said on stderr. SystemExit for a GPU that Caffe cannot use.
    """
    if text == 'none':
        return None
    gpu = arguments.whole_number('GPU', text or '0', 0, 1023)
    reason = why_not(gpu)
    if not reason:
        return gpu
    if text:
        other = ('GCNET_CAFFE=cuda before `make` takes a Caffe for GPUs, and '
                 if CPU_ONLY in reason else '')
        raise SystemExit(f'GPU {gpu} cannot be used ({reason}): {other}GPU=none takes the CPU.')
    if CPU_ONLY not in reason:  # who made that build expects a card
        print(f'On the CPU, since no GPU can be used ({reason}).', file=sys.stderr)
    return None


@functools.lru_cache(maxsize=None)
def why_not(gpu):
    """Why Caffe cannot use that GPU, None where it can."""
    # In a process of its own: where there is no GPU, Caffe aborts.
    with files.temporary(TRIAL, '.prototxt') as path:
        trial = subprocess.run(
            ['caffe', 'time', '-model', path, '-iterations', '1', '-gpu', str(gpu)],
            env=caffe_process.environment(), stderr=subprocess.PIPE, encoding='utf-8',
            errors='replace')
    return trial.returncode and (caffe_log.reason(trial.stderr.splitlines())
                                 or f'exit code {trial.returncode}') or None
