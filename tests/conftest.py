"""For all tests: Ctrl-C for their children, also where a shell runs them in its background and has
it ignored; and Caffe on a card where tools/bench/gpu_check.py asks for one."""
import os
import signal

signal.signal(signal.SIGINT, signal.default_int_handler)

if os.environ.get('GCNET_TEST_GPU'):
    import caffe

    caffe.set_device(int(os.environ['GCNET_TEST_GPU']))
    caffe.set_mode_gpu()
