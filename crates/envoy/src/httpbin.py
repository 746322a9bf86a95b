"""Serves httpbin on 127.0.0.1 and says where. Argument: the port, 0 for any that is free."""

import sys

from httpbin import app
from werkzeug.serving import make_server

server = make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True)
print("listening on", server.server_port, flush=True)
server.serve_forever()
