"""METEOR and the PTB tokenizer: their Java side."""
