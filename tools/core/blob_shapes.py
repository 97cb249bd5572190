"""Prints {layer: [shape of each blob]} of a network as JSON; caffe_process.blob_shapes runs it.

    python3 -m tools.core.blob_shapes net.prototxt [BATCH]

With BATCH it is a deploy network, through which one query and then BATCH are sent: what Caffe would
abort on, it aborts on here.
"""
import json
import resource
import sys

import caffe

MEMORY = 4 << 30  # bytes that a deploy network may take; ours take less than 1 GB


def main():
    path, *batch = sys.argv[1:]
    if batch:  # it may be anybody's: no dump of the memory, and not all of it
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    net = caffe.Net(path, caffe.TEST if batch else caffe.TRAIN)
    # A net may run for one face, and abort when it is reshaped for more.
    for number in [1, *map(int, batch)] if batch else []:
        net.blobs['query'].reshape(number, *net.blobs['query'].shape[1:])
        net.forward()
    print(json.dumps({name: [list(blob.shape) for blob in blobs]
                      for name, blobs in net.params.items()}))


if __name__ == '__main__':
    main()
