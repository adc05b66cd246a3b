"""Numba kernels that read Arrow's UTF-8 buffers, without making Python strings.

Import a kernel's module inside the function that uses it: Numba takes half a second to import. The first call with new
argument types compiles, later ones load the result from disk. Numba looks for changes only in the kernel's own file:
after a change to `utf8.py`, delete the `__pycache__` folders.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])
Int: TypeAlias = Any  # an integer inside a kernel: NumPy's or Python's to mypy, 64 bits wide to Numba


def kernel(function: F) -> F:
    """Compile a function with Numba: without the GIL, with exact IEEE arithmetic, and kept on disk where possible."""
    return _compiled(function)


def inlined(function: F) -> F:
    """Compile a small function into the kernels that call it: its arguments are not copied."""
    return _compiled(function, forceinline=True)


def _compiled(function: F, **options: Any) -> F:
    import numba

    options |= {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}  # nothing calls kernels from C
    try:
        return cast(F, numba.njit(cache=True, **options)(function))
    except RuntimeError:  # no folder to keep the result in (a read-only installation without a home): compile each time
        return cast(F, numba.njit(**options)(function))
