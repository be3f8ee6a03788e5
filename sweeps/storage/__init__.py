"""Where results live when that is an object store: its files, and the working copies of them."""
