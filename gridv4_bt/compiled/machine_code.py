"""Machine code in files: a shared library where the machine has a linker, else an object file that LLVM loads.

A library is loaded in a millisecond. LLVM, which comes with numba, takes 0.1 s and 90 MB of memory. After its code a
file has a digest of it, because to load code that was cut, by a full disk or a copy that was not finished, would end
the process.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

SYMBOL = "rule"  #: the name of the one function in each file
BROKEN = -(2**63)  #: what it returns where the rule raised an exception
SUFFIXES = (".so", ".o")  #: of a shared library, of an object file
DIGEST_SIZE = hashlib.sha256().digest_size  #: bytes
#: What /proc/cpuinfo says of a processor and its instructions, on x86 and on ARM.
CPU_LINES = {"vendor_id", "cpu family", "model", "flags", "CPU implementer", "CPU part", "Features"}

#: Takes the address of the arguments and returns a whole number.
Entry = Callable[[ctypes.c_void_p], int]

_engines: list[Any] = []  # the code goes with the engine that loaded it


def load(path: Path, nogil: bool) -> Entry | None:
    """Return the function of a file, named without its suffix; None where there is none that can be read.

    nogil : release Python's global lock while it runs.
    """
    library = path.with_suffix(".so")
    try:
        _code(library)
        entry = (ctypes.CDLL if nogil else ctypes.PyDLL)(str(library))[SYMBOL]
    except OSError:
        try:
            return load_object(_code(path.with_suffix(".o")), nogil)
        except OSError:
            return None
    entry.argtypes, entry.restype = [ctypes.c_void_p], ctypes.c_int64
    return entry


def _code(path: Path) -> bytes:
    """Return the code of a file.

    Raises
    ------
    OSError
        It cannot be read, or is not as it was written.
    """
    content = path.read_bytes()
    code = content[:-DIGEST_SIZE]
    if _digest(code) != content[-DIGEST_SIZE:]:
        raise OSError(f"{path} is not as it was written")
    return code


def _digest(code: bytes) -> bytes:
    return hashlib.sha256(code).digest()


def _seal(path: Path) -> None:
    """Write the digest of its code to the end of a file."""
    with path.open("rb+") as file:
        file.write(_digest(file.read()))
        file.flush()
        os.fsync(file.fileno())


def keep(code: bytes, path: Path) -> None:
    """Write machine code to a file, named without its suffix, whole or not at all; one process at a time.

    Raises
    ------
    OSError
        It cannot be written.
    """
    drafts = [path.with_name(f".{path.name}{suffix}") for suffix in SUFFIXES]
    library, made = drafts
    try:
        made.write_bytes(code)
        if _link(made, library):
            made = library
        else:
            _seal(made)
        os.replace(made, path.with_suffix(made.suffix))
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)


def linker() -> str | None:
    """Return the program that links, None where there is none."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def forget_unlinked(folder: Path) -> None:
    """Remove the object files below a folder that this machine can link by now, so that they are made anew."""
    if linker() is not None:
        for path in folder.rglob("*.o"):
            path.unlink(missing_ok=True)


def _link(code: Path, library: Path) -> bool:
    """Make a shared library of an object file; return False where the machine cannot link it or load it from there."""
    if linker() is None:
        return False
    command = [linker(), "-shared", "-s", "-o", library, code, "-lm"]
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
        _seal(library)
        ctypes.CDLL(str(library))
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def load_object(code: bytes, nogil: bool) -> Entry:
    """Return the function of an object file, linked by LLVM in this process."""
    import llvmlite.binding as llvm

    machine = this_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    prototype = ctypes.CFUNCTYPE if nogil else ctypes.PYFUNCTYPE
    entry = prototype(ctypes.c_int64, ctypes.c_void_p)(engine.get_function_address(SYMBOL))
    _engines.append(engine)
    return entry


def this_machine() -> Any:
    """Return this machine as LLVM's target, for code that may lie anywhere in memory."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features, opt=3, reloc="pic", codemodel="default"
    )


@cache
def cpu() -> str:
    """Return a text that differs where the machine code for one processor may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    told = sorted({line for line in lines if line.partition(":")[0].strip() in CPU_LINES})
    return "\n".join([platform.machine(), *(told or [platform.processor()])])
