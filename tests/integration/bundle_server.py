#!/usr/bin/env python3
"""Serves the files of a folder on a loopback port, honestly or not: bundle_server.py DIR PORT_FILE

/good/F     the file, ranges too            /flip/F    one bit of it turned
/long/F     one byte too many               /short/F   the last byte missing
/cut/F      each answer ends after 64 KiB, without a word; ranges are honoured
/hang/F     begins, then nothing more       /other     404
"""
import http.server
import os
import re
import socketserver
import sys
import threading

root, port_file = sys.argv[1:3]
stop = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def body(self, way, name):
        with open(os.path.join(root, name), "rb") as file:
            content = file.read()
        if way == "flip":
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1:]
        elif way == "long":
            content += b"x"
        elif way == "short":
            content = content[:-1]
        return content

    def do_GET(self):
        match = re.fullmatch(r"/(good|flip|long|short|cut|hang)/([a-z.-]+)", self.path)
        if not match:
            self.send_error(404, "nothing here")
            return
        way, name = match.groups()
        content = self.body(way, name)
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        piece = content[start:]
        if way == "cut" and len(piece) > 65536:
            self.wfile.write(piece[:65536])
            self.close_connection = True
        elif way == "hang":
            self.wfile.write(piece[:1000])
            self.wfile.flush()
            stop.wait()
        else:
            self.wfile.write(piece)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


server = Server(("127.0.0.1", 0), Handler)
with open(port_file + ".new", "w", encoding="ascii") as out:
    out.write(str(server.server_address[1]))
os.rename(port_file + ".new", port_file)
server.serve_forever()
