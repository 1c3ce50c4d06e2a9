# SPDX-License-Identifier: Apache-2.0
# A terminal: its size, its end, keys that detach.
cat >screen.py <<'P'
import fcntl, os, pty, re, select, struct, sys, termios, time
size, keys, command = sys.argv[1], sys.argv[2].encode().decode('unicode_escape').encode('latin1'), sys.argv[3:]
pid, fd = pty.fork()
if pid == 0:
    os.execvp(command[0], command)
def resize(text):
    rows, columns = map(int, text.split('x'))
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))
resize(size)
seen, deadline, parts = b'', time.time() + 15, [k for k in re.split(rb'(@\d+x\d+@|~)', keys) if k]
while time.time() < deadline:
    if select.select([fd], [], [], 1.0)[0]:
        try:
            piece = os.read(fd, 4096)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    elif parts:
        part = parts.pop(0)
        if part.startswith(b'@'):
            resize(part.strip(b'@').decode())
        elif part != b'~':
            os.write(fd, part)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
text = re.sub(rb'\x1b\[[0-9;?]*[a-zA-Z]', b'', seen).decode(errors='replace').replace('\r\n', '\n')
print('\n'.join(line.rstrip() for line in text.splitlines() if line.strip() not in ('', '$')))
print('->', status)
P
t() { python3 screen.py "$@"; }
t 30x100 '' docker run --rm -it $IMAGE sh -c 'sleep 0.5; stty size; tty; echo $TERM'
t 30x100 'stty size\n~@40x120@~stty size\nexit 5\n' docker run --rm -it --name tt1 -e PS1='$ ' $IMAGE sh
docker run -dit --name tt2 -e PS1='$ ' $IMAGE sh >/dev/null
t 24x80 'echo attached\n~\x10\x11' docker attach tt2
docker inspect -f '{{.State.Status}} {{.Config.Tty}} {{.Config.OpenStdin}}' tt2
docker exec tt2 sh -c 'echo "[$TERM]"'
t 24x80 '~\x01' docker attach --detach-keys 'ctrl-a' tt2
t 33x99 'stty size; exit 3\n' docker exec -it -e PS1='$ ' tt2 sh
t 24x80 '' docker exec -t tt2 sh -c 'sleep 0.3; stty size; echo o; echo e >&2; exit 4'
t 24x80 '\x03' docker exec -it tt2 sh -c 'trap "echo interrupted; exit 12" INT; sleep 20 & wait'
t 24x80 'sleep 0.2\n~\x04' docker attach tt2
docker inspect -f '{{.State.Status}}' tt2
t 24x80 '' docker run --rm -t $IMAGE ls /nosuch
docker run --rm -it $IMAGE true </dev/null; echo "-> $?"
docker exec -it tt2 true </dev/null; echo "-> $?"
docker run --rm -t $IMAGE sh -c 'test -t 1 && echo tty' | od -c | head -1
docker rm -f tt2 >/dev/null
