"""One trainer for every model: resumable to the bit, on CPU, one GPU or several.

``trainer`` runs the loop and ``interfaces`` says what a model must offer. The rest are its parts, one idea per file.
Importing this package imports nothing heavy; ``config`` needs no torch.
"""
