"""One calculator for each thread, made anew after a calculation that failed."""

from __future__ import annotations

import threading
from typing import Any

from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError


class Calculators:
    """The calculator of each thread: one that was given, or what a function makes."""

    def __init__(self, calculator: Any, makes: bool) -> None:
        self._given, self._makes = calculator, makes
        self._lock, self._by_thread = threading.Lock(), dict[int, Any]()

    def own(self) -> Any:
        """Return this thread's calculator, made where it has none."""
        thread = threading.get_ident()
        if not self._makes:
            return self._given
        if thread not in self._by_thread:
            made = self._given()
            if not hasattr(made, "get_potential_energy") or isinstance(made, type):
                raise TypeError(f"the function returned {made!r}; expected a calculator")
            with self._lock:
                if any(made is other for other in self._by_thread.values()):
                    raise TypeError(
                        "the function returned one calculator to two workers, and calculators are not thread-safe; "
                        "expected a function that makes a new one every time"
                    )
                self._by_thread[thread] = made
        return self._by_thread[thread]

    def take_batches(self) -> bool:
        """Tell whether this thread's calculator has ``calculate_batch``."""
        try:
            return callable(getattr(self.own(), "calculate_batch", None))
        except Exception:  # which the evaluation tells with its point
            return False

    def failed(self) -> None:
        """Put this thread's calculator away after a calculation that failed."""
        if self._makes:
            self._by_thread.pop(threading.get_ident(), None)
        else:
            self.renew()

    def renew(self) -> None:
        """Put all calculators away."""
        self._by_thread.clear()
        if hasattr(self._given, "reset") and not self._makes:
            self._given.reset()


def energy_of_the_forces(atoms: Atoms) -> float:
    """Return the free energy where the calculator has it, which forces are the derivatives of; else the energy."""
    try:
        return float(atoms.get_potential_energy(force_consistent=True))
    except (PropertyNotImplementedError, TypeError):  # the latter by calculators that do not know the word
        energy = float(atoms.get_potential_energy())
    # Some name it among their results only.
    free = getattr(atoms.calc, "results", {}).get("free_energy")
    return energy if free is None else float(free)
