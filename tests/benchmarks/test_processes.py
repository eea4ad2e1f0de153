"""Servers are found, weighed and ended with all that they started, wherever it went."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

SERVER = textwrap.dedent(
    """
    import http.server, os, signal, sys, time
    if os.fork() == 0:          # a daemon: a session of its own, deaf to SIGTERM, its parent gone
        os.setsid()
        if os.fork():
            os._exit(0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        memory = bytearray(32 * 2**20)
        time.sleep(600)
    os.wait()

    class Echo(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
    """
)

ASKING = textwrap.dedent(
    """
    import json, subprocess, sys, time
    from pathlib import Path
    from benchmarks import processes
    from benchmarks.contenders import Command

    processes.adopt_orphans()
    bystander = subprocess.Popen(["sleep", "600"])
    port = processes.free_ports(3)
    command = Command((sys.executable, "server.py", str(port)), folder=Path(sys.argv[1]))
    with processes.running(command, port, "/", Path(sys.argv[1], "said")) as server:
        for _ in range(500):
            try:
                answer = server.ask(b'{"asked": 1}')
                break
            except OSError:
                time.sleep(0.02)
        seen = {"answer": answer, "processes": len(processes.descendants()), "memory": server.memory()}
        seen["cpu"] = server.cpu_seconds()
        def states():
            return [processes._fields(pid)[0] for pid in processes.descendants()]
        def settled(wanted):
            for _ in range(500):
                found = sorted(states())
                if found == wanted:
                    break
                time.sleep(0.02)
            return found
        with server.paused():
            seen["paused"] = settled(["S", "T", "T"])
        seen["resumed"] = settled(["S", "S", "S"])
        seen["again"] = server.ask(b'{"asked": 2}')
    seen["left"] = processes.descendants() == [bystander.pid]
    bystander.kill()
    print(json.dumps(seen))
    """
)


def test_a_server_is_weighed_paused_and_ended_with_its_daemons_and_nobody_else_is(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(SERVER)
    words = [sys.executable, "-c", ASKING, str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    seen: dict[str, Any] = json.loads(done.stdout)
    assert seen["answer"] == {"asked": 1}
    assert seen["processes"] == 3  # the server, its daemon, the bystander
    assert seen["memory"] > 32 * 2**20
    assert seen["cpu"] > 0
    assert seen["paused"] == ["S", "T", "T"]  # the bystander is none of its own
    assert seen["resumed"] == ["S", "S", "S"]
    assert seen["again"] == {"asked": 2}
    assert seen["left"]
