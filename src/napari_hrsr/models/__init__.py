"""Models: their facts, the table of built-in ones, loading and composing them."""
