"""Vision-language models behind one protocol: views and a sentence in, one token grid per view out."""
