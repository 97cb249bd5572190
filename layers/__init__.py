"""Our Caffe layers. A package of its own, so that no other folder named `layers` mixes with it."""
