"""The protocol of trainers, and trials that train one after another."""
