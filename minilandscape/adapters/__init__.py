"""Landscapes from and for other packages; each module is imported only when it is asked for."""
