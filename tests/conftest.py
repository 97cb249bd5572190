"""For all tests: Ctrl-C for their children, also where a shell runs them in its background and has
it ignored; the order of the files; and Caffe on a card where tools/bench/gpu_check.py asks for
one."""
import os
import signal

signal.signal(signal.SIGINT, signal.default_int_handler)

if os.environ.get('GCNET_TEST_GPU'):
    import caffe

    caffe.set_device(int(os.environ['GCNET_TEST_GPU']))
    caffe.set_mode_gpu()

# Each file goes to one core: the longest first, so that none of them is left when all else is done.
LONGEST = ('test_train', 'test_paper', 'test_extract_weights', 'test_cv', 'test_make',
           'test_mutants', 'test_predict')


def pytest_collection_modifyitems(items):
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.fspath.purebasename, len(order)))
