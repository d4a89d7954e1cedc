"""A receiver of webhooks that verifies them with the library of the Standard Webhooks project.

    webhook_receiver.py SECRET

The first line of its output says the port; then each request is a line of JSON. It ends when its
standard input does.
"""
import http.server
import json
import sys
import threading

from standardwebhooks.webhooks import Webhook, WebhookVerificationError


def say(**line):
    print(json.dumps(line), flush=True)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            said = Webhook(sys.argv[1]).verify(body, headers)
            say(verified=True, said=said, id=headers["webhook-id"])
        except WebhookVerificationError as error:
            say(verified=False, error=str(error))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
say(port=server.server_address[1])
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
