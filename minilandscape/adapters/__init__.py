"""Landscapes from and for other packages; each module is imported only when it is asked for.

ASE, pele, topsearch, PyTorch, JAX and SciPy, each in a module of its own.
May import `backend`, `display`, `drawing`, `files`, `motion`, `landscape`, `hessian`, `noise`, `potentials`,
`networks`, `optimizers`, `paths`, `saddles`, `connect`, `analysis`.
"""
