"""Prints {layer: [shape of each blob]} of a network as JSON; caffe_process.blob_shapes runs it.

    python3 -m tools.core.blob_shapes net.prototxt
"""
import json
import sys

import caffe


def main():
    net = caffe.Net(sys.argv[1], caffe.TRAIN)
    print(
        json.dumps(
            {name: [list(blob.shape)
                    for blob in blobs]
             for name, blobs in net.params.items()}))


if __name__ == '__main__':
    main()
