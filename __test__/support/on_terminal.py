# Runs a command on a terminal of its own: standard input is typed there, and what it shows goes to standard output.
# Usage: on_terminal.py COLUMNS ROWS command… ; it ends with the command's exit code, or 128 + N after signal N.
# The first line of standard error is the process id of the command. A line "\x00resize COLUMNS ROWS\n" isn't typed.
import fcntl, os, pty, select, signal, struct, sys, termios

columns, rows = int(sys.argv[1]), int(sys.argv[2])
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[3], sys.argv[3:])


def resize(columns, rows):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))


resize(columns, rows)
print(pid, file=sys.stderr, flush=True)
sources = [terminal, 0]
while terminal in sources:
    for source in select.select(sources, [], [])[0]:
        try:
            data = os.read(source, 65536)
        except OSError:  # Linux says so when nobody has the terminal open any more
            data = b''
        if not data:
            sources.remove(source)
            if source == 0:  # whoever asked for it has gone: the terminal hangs up
                os.kill(pid, signal.SIGHUP)
                os.kill(pid, signal.SIGCONT)
        elif source == terminal:
            os.write(1, data)
        elif data.startswith(b'\0resize '):
            resize(*map(int, data.split()[1:3]))
        else:
            os.write(terminal, data)
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
