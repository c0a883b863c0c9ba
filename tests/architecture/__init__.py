"""What holds for the code as a whole: layers, sizes, names, borders."""
