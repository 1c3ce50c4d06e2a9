# SPDX-License-Identifier: Apache-2.0
"""Steps a program by its system calls with ptrace(2) and kills it at one of them."""
import ctypes
import os
import signal

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
TRACEME, CONT, SYSCALL, SETOPTIONS, GETEVENTMSG = 0, 7, 24, 0x4200, 0x4201
SYSGOOD, FORK, VFORK, CLONE, EXITKILL = 1, 2, 4, 8, 0x100000
EVENT_FORK, EVENT_VFORK, EVENT_CLONE = 1, 2, 3
WALL = 0x40000000
SYSCALL_STOP = signal.SIGTRAP | 0x80


def ptrace(request, pid, data=0):
    if libc.ptrace(request, pid, None, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f'ptrace({request}, {pid}): {os.strerror(number)}')


def start(command, folder, output):
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(folder)
            null = os.open('/dev/null', os.O_RDONLY)
            out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(null, 0)
            os.dup2(out, 1)
            os.dup2(out, 2)
            os.closerange(3, 64)
            libc.ptrace(TRACEME, 0, None, None)
            os.execv(command[0], command)
        finally:
            os._exit(127)
    os.waitpid(pid, WALL)  # stopped by its exec
    return pid


class Stepped:
    """`killed`: the call was reached. `calls`: how many of its calls were begun. `code`: as waitpid has it for the program."""

    def __init__(self):
        self.killed, self.calls, self.code = False, 0, None


def kill_at(number, command, folder, output, first_child=False):
    """Runs the command and kills it as it enters its system call `number` (counted from 1, not executed any more). With
    `first_child` it is the first process that it makes which is counted and killed, while the program itself goes on."""
    program = start(command, folder, output)
    ptrace(SETOPTIONS, program, SYSGOOD | EXITKILL | (FORK | VFORK | CLONE if first_child else 0))
    stepped, victim, inside, news = Stepped(), None if first_child else program, False, set()
    traced = {program}
    ptrace(CONT if first_child else SYSCALL, program)
    while program in traced:
        pid, status = os.waitpid(-1, WALL)
        if pid not in traced and not os.WIFSTOPPED(status):
            continue  # an orphan
        traced.add(pid)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            traced.discard(pid)
            if pid == program:
                stepped.code = os.waitstatus_to_exitcode(status)
            continue
        stop, event = os.WSTOPSIG(status), status >> 16
        deliver = 0
        if stop == SYSCALL_STOP:
            inside = not inside
            if pid == victim and inside:
                stepped.calls += 1
                if stepped.calls == number:
                    stepped.killed = True
                    os.kill(pid, signal.SIGKILL)
                    continue
        elif event in (EVENT_FORK, EVENT_VFORK, EVENT_CLONE):
            message = ctypes.c_ulong()
            libc.ptrace(GETEVENTMSG, pid, None, ctypes.addressof(message))
            if victim is None:
                victim = message.value
        elif event == 0 and stop == signal.SIGSTOP and pid not in news and pid != program:
            news.add(pid)  # how a new tracee begins
        elif event == 0 and stop != signal.SIGTRAP:
            deliver = stop
        try:
            ptrace(SYSCALL if pid == victim else CONT, pid, deliver)
        except ProcessLookupError:
            pass  # killed meanwhile by somebody else
    return stepped
