"""How results look: figures, tables, LaTeX."""
