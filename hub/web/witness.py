"""A partner's node as a witness for stock logs and clients: add-checkpoint of C2SP tlog-witness, and nothing else.

Who asks is not asked for a key: the checkpoint carries the log's. Bytes pass through to the node's one state.
"""

from collections.abc import Callable

from flask import Flask, Response, request

from hub.witness import Answer

MOST = 64 << 10


def create_witness(add_checkpoint: Callable[[bytes], Answer]) -> Flask:
    """The application that serves POST /add-checkpoint."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MOST

    @app.post("/add-checkpoint")
    def add() -> Response:
        found = add_checkpoint(request.get_data())
        return Response(found.body, status=found.status, content_type=found.type)

    return app
