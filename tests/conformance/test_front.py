"""The address behind which the pods take turns."""

import http.server
import socket
import threading
import unittest
import urllib.request

from chatd_process import free_ports
from conformance.front import TurnTakingFront


class Pod(http.server.BaseHTTPRequestHandler):
    """Says its port and what it was sent; ends without an answer when it is asked to."""

    protocol_version = "HTTP/1.1"
    ends = False

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.ends:
            self.close_connection = True
            return
        answer = f"{self.server.server_port} {self.path} {body.decode()}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Front(unittest.TestCase):
    def pod(self, **more):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("SuchAPod", (Pod,), more))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server.server_port

    def ask(self, front):
        with urllib.request.urlopen(f"{front.url}/x?y=1", data=b"body", timeout=30) as answer:
            return answer.read().decode()

    def test_each_request_goes_to_the_next_pod(self):
        ports = [self.pod(), self.pod()]
        front = TurnTakingFront(lambda: ports)
        self.assertEqual([self.ask(front) for _ in range(4)], [f"{port} /x?y=1 body" for port in ports * 2])
        self.assertEqual(front.statuses, {200: 4})

    def test_requests_that_come_at_once_are_answered_in_turn(self):
        front = TurnTakingFront([self.pod()].copy)
        request = b"POST /%d HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi"
        with socket.create_connection(("127.0.0.1", front.port), timeout=30) as client:
            client.sendall(request % 1 + request % 2)
            answers = b""
            while b"/2 hi" not in answers:
                answers += client.recv(1 << 16)
        self.assertEqual([line[-5:] for line in answers.split(b"HTTP/1.1")[1:]], [b"/1 hi", b"/2 hi"])

    def test_a_pod_that_is_down_or_ends_over_a_request_is_passed_over(self):
        alive = self.pod()
        front = TurnTakingFront(lambda: [*free_ports(1), self.pod(ends=True), alive])
        for _ in range(3):
            self.assertEqual(self.ask(front), f"{alive} /x?y=1 body")


if __name__ == "__main__":
    unittest.main()
