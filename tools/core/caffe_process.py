"""Processes of Caffe, beside our own: where it aborts, we go on."""
import json
import os
import subprocess
import sys
import tempfile

from tools.core import caffe_log


def blob_shapes(network):
    """{layer: [shape of each blob]} of a network's text; SystemExit, saying why, if Caffe cannot
    make it."""
    with tempfile.NamedTemporaryFile('w', suffix='.prototxt') as file:
        file.write(network)
        file.flush()
        made = subprocess.run([sys.executable, '-m', 'tools.core.blob_shapes', file.name],
                              env=environment(level=2), capture_output=True, encoding='utf-8',
                              errors='replace')
    if made.returncode:
        why = caffe_log.reason(made.stderr.splitlines()) or f'exit code {made.returncode}'
        raise SystemExit(f'Caffe cannot make this network: {why}.')
    return json.loads(made.stdout)


def environment(level=0):
    """The environment of a `caffe` process: layers are found from the checkout, the log goes to
    stderr."""
    return dict(os.environ, PYTHONPATH=os.pathsep.join(
        filter(None, ['.', os.environ.get('PYTHONPATH')])), GLOG_logtostderr='1',
                GLOG_minloglevel=str(level))
