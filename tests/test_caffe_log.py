"""The parser of Caffe's log, on lines as `caffe train` writes them; the expected values were read
by eye."""
import math

from tools.core import caffe_log

LOG = '''\
I1122 01:50:13.790771 13895 caffe.cpp:239] Starting Optimization
I1122 01:50:13.791002 13895 solver.cpp:347] Iteration 0, Testing net (#0)
I1122 01:50:13.796464 13898 data_layer.cpp:73] Restarting data prefetching from start.
I1122 01:50:13.796872 13895 solver.cpp:414]     Test net output #0: accuracy = 0.25
I1122 01:50:13.796896 13895 solver.cpp:414]     Test net output #1: loss_cls = 1.93349 (* 1 = \
1.93349 loss)
I1122 01:50:13.796901 13895 solver.cpp:414]     Test net output #2: loss_l2 = 0.5 (* 0.25 = 0.125 \
loss)
I1122 01:50:13.799286 13895 solver.cpp:239] Iteration 0 (-2.03611e-32 iter/s, 0.008s/5 iters), \
loss = 1.98181
I1122 01:50:13.799319 13895 solver.cpp:258]     Train net output #0: loss_cls = 1.85681 (* 1 = \
1.85681 loss)
I1122 01:50:13.799324 13895 solver.cpp:258]     Train net output #1: loss_l2 = 0.5 (* 0.25 = \
0.125 loss)
I1122 01:50:13.799341 13895 sgd_solver.cpp:112] Iteration 0, lr = 0.01
I1122 01:50:13.804791 13895 solver.cpp:239] Iteration 5 (1000 iter/s, 0.005s/5 iters), loss = -nan
I1122 01:50:13.804836 13895 solver.cpp:258]     Train net output #0: loss_cls = inf (* 1 = inf loss)
I1122 01:50:13.804836 13895 solver.cpp:258]     Train net output #1: recall = 0.1
I1122 01:50:13.804836 13895 solver.cpp:258]     Train net output #2: recall = 0.2
I1122 01:50:13.804836 13895 solver.cpp:258]     Train net output #3: recall = 0.3
I1122 01:50:13.804845 13895 sgd_solver.cpp:112] Iteration 5, lr = 9.99625e-05
I1122 01:50:13.851523 13895 solver.cpp:464] Snapshotting to binary proto file \
snap/solver_iter_8.caffemodel
I1122 01:50:13.851955 13895 sgd_solver.cpp:284] Snapshotting solver state to binary proto file \
x_8.solverstate
I1122 01:50:13.820186 13895 solver.cpp:347] Iteration 8, Testing net (#0)
I1122 01:50:13.820785 13895 solver.cpp:414]     Test net output #0: accuracy = 1
I1122 01:50:13.852702 13895 solver.cpp:327] Iteration 10, loss = 0.000393052
I1122 01:50:13.852702 13895 solver.cpp:347] Iteration 10, Testing net (#0)
I1122 01:50:13.852702 13895 solver.cpp:414]     Test net output #0: accuracy = 0.75
I1122 01:50:13.852721 13895 solver.cpp:332] Optimization Done.
'''.splitlines()


def test_rows_of_a_log():
    first, diverged, tested, last = caffe_log.rows(LOG)
    assert first == {
        'iteration': 0, 'test_accuracy': 0.25, 'test_loss_cls': 1.93349, 'test_loss_l2': 0.5,
        'loss': 1.98181, 'loss_cls': 1.85681, 'loss_l2': 0.5, 'lr': 0.01
    }
    assert diverged['iteration'] == 5 and math.isnan(
        diverged['loss']) and diverged['loss_cls'] == math.inf
    # three values have no one name
    assert diverged['lr'] == 9.99625e-05 and 'recall' not in diverged
    assert tested == {'iteration': 8, 'test_accuracy': 1}
    assert last == {'iteration': 10, 'loss': 0.000393052, 'test_accuracy': 0.75}


def test_a_row_comes_as_soon_as_its_last_line():
    def log():
        yield from LOG[:10]
        raise AssertionError('read on before the row was given')
    assert next(caffe_log.rows(log()))['lr'] == 0.01


def test_reason_is_the_failed_check_or_the_error_of_a_python_layer():
    check = [
        'I1122 01:55:59.446758 14642 caffe.cpp:138] Querying GPUs 0',
        'F1122 01:55:59.449721 14642 common.cpp:66] Cannot use GPU in CPU-only Caffe: check mode.',
        '*** Check failure stack trace: ***', '    @     0x7fcd896d750d  google::LogMessage::Fail()'
    ]
    assert caffe_log.reason(check) == 'Cannot use GPU in CPU-only Caffe: check mode.'
    check[1] = 'F2026' + check[1][1:]  # as glog 0.6 has it
    assert caffe_log.reason(check) == 'Cannot use GPU in CPU-only Caffe: check mode.'
    python = ['I1122 01:55:59.446758 14642 net.cpp:86] Creating Layer augment',
              'Traceback (most recent call last):',
              '  File "layers/augment.py", line 31, in setup',
              'ValueError: Augment takes pairs: 2 channels, not 1',
              "terminate called after throwing an instance of 'boost::python::error_already_set'"]
    assert caffe_log.reason(python) == 'ValueError: Augment takes pairs: 2 channels, not 1'
    assert caffe_log.reason(LOG) is None
