"""What saddles cost: calls of energy and gradient by this project and by others, on systems of known barriers."""
