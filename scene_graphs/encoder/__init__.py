"""Neural encoders of scene graphs and of sentences about them, and what joins the two.

`inputs` turns a graph into tensors, `batch` stacks graphs; `objects`, `layers`, `text` and `fusion` are the parts of `model`.
Nothing here knows a tokenizer: sentences come as token ids.
"""
