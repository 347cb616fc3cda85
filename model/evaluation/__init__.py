"""How close a generator's pictures are to the ones it was trained on."""
